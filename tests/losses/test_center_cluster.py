"""The center cluster loss against a plain loop and against published code."""

from itertools import combinations
from typing import Any

import pytest
import torch
from torch import Tensor

from batches import make_batch
from modinv import Batch, CenterClusterLoss

from .center_checks import (
    assert_like_published,
    assert_like_the_loop,
    every_batch,
    mean,
    norm,
    value_and_gradient,
)


def plain_loop(features: Tensor, labels: Tensor, _: Tensor, *, margin: float, pull_margin: float) -> Tensor:
    centers = {label: features[labels == label].mean(0) for label in sorted(set(labels.tolist()))}
    pulls = [
        (norm(row - centers[label]) - pull_margin).clamp(min=0)
        for row, label in zip(features, labels.tolist(), strict=True)
    ]
    pushes = [(margin - norm(a - b)).clamp(min=0) for a, b in combinations(centers.values(), 2)]
    return mean(pulls) + mean(pushes)


@every_batch
@pytest.mark.parametrize(("margin", "pull_margin"), [(7.0, 0.0), (7.0, 4.0), (0.7, 0.01)])
def test_value_is_that_of_the_plain_loop(batch: Batch, margin: float, pull_margin: float) -> None:
    def oracle(*batch: Tensor) -> Tensor:
        return plain_loop(*batch, margin=margin, pull_margin=pull_margin)

    assert_like_the_loop(CenterClusterLoss(margin=margin, pull_margin=pull_margin), oracle, batch)


def test_value_is_that_of_mpanet() -> None:
    assert_like_published("center_cluster", "margin 0.7", CenterClusterLoss(), 0)


def test_value_with_two_margins_is_that_of_saai() -> None:
    assert_like_published(
        "center_cluster_two_margins", "margins 1.0 and 0.7", CenterClusterLoss(pull_margin=1.0, margin=0.7), 0
    )


@pytest.mark.parametrize("copies", [1, 2, 3, 5, 7])
def test_row_that_is_its_center_is_left_alone(copies: int) -> None:
    """A sampler that draws with replacement makes equal rows; the published gradient is NaN there."""
    value, gradient = value_and_gradient(CenterClusterLoss(margin=0.1), equal_rows(copies, torch.float64))
    assert value == 0
    assert not gradient.any()


@pytest.mark.parametrize("copies", [1, 2, 3, 5, 7])
def test_row_that_is_its_center_is_hardly_moved_in_float32(copies: int) -> None:
    """The Gram matrix rounds there, by about 3e-4 of the norm in the distance; a row's pull is a unit vector / N."""
    batch = equal_rows(copies, torch.float32)
    value, gradient = value_and_gradient(CenterClusterLoss(margin=0.1), batch)
    assert value <= 3e-4 * batch.features.norm(dim=1).max()
    assert gradient.norm(dim=1).max() <= 0.01 / len(batch.features)


def equal_rows(copies: int, dtype: torch.dtype) -> Batch:
    features = make_batch((6, 0), dtype=dtype).features.repeat_interleave(copies, 0)
    return Batch(features, torch.arange(6).repeat_interleave(copies), torch.arange(6 * copies) % 2)


def test_modalities_are_not_read() -> None:
    features, labels, modalities = make_batch()
    loss = CenterClusterLoss(margin=6.0)
    torch.testing.assert_close(loss(features, labels, 0 * modalities), loss(features, labels, modalities))


def test_identity_counts_once_in_the_push_however_many_rows_it_has() -> None:
    features, labels, modalities = make_batch()
    crowd = labels == labels[0]
    twice = [torch.cat([part, part[crowd]]) for part in (features, labels, modalities)]
    loss = CenterClusterLoss(margin=6.0)
    torch.testing.assert_close(loss.terms(*twice).push, loss.terms(features, labels, modalities).push)


def test_terms_are_the_pull_and_the_push() -> None:
    features = torch.tensor([[0.0], [2.0], [3.0], [7.0]])
    terms = CenterClusterLoss(margin=4.5, pull_margin=1.5).terms(
        features, torch.tensor([0, 0, 1, 1]), torch.tensor([0, 1, 0, 1])
    )
    assert [float(term) for term in terms] == [0.75, 0.25, 0.5]  # of 0, 0, 0.5, 0.5; centers 1 and 5


@pytest.mark.parametrize("option", ["margin", "pull_margin"])
@pytest.mark.parametrize("value", [-0.1, float("nan"), float("inf")])
def test_impossible_margin_is_refused(option: str, value: float) -> None:
    options: dict[str, Any] = {option: value}
    with pytest.raises(ValueError, match=f"{option} must be a finite number"):
        CenterClusterLoss(**options)


def test_options_are_shown() -> None:
    assert repr(CenterClusterLoss(pull_margin=0.01)) == "CenterClusterLoss(margin=0.7, pull_margin=0.01)"

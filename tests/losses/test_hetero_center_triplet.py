"""The forms of the hetero-center triplet loss; its plain form is in test_metric.py too."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import softplus

import oracles
from batches import make_batch
from modinv import Batch, HeteroCenterTripletLoss

from .center_checks import assert_like_published, assert_like_the_loop, every_batch, mean
from .test_hetero_center import DISTANCES


def plain_loop(features: Tensor, labels: Tensor, modalities: Tensor, *, distance: str, margin: float | None) -> Tensor:
    centers = oracles.centers(features, labels, modalities)
    losses = []
    for (label, modality), center in centers.items():
        partners = [c for (y, m), c in centers.items() if y == label and m != modality]
        others = [c for (y, _), c in centers.items() if y != label]
        if partners and others:
            gap = max(DISTANCES[distance](center, c) for c in partners) - min(
                DISTANCES[distance](center, c) for c in others
            )
            losses.append(softplus(gap) if margin is None else (margin + gap).clamp(min=0))
    return mean(losses)


@every_batch
@pytest.mark.parametrize("margin", [None, 0.4])
@pytest.mark.parametrize("distance", ["euclidean", "cosine"])
def test_form_is_that_of_the_plain_loop(batch: Batch, distance: Any, margin: float | None) -> None:
    def oracle(*batch: Tensor) -> Tensor:
        return plain_loop(*batch, distance=distance, margin=margin)

    assert_like_the_loop(HeteroCenterTripletLoss(distance=distance, margin=margin), oracle, batch)


def test_value_is_that_of_the_published_code() -> None:
    assert_like_published("hetero_center_triplet", "margin 0.3", HeteroCenterTripletLoss(), 0, 1)


def test_soft_margin_is_the_softplus_of_the_gap() -> None:
    features = torch.tensor([[0.0], [1.0], [10.0], [11.0]])
    value = HeteroCenterTripletLoss(margin=None)(features, torch.tensor([0, 0, 1, 1]), torch.tensor([0, 1, 0, 1]))
    expected = softplus(torch.tensor([1.0 - 10, 1.0 - 9, 1.0 - 9, 1.0 - 10])).mean()
    torch.testing.assert_close(value, expected)


def test_cosine_ignores_the_lengths_of_the_centers() -> None:
    batch = make_batch()
    lengths = 1 + (batch.labels - batch.labels.min()) + batch.modalities  # of a cell
    loss = HeteroCenterTripletLoss(distance="cosine", margin=1.0)
    torch.testing.assert_close(loss(lengths[:, None] * batch.features, *batch[1:]), loss(*batch))


def test_center_of_zeros_is_nowhere_and_gets_no_gradient() -> None:
    batch = make_batch()
    cell = (batch.labels == batch.labels[0]) & (batch.modalities == batch.modalities[0])
    features = batch.features.masked_fill(cell[:, None], 0).requires_grad_()
    loss = HeteroCenterTripletLoss(distance="cosine", margin=1.0)
    (gradient,) = torch.autograd.grad(loss(features, *batch[1:]), features)
    assert gradient.isfinite().all()
    assert gradient[~cell].any()
    assert not gradient[cell].any()


@pytest.mark.parametrize("distance", ["squared", "l2", None])
def test_unknown_distance_is_refused(distance: Any) -> None:
    with pytest.raises(ValueError, match="distance must be one of 'euclidean', 'cosine', got"):
        HeteroCenterTripletLoss(distance=distance)


def test_options_are_shown() -> None:
    assert repr(HeteroCenterTripletLoss(margin=None)) == "HeteroCenterTripletLoss(margin=None, distance='euclidean')"

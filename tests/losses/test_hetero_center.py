"""The hetero-center loss against a plain loop and against published code."""

from collections.abc import Callable
from itertools import combinations
from typing import Any

import pytest
import torch
from torch import Tensor

import oracles
from batches import make_batch
from modinv import Batch, CenterGuidedPairMiningLoss, HeteroCenterLoss, HeteroCenterTripletLoss, groups
from modinv.losses import Loss

from .center_checks import (
    assert_like_published,
    assert_like_the_loop,
    every_batch,
    mean,
    norm,
    value_and_gradient,
)

DISTANCES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "squared": lambda a, b: (a - b).square().sum(),
    "euclidean": lambda a, b: norm(a - b),
    "cosine": lambda a, b: 1 - (a * b).sum() / (a.norm() * b.norm()),
}


def plain_loop(features: Tensor, labels: Tensor, modalities: Tensor, *, distance: str, margin: float) -> list[Tensor]:
    centers = oracles.centers(features, labels, modalities)
    return [
        (DISTANCES[distance](centers[first], centers[second]) - margin).clamp(min=0)
        for first, second in combinations(centers, 2)
        if first[0] == second[0]
    ]


@every_batch
@pytest.mark.parametrize(("distance", "margin"), [("squared", 20.0), ("euclidean", 4.5), ("cosine", 0.3)])
def test_mean_is_that_of_the_plain_loop(batch: Batch, distance: Any, margin: float) -> None:
    def oracle(*batch: Tensor) -> Tensor:
        return mean(plain_loop(*batch, distance=distance, margin=margin))

    assert_like_the_loop(HeteroCenterLoss(distance=distance, margin=margin), oracle, batch)


@every_batch
def test_sum_is_that_of_the_plain_loop(batch: Batch) -> None:
    def oracle(*batch: Tensor) -> Tensor:
        hinges = plain_loop(*batch, distance="squared", margin=20.0)
        return sum(hinges, torch.zeros((), dtype=torch.float64))

    assert_like_the_loop(HeteroCenterLoss(margin=20.0, reduction="sum"), oracle, batch)


@every_batch
@pytest.mark.parametrize(
    "loss",
    [
        HeteroCenterLoss(margin=20.0),
        HeteroCenterLoss(distance="cosine"),
        HeteroCenterTripletLoss(margin=2.0),
        CenterGuidedPairMiningLoss(margin=None),
    ],
    ids=repr,
)
def test_losses_of_centers_do_not_depend_on_whether_labels_can_be_read(
    loss: Loss, batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On an accelerator and in a graph each row stands for its cell; read labels give each cell once."""
    expected, expected_gradient = value_and_gradient(loss, batch)
    monkeypatch.setattr(groups, "places_of", lambda *_: None)
    value, gradient = value_and_gradient(loss, batch)
    torch.testing.assert_close(value, expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(gradient, expected_gradient, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("distance", ["squared", "cosine"])
def test_sum_is_that_of_the_published_code(distance: Any) -> None:
    assert_like_published("hetero_center", distance, HeteroCenterLoss(distance=distance, reduction="sum"), 0, 1)


def test_margin_is_taken_off_each_pair() -> None:
    features = torch.tensor([[0.0], [0.0], [2.0], [5.0], [5.5]])  # the visible center of identity 0 is 0
    batch = features, torch.tensor([0, 0, 0, 1, 1]), torch.tensor([0, 0, 1, 0, 1])
    terms = HeteroCenterLoss(margin=1.0).terms(*batch)
    torch.testing.assert_close(terms.total, torch.tensor((4 - 1) / 2))
    torch.testing.assert_close(terms.distance, torch.tensor((4 + 0.25) / 2))


def test_distance_grows_with_the_scale_as_its_name_says() -> None:
    features, *numbers = make_batch()

    def value(scale: float, distance: Any) -> Tensor:
        return HeteroCenterLoss(distance=distance, margin=0.0)(scale * features, *numbers)

    for distance, factor in (("squared", 9.0), ("euclidean", 3.0), ("cosine", 1.0)):
        torch.testing.assert_close(value(3.0, distance), factor * value(1.0, distance))


@pytest.mark.parametrize("scale", [1e-15, 1e15])
def test_cosine_is_right_where_squares_leave_float32(scale: float) -> None:
    features, *numbers = make_batch(dtype=torch.float32)
    loss = HeteroCenterLoss(distance="cosine", margin=0.0)
    far = scale * features
    torch.testing.assert_close(loss(far, *numbers), loss(far.double(), *numbers).float(), rtol=1e-5, atol=0)


def test_center_counts_once_however_many_rows_it_has() -> None:
    features, labels, modalities = make_batch()
    crowd = (labels == labels[0]) & (modalities == modalities[0])
    twice = [torch.cat([part, part[crowd]]) for part in (features, labels, modalities)]
    torch.testing.assert_close(HeteroCenterLoss()(*twice), HeteroCenterLoss()(features, labels, modalities))


def test_identities_do_not_repel_each_other() -> None:
    features, labels, modalities = make_batch()
    moved = features + 100.0 * labels[:, None]
    torch.testing.assert_close(HeteroCenterLoss()(moved, labels, modalities), HeteroCenterLoss()(*make_batch()))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"distance": "l1"}, "distance must be one of 'squared', 'euclidean', 'cosine', got 'l1'"),
        ({"reduction": "none"}, "reduction must be one of 'mean', 'sum', got 'none'"),
        ({"margin": -1.0}, "margin must be a finite number"),
        ({"margin": float("nan")}, "margin must be a finite number"),
    ],
)
def test_impossible_option_is_refused(options: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        HeteroCenterLoss(**options)


def test_options_are_shown() -> None:
    loss = HeteroCenterLoss(distance="cosine", margin=0.5, reduction="sum")
    assert repr(loss) == "HeteroCenterLoss(distance='cosine', margin=0.5, reduction='sum')"

"""The options of the weighted regularised triplet loss: published weights, sharpness, squared gap."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import softplus

import modinv
from batches import make_batch
from modinv import Batch
from published import Case, assert_reproduced, cases

from .plain_loop import assert_agrees, every_batch, mean


def average(distances: Tensor, scores: Tensor, shift: Tensor, weights: str) -> Tensor:
    if weights == "softmax":
        return (scores.softmax(0) * distances).sum()
    powers = (scores - shift).exp()
    return (powers * distances).sum() / (powers.sum() + 1e-6)


def plain_loop(batch: Batch, *, weights: str, alpha: float, gamma: float, squared: bool) -> Tensor:
    losses = []
    for i, label in enumerate(batch.labels.tolist()):
        rows = [j for j in range(len(batch.labels)) if j != i]
        distances = [(batch.features[i] - batch.features[j]).norm() for j in rows]
        least = torch.tensor(0.0 if weights == "softmax" else 1e-6, dtype=batch.features.dtype)  # to itself
        same = torch.stack([least, *(d for d, j in zip(distances, rows, strict=True) if batch.labels[j] == label)])
        others = [d for d, j in zip(distances, rows, strict=True) if batch.labels[j] != label]
        if others:
            other = torch.stack(others)
            positive = average(same, alpha * same, (alpha * same).max(), weights)
            negative = average(other, -alpha * other, torch.zeros(()), weights)
            gap = positive - negative
            losses.append(softplus(gamma * gap * gap.abs() if squared else gamma * gap))
    return mean(losses)


FORMS: list[dict[str, Any]] = [
    {"weights": "softmax", "alpha": 2.0, "gamma": 0.3, "squared": False},
    {"weights": "softmax", "alpha": 0.5, "gamma": 0.1, "squared": True},
    {"weights": "published", "alpha": 1.0, "gamma": 1.0, "squared": False},
    {"weights": "published", "alpha": 1.5, "gamma": 0.1, "squared": True},
]


@pytest.mark.parametrize("form", FORMS)
@every_batch
def test_value_and_gradient_are_those_of_the_plain_loop(batch: Batch, form: dict[str, Any]) -> None:
    assert_agrees(modinv.WeightedRegularizedTripletLoss(**form), lambda batch: plain_loop(batch, **form), batch)


@pytest.mark.parametrize("case", cases("weighted_regularized_triplet"))
def test_published_value_and_gradient_are_reproduced(case: Case) -> None:
    # Its distance of a row to itself is rounding error, up to 1e-6 on features of norm 24; hence not 1e-15.
    assert_reproduced(modinv.WeightedRegularizedTripletLoss(**case.options), case, rtol=1e-11)


def separated(distance: float) -> Batch:
    """Four identities, each in both modalities, their rows coinciding and all others ``distance`` away."""
    labels = torch.arange(4).repeat(2)
    return Batch(distance / 2**0.5 * torch.eye(4)[labels], labels, torch.arange(8) // 4)


@pytest.mark.parametrize(("distance", "share"), [(5.0, 1.0), (13.0, 0.931), (20.0, 0.0122), (80.0, 0.0)])
def test_published_weights_sum_to_less_than_one_at_a_distance(distance: float, share: float) -> None:
    """Six negatives at equal distances: their weights sum to 6 exp(-d) / (6 exp(-d) + 1e-6)."""
    published = modinv.WeightedRegularizedTripletLoss(weights="published").terms(*separated(distance))
    assert float(published.negative / distance) == pytest.approx(share, abs=1e-3)
    true = modinv.WeightedRegularizedTripletLoss().terms(*separated(distance))
    torch.testing.assert_close(true.negative, torch.tensor(distance))


def test_published_weights_are_finite_where_the_published_code_overflows() -> None:
    features, labels, modalities = make_batch(dtype=torch.float32)
    features = (100 * features).requires_grad_()  # differences beyond 88, the logarithm of the largest float32
    value = modinv.WeightedRegularizedTripletLoss(weights="published")(features, labels, modalities)
    (gradient,) = torch.autograd.grad(value, features)
    assert value > 88
    assert gradient.isfinite().all()
    assert gradient.any()


def test_squared_gap_keeps_its_gradient_where_the_published_clamp_has_none() -> None:
    features = torch.tensor([[0.0], [30.0], [5.0], [25.0]], requires_grad=True)  # gaps near 20, squared past 88
    value = modinv.WeightedRegularizedTripletLoss(squared=True)(
        features, torch.tensor([0, 0, 1, 1]), torch.arange(4) % 2
    )
    (gradient,) = torch.autograd.grad(value, features)
    assert value > 88
    assert gradient.abs().min() > 1


def test_each_option_changes_the_value_and_is_shown() -> None:
    batch = make_batch()
    options: list[dict[str, Any]] = [{}, {"weights": "published"}, {"alpha": 2.0}, {"gamma": 2.0}, {"squared": True}]
    losses = [modinv.WeightedRegularizedTripletLoss(**option) for option in options]
    assert len({round(float(loss(*batch)), 9) for loss in losses}) == len(options)
    shown = "WeightedRegularizedTripletLoss(weights='softmax', alpha=1.0, gamma=1.0, squared=True)"
    assert repr(losses[-1]) == shown


@pytest.mark.parametrize(
    ("options", "kind", "sentence"),
    [
        ({"weights": "true"}, ValueError, "weights must be one of 'softmax', 'published', got 'true'"),
        ({"alpha": -1.0}, ValueError, "alpha must be a finite number"),
        ({"gamma": 0.0}, ValueError, "gamma must be a finite number"),
        ({"squared": 1}, TypeError, "squared must be True or False, got 1"),
    ],
)
def test_impossible_option_is_refused(options: dict[str, Any], kind: type[Exception], sentence: str) -> None:
    with pytest.raises(kind, match=sentence):
        modinv.WeightedRegularizedTripletLoss(**options)

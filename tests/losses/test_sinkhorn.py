"""The Sinkhorn divergence against a plain loop to convergence, its two limits and another library."""

from itertools import combinations
from typing import Any

import pytest
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

import oracles
from batches import make_batch
from modinv import Batch, SinkhornLoss
from published import Case, assert_reproduced, cases

from .center_checks import assert_like_the_loop, every_batch, mean, value_and_gradient


def plain_loop(batch: Batch, regularization: float, level: str) -> Tensor:
    """One divergence for each pair of modalities, and for each identity, in turns until nothing moves."""
    features, labels, modalities = batch
    groups = labels.unique().tolist() if level == "identity" else [None]
    pairs = []
    for a, b in combinations(modalities.unique().tolist(), 2):
        values = []
        for group in groups:
            member = torch.ones_like(labels, dtype=torch.bool) if group is None else labels == group
            first, second = (features[member & (modalities == m)] for m in (a, b))
            if len(first) and len(second):
                values.append(divergence(first, second, regularization) / features.shape[1])
        if values:
            pairs.append(mean(values))
    return mean(pairs)


def divergence(first: Tensor, second: Tensor, regularization: float) -> Tensor:
    rows = torch.cat([first, second]).detach()
    strength = float(regularization * torch.cdist(rows, rows).square().sum() / (len(rows) ** 2 - len(rows)))
    own = (transport(first, first, strength) + transport(second, second, strength)) / 2
    return transport(first, second, strength) - own


def transport(first: Tensor, second: Tensor, strength: float) -> Tensor:
    costs = (first[:, None] - second).square().sum(2)
    left, right = torch.zeros(len(first), dtype=costs.dtype), torch.zeros(len(second), dtype=costs.dtype)
    for _ in range(40):
        left = -strength * ((right - costs) / strength).exp().mean(1).log()
        right = -strength * ((left[:, None] - costs) / strength).exp().mean(0).log()
    return left.mean() + right.mean()


@pytest.mark.parametrize("level", ["modality", "identity"])
@every_batch
def test_value_and_gradient_are_those_of_the_plain_loop(batch: Batch, level: Any) -> None:
    loss = SinkhornLoss(level=level, regularization=2.0, iterations=60)
    assert_like_the_loop(loss, lambda *rows: plain_loop(Batch(*rows), 2.0, level), batch)


@pytest.mark.parametrize("case", cases("sinkhorn"))
def test_value_and_gradient_are_those_of_geomloss(case: Case) -> None:
    """It takes the last of its own steps for the optimum."""
    assert_reproduced(SinkhornLoss(**case.options), case, rtol=1e-4)


def test_default_steps_are_within_one_percent_of_convergence() -> None:
    for seed in range(3):
        batch = make_batch((32, 32), identities=8, dimension=64, seed=seed)
        torch.testing.assert_close(SinkhornLoss()(*batch), SinkhornLoss(iterations=300)(*batch), rtol=0.01, atol=0)


def test_little_regularization_gives_the_cost_of_the_best_assignment() -> None:
    features, labels, modalities = make_batch((12, 12), dimension=6)
    costs = torch.cdist(features[modalities == 0], features[modalities == 1]).square()
    best = costs[linear_sum_assignment(costs)].mean() / 6
    value = SinkhornLoss(regularization=0.001, iterations=2000)(features, labels, modalities)
    torch.testing.assert_close(value, best, rtol=1e-3, atol=0)


def test_much_regularization_gives_the_distance_of_the_means() -> None:
    batch = make_batch()
    first, second = (batch.features[batch.modalities == m].mean(0) for m in (0, 1))
    value = SinkhornLoss(regularization=1e5)(*batch)
    torch.testing.assert_close(value, (first - second).square().mean(), rtol=1e-4, atol=0)


@pytest.mark.parametrize("level", ["modality", "identity"])
def test_equal_samples_are_zero_apart(level: Any) -> None:
    features, labels, _ = make_batch()
    twins = Batch(features.repeat(2, 1), labels.repeat(2), torch.arange(2).repeat_interleave(len(labels)))
    value, gradient = value_and_gradient(SinkhornLoss(level=level, iterations=400), twins)
    assert abs(float(value)) < 1e-9
    assert float(gradient.abs().max()) < 1e-9


def test_value_grows_with_the_square_of_the_scale() -> None:
    features, labels, modalities = make_batch()
    loss = SinkhornLoss()
    torch.testing.assert_close(loss(10 * features, labels, modalities), 100 * loss(features, labels, modalities))


def test_level_of_identities_compares_centers_where_each_cell_is_one_image() -> None:
    batch = Batch(make_batch((8, 0)).features, torch.arange(8) % 4, torch.arange(8) // 4)
    centers = oracles.centers(*batch)
    gaps = [(centers[label, 0] - centers[label, 1]).square().mean() for label in range(4)]
    torch.testing.assert_close(SinkhornLoss(level="identity")(*batch), mean(gaps))


@pytest.mark.parametrize("option", [{"level": "identity"}, {"regularization": 0.2}, {"iterations": 3}], ids=str)
def test_each_option_changes_the_value_and_is_shown(option: dict[str, Any]) -> None:
    batch, loss = make_batch(), SinkhornLoss(**option)
    assert not torch.isclose(loss(*batch), SinkhornLoss()(*batch))
    name, value = next(iter(option.items()))
    assert f"{name}={value!r}" in repr(loss)


@pytest.mark.parametrize(
    ("option", "says"),
    [
        ({"level": "within"}, "level must be one of 'modality', 'identity', got 'within'"),
        ({"regularization": 0.0}, "regularization must be a finite number"),
        ({"iterations": 0}, "iterations must be at least 1, got 0"),
    ],
)
def test_impossible_option_is_refused(option: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        SinkhornLoss(**option)

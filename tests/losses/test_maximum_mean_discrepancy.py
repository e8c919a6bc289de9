"""The maximum mean discrepancy against a plain loop, by its laws and against published code."""

from itertools import combinations
from typing import Any

import pytest
import torch
from torch import Tensor

from batches import make_batch
from modinv import Batch, MaximumMeanDiscrepancyLoss
from published import Case, assert_reproduced, cases

from .center_checks import assert_like_the_loop, every_batch, mean, value_and_gradient


def plain_loop(batch: Batch, *, kernels: int = 5, bandwidth: float = 0, **options: Any) -> Tensor:
    """The mean over the pairs of modalities, and over the identities, of the kernel written out for each two rows."""
    features, labels, modalities = batch
    groups = labels.unique().tolist() if options.get("level") == "identity" else [None]
    scales = {1: (1,), 2: (0.5, 1), 5: (0.25, 0.5, 1, 2, 4)}[kernels]
    pairs = []
    for a, b in combinations(modalities.unique().tolist(), 2):
        values = []
        for group in groups:
            member = torch.ones_like(labels, dtype=torch.bool) if group is None else labels == group
            first, second = (features[member & (modalities == m)] for m in (a, b))
            least = 2 if options.get("unbiased") else 1
            if min(len(first), len(second)) >= least:
                values.append(discrepancy(first, second, scales, bandwidth, least == 2, options.get("margin", 0)))
        if values:
            pairs.append(mean(values))
    return mean(pairs)


def discrepancy(first: Tensor, second: Tensor, scales: Any, bandwidth: float, unbiased: bool, margin: float) -> Tensor:
    rows = torch.cat([first, second])
    gaps = (rows[:, None] - rows).square().sum(2).detach()
    width = bandwidth or gaps.sum() / (len(rows) ** 2 - len(rows))

    def kernel(xs: Tensor, ys: Tensor, without_itself: bool = False) -> Tensor:
        squares = (xs[:, None] - ys).square().sum(2)
        values = torch.stack([torch.exp(-squares / (scale * width)) for scale in scales]).sum(0)
        return values[~torch.eye(len(xs), dtype=torch.bool)].mean() if without_itself else values.mean()

    value = kernel(first, first, unbiased) + kernel(second, second, unbiased) - 2 * kernel(first, second)
    return (value - margin).clamp(min=0) if margin else value


OPTIONS: list[dict[str, Any]] = [
    {},
    {"unbiased": True},
    {"kernels": 2, "margin": 0.3},
    {"level": "identity"},
    {"level": "identity", "unbiased": True, "bandwidth": 20.0},
    {"level": "identity", "margin": 2.0},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@every_batch
def test_value_and_gradient_are_those_of_the_plain_loop(batch: Batch, options: dict[str, Any]) -> None:
    loss = MaximumMeanDiscrepancyLoss(**options)
    assert_like_the_loop(loss, lambda *rows: plain_loop(Batch(*rows), **options), batch)


@pytest.mark.parametrize("case", cases("maximum_mean_discrepancy"))
def test_published_value_and_gradient_are_reproduced(case: Case) -> None:
    """The published bandwidth has 1e-9 added to it."""
    assert_reproduced(MaximumMeanDiscrepancyLoss(**case.options), case, rtol=1e-11)


@pytest.mark.parametrize("case", cases("maximum_mean_discrepancy_margin"))
def test_published_margin_agrees_beyond_it_but_for_the_jump(case: Case) -> None:
    """The published code adds the whole discrepancy there; a hinge has the margin taken off."""
    loss = MaximumMeanDiscrepancyLoss(**case.options)
    assert_reproduced(lambda *batch: loss(*batch) + case.options["margin"], case, rtol=1e-11)


def test_margin_is_a_hinge_without_gradient_below_it() -> None:
    batch = make_batch((12, 12), identities=3)
    below = MaximumMeanDiscrepancyLoss(level="identity", margin=9.0)  # at most 2 x 5 kernels, and less here
    value, gradient = value_and_gradient(below, batch)
    assert value == 0
    assert not gradient.any()


def test_unbiased_form_is_zero_on_the_average_where_the_distributions_are_equal() -> None:
    labels, modalities = torch.arange(8) % 4, torch.arange(8) // 4
    draws = torch.randn(225, 8, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for unbiased, centre in ((True, 0.0), (False, 1.0)):
        loss = MaximumMeanDiscrepancyLoss(unbiased=unbiased, bandwidth=10.0)
        values = torch.stack([loss(rows, labels, modalities) for rows in draws])
        assert (abs(float(values.mean()) - centre) < 4 * float(values.std()) / 15) == unbiased
        assert bool((values < 0).any()) == unbiased


@pytest.mark.parametrize("level", ["modality", "identity"])
def test_value_does_not_change_with_the_scale_of_the_features(level: Any) -> None:
    features, labels, modalities = make_batch()
    loss = MaximumMeanDiscrepancyLoss(level=level)
    torch.testing.assert_close(loss(1e3 * features, labels, modalities), loss(features, labels, modalities))


@pytest.mark.parametrize("level", ["modality", "identity"])
def test_rounding_of_equal_rows_is_no_distance(level: Any) -> None:
    """A bandwidth from the rounding errors alone would make them as far apart as any two rows."""
    features, labels, modalities = make_batch((7, 10), dimension=37, dtype=torch.float32)
    equal = Batch(100 * features[:1].expand(17, -1), labels, modalities)
    value, gradient = value_and_gradient(MaximumMeanDiscrepancyLoss(level=level), equal)
    assert value == 0
    assert not gradient.any()


@pytest.mark.parametrize(
    "option",
    [{"level": "identity"}, {"kernels": 1}, {"bandwidth": 9.0}, {"unbiased": True}, {"margin": 0.1}],
    ids=str,
)
def test_each_option_changes_the_value_and_is_shown(option: dict[str, Any]) -> None:
    batch, loss = make_batch(), MaximumMeanDiscrepancyLoss(**option)
    assert not torch.isclose(loss(*batch), MaximumMeanDiscrepancyLoss()(*batch))
    name, value = next(iter(option.items()))
    assert f"{name}={value!r}" in repr(loss)


@pytest.mark.parametrize(
    ("option", "says"),
    [
        ({"level": "within"}, "level must be one of 'modality', 'identity', got 'within'"),
        ({"kernels": 0}, "kernels must be at least 1, got 0"),
        ({"kernels": 2.0}, "kernels must be a whole number"),
        ({"bandwidth": 0.0}, "bandwidth must be a finite number"),
        ({"unbiased": 1}, "unbiased must be True or False, got 1"),
        ({"margin": -1.0}, "margin must be a finite number"),
    ],
)
def test_impossible_option_is_refused(option: dict[str, Any], says: str) -> None:
    with pytest.raises((TypeError, ValueError), match=says):
        MaximumMeanDiscrepancyLoss(**option)

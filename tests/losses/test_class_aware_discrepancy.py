"""The class-aware discrepancy against a plain loop, by its laws and against published code."""

from itertools import combinations
from typing import Any

import pytest
import torch
from torch import Tensor

from batches import make_batch
from modinv import Batch, ClassAwareDiscrepancyLoss
from published import Case, assert_reproduced, cases

from .center_checks import assert_like_the_loop, every_batch, mean, value_and_gradient


def plain_loop(batch: Batch, unbiased: bool) -> Tensor:
    """The squared distance of the mean outer products, written out; without a row's own square where unbiased."""
    features, labels, modalities = batch
    rows = torch.stack([row / row.norm() for row in features])
    pairs = []
    for a, b in combinations(modalities.unique().tolist(), 2):
        values = []
        for label in labels.unique():
            first, second = (rows[(labels == label) & (modalities == m)] for m in (a, b))
            if min(len(first), len(second)) > int(unbiased):
                value = -2 * torch.stack([(x @ y).square() for x in first for y in second]).mean()
                for own in (first, second):
                    value = value + mean(
                        [
                            (x @ y).square()
                            for i, x in enumerate(own)
                            for j, y in enumerate(own)
                            if not (unbiased and i == j)
                        ]
                    )
                values.append(value)
        if values:
            pairs.append(mean(values))
    return mean(pairs)


@pytest.mark.parametrize("unbiased", [False, True])
@every_batch
def test_value_and_gradient_are_those_of_the_plain_loop(batch: Batch, unbiased: bool) -> None:
    loss = ClassAwareDiscrepancyLoss(unbiased=unbiased)
    assert_like_the_loop(loss, lambda *rows: plain_loop(Batch(*rows), unbiased), batch)


def test_value_is_the_squared_distance_of_the_second_moments() -> None:
    features, labels, modalities = make_batch(identities=1)
    rows = features / features.norm(dim=1, keepdim=True)
    first, second = (rows[modalities == m].T @ rows[modalities == m] / (modalities == m).sum() for m in (0, 1))
    value = ClassAwareDiscrepancyLoss()(features, labels, modalities)
    torch.testing.assert_close(value, (first - second).square().sum(), rtol=1e-12, atol=0)


@pytest.mark.parametrize("case", cases("class_aware_discrepancy"))
def test_published_value_and_gradient_are_reproduced(case: Case) -> None:
    assert_reproduced(ClassAwareDiscrepancyLoss(**case.options), case, rtol=1e-14)


def test_length_and_sign_of_a_row_change_nothing() -> None:
    features, labels, modalities = make_batch()
    factors = torch.linspace(-2, 3, len(labels), dtype=torch.float64)[:, None]
    loss = ClassAwareDiscrepancyLoss()
    torch.testing.assert_close(loss(features * factors, labels, modalities), loss(features, labels, modalities))


def test_row_of_zeros_has_no_direction_and_receives_no_gradient() -> None:
    features = torch.tensor([[0.0, 0.0], [2.0, 0.0]])
    batch = Batch(features, torch.tensor([0, 0]), torch.tensor([0, 1]))
    value, gradient = value_and_gradient(ClassAwareDiscrepancyLoss(), batch)
    assert value == 1  # 0 + 1 - 2 * 0
    assert not gradient.any()


def test_unbiased_changes_the_value_and_is_shown() -> None:
    batch, loss = make_batch((12, 12)), ClassAwareDiscrepancyLoss(unbiased=True)
    assert loss(*batch) < ClassAwareDiscrepancyLoss()(*batch)
    assert repr(loss) == "ClassAwareDiscrepancyLoss(unbiased=True)"


@pytest.mark.parametrize("unbiased", [0, "yes", None])
def test_unbiased_of_another_kind_is_refused(unbiased: Any) -> None:
    with pytest.raises(TypeError, match="unbiased must be True or False"):
        ClassAwareDiscrepancyLoss(unbiased=unbiased)

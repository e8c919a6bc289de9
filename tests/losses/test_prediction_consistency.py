"""Prediction consistency against a plain loop, by its laws and against published code."""

from itertools import combinations
from typing import Any

import pytest
import torch
from torch import Tensor

from batches import make_batch
from modinv import Batch, PredictionConsistencyLoss
from published import Case, assert_reproduced, cases

from .center_checks import assert_like_the_loop, every_batch, mean, value_and_gradient


def plain_loop(batch: Batch, *, divergence: str, level: str, temperature: float) -> Tensor:
    logits, labels, modalities = batch
    pairs = []
    for a, b in combinations(modalities.unique().tolist(), 2):
        values = []
        for label in labels.unique():
            first, second = (logits[(labels == label) & (modalities == m)] / temperature for m in (a, b))
            if level == "center":
                first, second = (rows.mean(0, keepdim=True)[: len(rows)] for rows in (first, second))
            gaps = [DIVERGENCES[divergence](x.softmax(0), y.softmax(0)) for x in first for y in second]
            if gaps:
                values.append(mean(gaps) * temperature**2)
        if values:
            pairs.append(mean(values))
    return mean(pairs)


def kl(p: Tensor, q: Tensor) -> Tensor:
    return (p * (p / q).log()).sum()


DIVERGENCES = {
    "jeffreys": lambda p, q: (kl(p, q) + kl(q, p)) / 2,
    "jensen_shannon": lambda p, q: (kl(p, (p + q) / 2) + kl(q, (p + q) / 2)) / 2,
}
OPTIONS: list[dict[str, Any]] = [
    {"divergence": "jeffreys", "level": "center", "temperature": 1.0},
    {"divergence": "jeffreys", "level": "row", "temperature": 3.0},
    {"divergence": "jensen_shannon", "level": "center", "temperature": 0.5},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@every_batch
def test_value_and_gradient_are_those_of_the_plain_loop(batch: Batch, options: dict[str, Any]) -> None:
    loss = PredictionConsistencyLoss(**options)
    assert_like_the_loop(loss, lambda *rows: plain_loop(Batch(*rows), **options), batch)


@pytest.mark.parametrize("case", cases("prediction_consistency_jensen_shannon"))
def test_published_jensen_shannon_divergence_is_reproduced(case: Case) -> None:
    assert_reproduced(PredictionConsistencyLoss(**case.options), case, rtol=1e-14)


@pytest.mark.parametrize("case", cases("prediction_consistency"))
def test_published_sum_of_both_directions_is_twice_the_mean(case: Case) -> None:
    loss = PredictionConsistencyLoss(**case.options)
    assert_reproduced(lambda *batch: 2 * loss(*batch), case, rtol=1e-14)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_gap_between_logits_that_leaves_the_published_code_without_a_number_is_finite(options: dict[str, Any]) -> None:
    logits = torch.tensor([[0.0, 1e4], [1e4, 0.0]])  # a softmax in float32 is exactly 0 there
    value, gradient = value_and_gradient(
        PredictionConsistencyLoss(**options), Batch(logits, torch.tensor([0, 0]), torch.tensor([0, 1]))
    )
    assert value.isfinite()
    assert gradient.isfinite().all()
    assert value > 0


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("target", [0, 1])
def test_target_receives_no_gradient_and_the_others_all_of_theirs(options: dict[str, Any], target: int) -> None:
    batch = make_batch()
    value, gradient = value_and_gradient(PredictionConsistencyLoss(**options), batch)
    fixed_value, fixed_gradient = value_and_gradient(PredictionConsistencyLoss(**options, target=target), batch)
    fixed = batch.modalities == target
    assert fixed_value == value
    assert not fixed_gradient[fixed].any()
    torch.testing.assert_close(fixed_gradient[~fixed], gradient[~fixed], rtol=1e-12, atol=1e-15)


def test_constant_added_to_the_logits_of_one_row_changes_nothing() -> None:
    features, labels, modalities = make_batch()
    shifts = 1e3 * torch.arange(len(labels))[:, None]
    loss = PredictionConsistencyLoss(level="row")
    torch.testing.assert_close(loss(features + shifts, labels, modalities), loss(features, labels, modalities))


@pytest.mark.parametrize(
    "option",
    [{"divergence": "jensen_shannon"}, {"level": "row"}, {"temperature": 2.0}],
    ids=str,
)
def test_each_option_changes_the_value_and_is_shown(option: dict[str, Any]) -> None:
    batch, loss = make_batch(), PredictionConsistencyLoss(**option)
    assert not torch.isclose(loss(*batch), PredictionConsistencyLoss()(*batch))
    name, value = next(iter(option.items()))
    assert f"{name}={value!r}" in repr(loss)


def test_target_is_shown() -> None:
    assert repr(PredictionConsistencyLoss(target=1)).endswith("temperature=1.0, target=1)")


@pytest.mark.parametrize(
    ("option", "says"),
    [
        ({"divergence": "kl"}, "divergence must be one of 'jeffreys', 'jensen_shannon', got 'kl'"),
        ({"level": "identity"}, "level must be one of 'center', 'row', got 'identity'"),
        ({"divergence": "jensen_shannon", "level": "row"}, "level must be 'center' with divergence 'jensen_shannon'"),
        ({"temperature": 0.0}, "temperature must be a finite number"),
        ({"target": 2, "num_modalities": 2}, "target must be one of 2 modalities, 0 to 1, got 2"),
    ],
)
def test_impossible_option_is_refused(option: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        PredictionConsistencyLoss(**option)

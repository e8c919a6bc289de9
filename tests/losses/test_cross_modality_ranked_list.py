"""The cross-modality ranked list loss: against a plain loop, by hand, and against published code."""

from typing import Any

import pytest
import torch
from torch import Tensor

import modinv
from batches import make_batch
from modinv import Batch
from published import Case, assert_reproduced, cases

from .plain_loop import assert_agrees, every_batch

DEFAULTS = {
    "alpha_intra": 2.2,
    "margin_intra": 0.9,
    "alpha_cross": 2.0,
    "margin_cross": 1.0,
    "temperature": 1.0,
    "normalized": True,
}
UNSCALED = {"alpha_intra": 8.0, "margin_intra": 3.0, "alpha_cross": 12.0, "margin_cross": 6.0, "normalized": False}


def plain_loop(batch: Batch, options: dict[str, Any], eps: float = 0.0) -> Tensor:
    """The formula; the published code adds 1e-5 to each divisor."""
    given = {**DEFAULTS, **options}
    features = torch.nn.functional.normalize(batch.features) if given["normalized"] else batch.features
    total = batch.features.new_zeros(())
    for i in range(len(features)):
        for kind in ("intra", "cross"):
            alpha, margin = given[f"alpha_{kind}"], given[f"margin_{kind}"]
            rows = [
                j
                for j in range(len(features))
                if j != i and (batch.modalities[i] == batch.modalities[j]) == (kind == "intra")
            ]
            distances = {j: (features[i] - features[j]).norm() for j in rows}
            pulls = [
                (d - alpha + margin).clamp(min=0) for j, d in distances.items() if batch.labels[i] == batch.labels[j]
            ]
            inside = [d for j, d in distances.items() if batch.labels[i] != batch.labels[j] and d < alpha]
            if pulls:
                total = total + sum(pulls) / (len(pulls) + eps)
            if inside:
                lacks = alpha - torch.stack(inside)
                weights = (given["temperature"] * lacks).exp()
                total = total + (weights * lacks).sum() / (weights.sum() + eps)
    return total / max(len(features), 1)


OPTIONS = [{}, {**UNSCALED}, {**UNSCALED, "temperature": 3.0}]


@pytest.mark.parametrize("options", OPTIONS, ids=["directions", "unscaled", "sharp"])
@every_batch
def test_value_and_gradient_are_those_of_the_plain_loop(batch: Batch, options: dict[str, Any]) -> None:
    loss = modinv.CrossModalityRankedListLoss(**options)
    assert_agrees(loss, lambda batch: plain_loop(batch, options), batch)


@pytest.mark.parametrize("case", cases("cross_modality_ranked_list"))
def test_published_value_and_gradient_are_reproduced_up_to_what_they_add_to_divisors(case: Case) -> None:
    assert_reproduced(modinv.CrossModalityRankedListLoss(**case.options), case, rtol=1e-5)
    assert_reproduced(lambda *batch: plain_loop(Batch(*batch), case.options, eps=1e-5), case, rtol=1e-13)


def test_terms_by_hand() -> None:
    features = torch.tensor([[0.0], [3.0], [4.0], [9.0]])
    labels, modalities = torch.tensor([0, 0, 1, 0]), torch.tensor([0, 1, 1, 0])
    options: dict[str, Any] = {"alpha_intra": 4.0, "margin_intra": 1.0, "alpha_cross": 5.5, "margin_cross": 3.0}
    loss = modinv.CrossModalityRankedListLoss(**options, temperature=0.0, normalized=False)
    terms = loss.terms(features, labels, modalities)
    # Positives: within, 0 and 9 are 6 beyond 3; across, 0 and 9 are 0.5 and 3.5 beyond 2.5, and 3 is 2 on the average.
    assert float(terms.pull) == pytest.approx((6 + 6 + 0.5 + 3.5 + 2) / 4)
    # Negatives: within, 3 and 4 lack 3; across, 0 lacks 1.5, 9 lacks 0.5, and 4 lacks both, with equal weights.
    assert float(terms.push) == pytest.approx((3 + 3 + 1.5 + 0.5 + 1) / 4)


def test_opposite_directions_are_outside_of_a_radius_of_two_in_any_order() -> None:
    """The published weights jump there, and the distance of opposite directions rounds to either side of 2."""
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(6, 5, generator=generator).repeat(2, 1)
    features[6:] *= -1
    labels, modalities = torch.arange(12) // 3, torch.arange(12) // 6
    value = modinv.CrossModalityRankedListLoss()(features, labels, modalities)
    expected = modinv.CrossModalityRankedListLoss()(features.double(), labels, modalities)
    torch.testing.assert_close(value.double(), expected, rtol=1e-5, atol=0)
    oracle = plain_loop(Batch(features.double(), labels, modalities), {"alpha_cross": 2.0 - 1e-9})
    torch.testing.assert_close(expected, oracle, rtol=1e-7, atol=0)


def test_loss_is_zero_where_all_pairs_are_where_they_shall_be() -> None:
    labels, modalities = torch.arange(4) // 2, torch.arange(4) % 2
    features = (10.0 * labels[:, None] + 0.1 * modalities[:, None]).requires_grad_()
    value = modinv.CrossModalityRankedListLoss(normalized=False)(features, labels, modalities)
    (gradient,) = torch.autograd.grad(value, features)
    assert value == 0
    assert not gradient.any()


def test_scale_of_the_features_does_not_matter_to_directions() -> None:
    features, labels, modalities = make_batch()
    loss = modinv.CrossModalityRankedListLoss()
    scales = torch.arange(1, len(features) + 1)[:, None]
    torch.testing.assert_close(loss(scales * features, labels, modalities), loss(features, labels, modalities))


def test_each_option_changes_the_value_and_is_shown() -> None:
    batch = make_batch()
    changes = {"alpha_intra": 1.5, "margin_intra": 2.0, "alpha_cross": 1.4, "margin_cross": 1.5, "temperature": 4.0}
    options: list[dict[str, Any]] = [{}, {"normalized": False}, *({name: value} for name, value in changes.items())]
    losses = [modinv.CrossModalityRankedListLoss(**option) for option in options]
    assert len({round(float(loss(*batch)), 9) for loss in losses}) == len(options)
    shown = ", ".join(f"{name}={value}" for name, value in DEFAULTS.items())
    assert repr(losses[0]) == f"CrossModalityRankedListLoss({shown})"


@pytest.mark.parametrize(
    ("options", "kind", "sentence"),
    [
        ({"alpha_intra": -1.0}, ValueError, "alpha_intra must be a finite number"),
        ({"margin_intra": 2.3}, ValueError, r"margin_intra must be a finite number in \[0, 2.2\], got 2.3"),
        ({"alpha_cross": float("nan")}, ValueError, "alpha_cross must be a finite number"),
        ({"margin_cross": 2.1}, ValueError, r"margin_cross must be a finite number in \[0, 2\], got 2.1"),
        ({"temperature": "hot"}, TypeError, "temperature must be a number"),
        ({"normalized": None}, TypeError, "normalized must be True or False, got None"),
    ],
)
def test_impossible_option_is_refused(options: dict[str, Any], kind: type[Exception], sentence: str) -> None:
    with pytest.raises(kind, match=sentence):
        modinv.CrossModalityRankedListLoss(**options)

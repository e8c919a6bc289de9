"""Mutual learning against the terms of MPANet, which torch computes itself."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import kl_div

from modinv import MutualLearningLoss
from modinv.losses import mutual_learning

LOGITS = 3 * torch.randn(2, 7, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def published(logits: Tensor, others: Tensor) -> Tensor:
    """What DoubtedSteam/MPANet f57fd5c computes in models/baseline.py:191 to 193."""
    return kl_div(others.log_softmax(1), logits.softmax(1), reduction="batchmean")


def test_value_and_gradient_are_those_of_the_published_terms() -> None:
    logits, others = LOGITS[0].clone().requires_grad_(), LOGITS[1]
    value, expected = mutual_learning(logits, others), published(logits, others)
    torch.testing.assert_close(value, expected, rtol=1e-14, atol=0)
    gradients = [torch.autograd.grad(loss, logits)[0] for loss in (value, expected)]
    torch.testing.assert_close(*gradients, rtol=1e-12, atol=1e-15)


def test_gradient_agrees_with_finite_differences() -> None:
    assert torch.autograd.gradcheck(
        lambda logits: mutual_learning(logits, LOGITS[1], temperature=2.0), LOGITS[0].clone().requires_grad_()
    )


def test_other_classifier_receives_no_gradient() -> None:
    others = LOGITS[1].clone().requires_grad_()
    mutual_learning(LOGITS[0].clone().requires_grad_(), others).backward()
    assert others.grad is None


def test_temperature_divides_the_logits_and_its_square_multiplies_the_value() -> None:
    loss = MutualLearningLoss(temperature=4.0)
    torch.testing.assert_close(loss(*LOGITS), 16 * published(*LOGITS / 4))
    assert repr(loss) == "MutualLearningLoss(temperature=4.0)"


def test_value_of_no_row_is_zero_and_attached() -> None:
    logits = torch.zeros(0, 5, requires_grad=True)
    value = mutual_learning(logits, torch.zeros(0, 5))
    value.backward()
    assert value == 0


def test_large_gap_between_logits_is_finite() -> None:
    logits = torch.tensor([[0.0, 1e4]], requires_grad=True)
    value = mutual_learning(logits, torch.tensor([[1e4, 0.0]]))
    value.backward()
    assert value == 1e4
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


def test_logit_that_is_not_finite_makes_the_value_not_finite() -> None:
    logits = LOGITS[0].clone()
    logits[0, 0] = torch.nan
    assert mutual_learning(logits, LOGITS[1]).isnan()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_and_autocast_lose_no_digit(dtype: torch.dtype) -> None:
    halves = LOGITS.to(dtype)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = mutual_learning(*halves)
    assert value.dtype == torch.float32
    torch.testing.assert_close(value.double(), mutual_learning(*halves.double()), rtol=1e-6, atol=0)


@pytest.mark.parametrize(
    ("others", "says"),
    [
        (LOGITS[1, :3], "others must be logits like the first, torch.float64 of shape"),
        (LOGITS[1].long(), "others must be a floating tensor"),
    ],
)
def test_logits_that_do_not_fit_are_refused(others: Tensor, says: str) -> None:
    with pytest.raises((TypeError, ValueError), match=says):
        mutual_learning(LOGITS[0], others)


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan")])
def test_impossible_temperature_is_refused(temperature: Any) -> None:
    with pytest.raises(ValueError, match="temperature must be a finite number"):
        MutualLearningLoss(temperature=temperature)
    with pytest.raises(ValueError, match="temperature must be a finite number"):
        mutual_learning(*LOGITS, temperature=temperature)

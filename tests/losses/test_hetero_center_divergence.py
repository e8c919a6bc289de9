"""Class distributions of rows against those of centers: a plain loop, and published code."""

import pytest
import torch
from torch import Tensor

from batches import make_batch
from modinv import Batch, HeteroCenterDivergenceLoss

from .center_checks import assert_like_published, assert_like_the_loop, every_batch, value_and_gradient
from .test_hetero_center_contrast import plain_loop


def divergence(p: Tensor, q: Tensor) -> Tensor:
    return ((p - q) * (p.log() - q.log())).sum()


@every_batch
def test_value_is_that_of_the_plain_loop(batch: Batch) -> None:
    def oracle(features: Tensor, *numbers: Tensor) -> Tensor:
        return plain_loop(features.softmax(1), *numbers, margin=4.0, distance=divergence)

    assert_like_the_loop(HeteroCenterDivergenceLoss(margin=4.0), oracle, batch)


def test_value_is_that_of_the_published_code_with_its_gradient() -> None:
    loss = HeteroCenterDivergenceLoss(target_gradient=False)
    assert_like_published("hetero_center_divergence", "kl", loss, 0, 1)


def test_target_gradient_changes_the_gradient_and_not_the_value() -> None:
    batch = make_batch()
    value, gradient = value_and_gradient(HeteroCenterDivergenceLoss(), batch)
    same, other = value_and_gradient(HeteroCenterDivergenceLoss(target_gradient=False), batch)
    assert value == same
    assert (gradient - other).abs().max() > 0.01 * gradient.abs().max()


@pytest.mark.parametrize("target_gradient", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_confident_rows_have_a_finite_divergence_and_its_gradient(dtype: torch.dtype, target_gradient: bool) -> None:
    """The logarithm of a softmax is minus infinity at a gap of 104 in float32, and of 18 in float16."""
    batch = Batch((300 * torch.eye(2)).to(dtype), torch.tensor([0, 0]), torch.tensor([0, 1]))
    value, gradient = value_and_gradient(HeteroCenterDivergenceLoss(target_gradient=target_gradient), batch)
    torch.testing.assert_close(value, torch.tensor(600.0))  # the sum of the two gaps
    torch.testing.assert_close(gradient.float(), 2 * torch.eye(2) - 1)


def test_value_reads_logits_up_to_a_number_for_each_row() -> None:
    features, *numbers = make_batch()
    loss = HeteroCenterDivergenceLoss()
    shifts = torch.arange(len(features))[:, None]
    torch.testing.assert_close(loss(features + shifts, *numbers), loss(features, *numbers))


def test_equal_distributions_have_no_pull_and_a_push() -> None:
    rows = make_batch((4, 0)).features
    terms = HeteroCenterDivergenceLoss().terms(rows.repeat(2, 1), torch.arange(4).repeat(2), torch.arange(8) // 4)
    torch.testing.assert_close(terms.pull, torch.zeros_like(terms.pull), rtol=0, atol=1e-12)
    assert terms.push > 0


def test_margin_changes_the_value_and_is_checked() -> None:
    batch = make_batch()
    assert HeteroCenterDivergenceLoss(margin=8.0)(*batch) > HeteroCenterDivergenceLoss(margin=4.0)(*batch)
    with pytest.raises(ValueError, match="margin must be a finite number"):
        HeteroCenterDivergenceLoss(margin=-1.0)


def test_target_gradient_must_be_true_or_false() -> None:
    with pytest.raises(TypeError, match="target_gradient must be True or False, got 1"):
        HeteroCenterDivergenceLoss(target_gradient=1)  # type: ignore[arg-type]


def test_options_are_shown() -> None:
    assert repr(HeteroCenterDivergenceLoss()) == "HeteroCenterDivergenceLoss(margin=6.0, target_gradient=True)"

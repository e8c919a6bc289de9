"""Tests of reid.training.precision: mixed precision, a scaled loss, a clipped gradient."""

import pytest
import torch
from torch import Tensor, nn

from reid.training.precision import Descent, Precision


def descend(precision: Precision, scale: float, *, clip_norm: float | None = None) -> tuple[Descent, Tensor, Tensor]:
    """Take one step of plain gradient descent, and return the norm that was told and the step that was taken."""
    torch.manual_seed(0)
    model = nn.Linear(3, 2)
    before = model.weight.detach().clone()
    descent = Descent(model, torch.optim.SGD(model.parameters(), 1.0), precision=precision, clip_norm=clip_norm)
    with descent.autocast():
        outputs = model(torch.ones(4, 3))
    norm = descent.step(scale * outputs.float().square().sum())
    return descent, norm, before - model.weight.detach()


@pytest.mark.parametrize(
    ("precision", "kind"),
    [("float32", torch.float32), ("bf16", torch.bfloat16), ("fp16", torch.float16)],
)
def test_network_computes_in_the_precision_and_keeps_its_parameters(precision: Precision, kind: torch.dtype) -> None:
    model = nn.Linear(3, 2)
    descent = Descent(model, torch.optim.SGD(model.parameters(), 1.0), precision=precision)
    with descent.autocast():
        assert model(torch.ones(4, 3)).dtype == kind
    assert model.weight.dtype == descent.input_type == torch.float32


@pytest.mark.parametrize("precision", ["float32", "fp16"])
def test_norm_is_that_of_the_gradient_whatever_the_scale_of_the_loss(precision: Precision) -> None:
    descent, norm, _ = descend(precision, 1e-6)
    gradients = [parameter.grad for parameter in descent._parameters if parameter.grad is not None]
    expected = torch.cat([gradient.flatten() for gradient in gradients]).norm()
    torch.testing.assert_close(norm, expected)
    assert 0 < float(norm) < 1e-3


def test_clipping_shortens_the_step_and_not_the_norm_that_is_told() -> None:
    _, norm, step = descend("float32", 1.0)
    _, same, shorter = descend("float32", 1.0, clip_norm=0.5)
    assert float(norm) == float(same) > 0.5
    torch.testing.assert_close(shorter, step * (0.5 / norm), rtol=1e-4, atol=0)
    _, _, untouched = descend("float32", 1.0, clip_norm=1e9)
    torch.testing.assert_close(untouched, step)


def test_step_that_overflows_is_left_out_and_halves_the_scale() -> None:
    descent, norm, step = descend("fp16", 1e36)
    assert not norm.isfinite()
    assert not step.any()
    assert descent.state_dict()["scale"] == 2.0**15


def test_scale_is_carried_over() -> None:
    descent, _, _ = descend("fp16", 1e36)
    fresh, _, _ = descend("fp16", 1e-3)
    fresh.load_state_dict(descent.state_dict())
    assert fresh.state_dict() == descent.state_dict()


def test_full_precision_has_no_scale_to_carry() -> None:
    descent, _, _ = descend("float32", 1.0)
    assert descent.state_dict() == {}
    descent.load_state_dict({})

"""Tests of the gate between a map and its instance normalisation, against PyTorch's layers."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from modinv.modules import InstanceNormGate


def make_maps(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)), dtype=torch.float64) * 2 + 1


def make_gate(**options: Any) -> InstanceNormGate:
    torch.manual_seed(0)
    gate = InstanceNormGate(6, **{"hidden_features": 3, **options}).double()
    nn.init.normal_(gate.expand.weight)
    return gate


def layers(gate: InstanceNormGate, maps: Tensor) -> Tensor:
    """The formula with the layers of PyTorch."""
    pooled = torch.nn.functional.adaptive_avg_pool2d(maps, 1)
    hidden = torch.relu(torch.nn.functional.conv2d(pooled, gate.reduce.weight[..., None, None]))
    m = torch.sigmoid(torch.nn.functional.conv2d(hidden, gate.expand.weight[..., None, None]))
    return m * maps + (1 - m) * nn.InstanceNorm2d(6, eps=gate.eps)(maps)


@pytest.mark.parametrize("eps", [1e-5, 0.5])
@pytest.mark.parametrize("training", [True, False])
def test_gate_mixes_a_map_with_its_instance_normalisation(eps: float, training: bool) -> None:
    gate, maps = make_gate(eps=eps).train(training), make_maps(4, 6, 3, 2)
    torch.testing.assert_close(gate(maps), layers(gate, maps), rtol=1e-12, atol=1e-12)


def test_gradient_passes_gradcheck() -> None:
    assert torch.autograd.gradcheck(make_gate(), (make_maps(2, 6, 3, 2).requires_grad_(),))


@pytest.mark.parametrize("shape", [(1, 6, 1, 1), (3, 6, 1, 1)])
def test_one_position_or_a_constant_map_has_the_normalisation_zero_and_finite_gradients(shape: tuple[int, ...]) -> None:
    gate = make_gate()
    maps = make_maps(*shape).requires_grad_()
    constant = maps.detach().expand(*shape[:2], 4, 3).clone().requires_grad_()
    torch.testing.assert_close(gate(constant), gate(maps).expand_as(constant))
    for inputs in (maps, constant):
        (gradient,) = torch.autograd.grad(gate(inputs).sum(), inputs)
        assert gradient.isfinite().all()


def test_style_of_a_channel_is_taken_off_where_the_gate_is_closed() -> None:
    gate, maps = make_gate(), make_maps(2, 6, 4, 3).abs()
    nn.init.constant_(gate.reduce.weight, 1.0)
    nn.init.constant_(gate.expand.weight, -1e3)
    torch.testing.assert_close(gate(5 * maps + 40), gate(maps), rtol=0, atol=1e-4)


def test_rows_are_independent_in_training() -> None:
    gate, maps = make_gate(), make_maps(4, 6, 3, 2)
    torch.testing.assert_close(gate(maps[[2, 0]]), gate(maps)[[2, 0]], rtol=1e-12, atol=1e-12)


def test_row_that_is_not_finite_stays_alone_in_training() -> None:
    maps = make_maps(3, 6, 3, 2)
    maps[1, 0, 0, 0] = torch.inf
    assert make_gate()(maps).isfinite().flatten(1).all(1).tolist() == [True, False, True]


def test_statistics_of_half_precision_are_those_of_float32() -> None:
    gate, maps = make_gate().float(), (300 * make_maps(2, 6, 4, 3)).half()  # squares beyond float16
    outputs = gate(maps)
    assert outputs.dtype == torch.float16
    torch.testing.assert_close(outputs.float(), gate(maps.float()), rtol=1e-3, atol=1e-3)


def test_hidden_features_default_to_a_sixteenth() -> None:
    assert InstanceNormGate(64).reduce.weight.shape == (4, 64)
    assert InstanceNormGate(6).reduce.weight.shape == (1, 6)


def test_repr_shows_the_options() -> None:
    assert "6, hidden_features=3, eps=1e-05" in repr(InstanceNormGate(6, hidden_features=3))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"in_features": 2.0}, TypeError, "in_features must be .*got 2.0"),
        ({"hidden_features": -1}, ValueError, "hidden_features must be at least 1, got -1"),
        ({"eps": 0.0}, ValueError, "eps must be .*got 0"),
    ],
)
def test_wrong_option_is_refused(options: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        InstanceNormGate(**{"in_features": 6, **options})


def test_malformed_maps_are_refused() -> None:
    with pytest.raises(ValueError, match=r"maps must have the shape \(N, C, H, W\).*got \(2, 6\)"):
        InstanceNormGate(6)(torch.ones(2, 6))
    with pytest.raises(ValueError, match=r"maps must have 6 features per row.*got 5"):
        InstanceNormGate(6)(torch.ones(2, 5, 3, 3))


def waves(*shape: int, start: float) -> Tensor:
    return torch.sin(torch.arange(math.prod(shape), dtype=torch.float64) + start).reshape(shape)


def test_gate_is_what_mpanet_published() -> None:
    """Numbers that MAM of DoubtedSteam/MPANet at f57fd5c gave for these parameters and maps."""
    gate = InstanceNormGate(32).double()
    with torch.no_grad():
        gate.reduce.weight.copy_(waves(2, 32, start=0))
        gate.expand.weight.copy_(waves(32, 2, start=1))
    maps = (waves(3, 32, 4, 2, start=0.5) + 1).requires_grad_()
    outputs = gate(maps)
    found = outputs.detach().flatten()[[0, 50, 150]].tolist()
    assert found == pytest.approx([1.014859925783018, 0.9362829356707587, 0.09886999698557863], rel=1e-12)
    (gradient,) = torch.autograd.grad(outputs.pow(3).sum(), maps)
    assert float(outputs.detach().pow(3).sum()) == pytest.approx(928.1909563951359, rel=1e-12)
    assert float(gradient.square().sum()) == pytest.approx(6056.790945542163, rel=1e-12)

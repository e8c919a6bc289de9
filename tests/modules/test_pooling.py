"""Tests of generalised-mean pooling, against plain loops."""

import math

import pytest
import torch
from torch import Tensor

from modinv.modules import GeM


def make_maps(*shape: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(sum(shape)), dtype=torch.float64) + 0.1


def loop(maps: Tensor, p: float, stripes: int) -> Tensor:
    """One number at a time: rows floor(sH/S) to ceil((s+1)H/S) of stripe s, stripe by stripe."""
    num_rows, channels, height, _ = maps.shape
    result = torch.zeros(num_rows, stripes * channels, dtype=torch.float64)
    for n in range(num_rows):
        for s in range(stripes):
            for c in range(channels):
                start, stop = math.floor(s * height / stripes), math.ceil((s + 1) * height / stripes)
                powers = [float(value) ** p for value in maps[n, c, start:stop].flatten()]
                result[n, s * channels + c] = (sum(powers) / len(powers)) ** (1 / p)
    return result


@pytest.mark.parametrize("stripes", [1, 2, 3, 8])
@pytest.mark.parametrize("p", [1.0, 3.0, 6.5])
def test_value_equals_a_plain_loop(p: float, stripes: int) -> None:
    maps = make_maps(2, 3, 8, 2)
    found = GeM(p, stripes=stripes)(maps)
    torch.testing.assert_close(found, loop(maps, p, stripes), rtol=1e-12, atol=1e-12)


def test_exponent_one_is_the_average_and_a_large_exponent_the_maximum() -> None:
    maps = make_maps(2, 3, 4, 4)
    torch.testing.assert_close(GeM(1.0)(maps), maps.mean((2, 3)), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(GeM(2000.0)(maps), maps.amax((2, 3)), rtol=2e-3, atol=0)


def test_stripes_cover_the_rows_as_adaptive_pooling_does() -> None:
    maps = make_maps(2, 3, 8, 2)
    adaptive = torch.nn.functional.adaptive_avg_pool2d(maps, (3, 1))  # (N, C, S, 1)
    expected = torch.cat([adaptive[:, :, stripe, 0] for stripe in range(3)], dim=1)
    torch.testing.assert_close(GeM(1.0, stripes=3)(maps), expected, rtol=1e-12, atol=1e-12)


def test_gradients_pass_gradcheck_for_maps_and_exponent() -> None:
    pool = GeM(2.5, stripes=2, learnable=True).double()
    assert torch.autograd.gradcheck(pool, (make_maps(2, 2, 3, 2).requires_grad_(),))
    maps = make_maps(2, 2, 3, 2)
    assert isinstance(pool.p, torch.nn.Parameter)
    torch.autograd.backward(pool(maps).sum())
    assert pool.p.grad is not None
    slope = (loop(maps, 2.5 + 1e-6, 2) - loop(maps, 2.5 - 1e-6, 2)).sum() / 2e-6
    torch.testing.assert_close(pool.p.grad, slope[None], rtol=1e-7, atol=0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("p", [1.0, 3.0, 50.0])
@pytest.mark.parametrize("scale", [0.0, 1e-3, 300.0, 6e4])
def test_dead_and_large_channels_of_any_type_are_finite(dtype: torch.dtype, p: float, scale: float) -> None:
    maps = torch.zeros(2, 3, 4, 2, dtype=dtype)
    maps[:, 0] = scale
    maps[:, 1, 2] = scale
    maps.requires_grad_()
    outputs = GeM(p, stripes=2)(maps)
    torch.autograd.backward(outputs.float().sum())
    assert outputs.dtype == dtype
    assert outputs.isfinite().all()
    assert maps.grad is not None
    assert maps.grad.isfinite().all()
    torch.testing.assert_close(outputs[:, 0].float(), torch.full((2,), max(scale, 1e-6)), rtol=1e-2, atol=1e-6)


def test_negative_values_count_as_eps_without_gradient() -> None:
    maps = torch.full((1, 1, 2, 2), -5.0, requires_grad=True)
    outputs = GeM(eps=1e-3)(maps)
    torch.autograd.backward(outputs.sum())
    torch.testing.assert_close(outputs, torch.full((1, 1), 1e-3))
    assert maps.grad is not None
    assert not maps.grad.any()


def test_what_is_not_finite_stays_not_finite() -> None:
    maps = torch.ones(3, 1, 2, 2)
    maps[0, 0, 0, 0], maps[1, 0, 0, 0] = torch.nan, torch.inf
    assert GeM()(maps).isfinite().flatten().tolist() == [False, False, True]


def test_rows_are_independent() -> None:
    maps = make_maps(4, 3, 6, 2)
    order = torch.tensor([2, 0, 3, 1])
    assert torch.equal(GeM(stripes=3)(maps[order]), GeM(stripes=3)(maps)[order])
    assert torch.equal(GeM()(maps[:1]), GeM()(maps)[:1])


def test_autocast_changes_nothing() -> None:
    maps = make_maps(2, 3, 4, 2).float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = GeM()(maps)
    assert torch.equal(mixed, GeM()(maps))


def test_compiled_gives_the_same_values_and_gradients() -> None:
    pool = GeM(stripes=3, learnable=True).double()
    compiled = torch.compile(pool, fullgraph=True, backend="aot_eager")
    plain, traced = make_maps(2, 3, 8, 2).requires_grad_(), make_maps(2, 3, 8, 2).requires_grad_()
    torch.autograd.backward(pool(plain).square().sum())
    torch.autograd.backward(compiled(traced).square().sum())
    torch.testing.assert_close(traced.grad, plain.grad, rtol=1e-12, atol=1e-12)


def test_learnable_exponent_is_state_and_a_fixed_one_is_not() -> None:
    assert list(GeM(learnable=True).state_dict()) == ["p"]
    assert list(GeM().state_dict()) == []


def test_repr_shows_the_options() -> None:
    assert repr(GeM(4, stripes=2)) == "GeM(p=4, stripes=2, learnable=False, eps=1e-06)"
    assert repr(GeM(learnable=True)) == "GeM(p=3, stripes=1, learnable=True, eps=1e-06)"


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"p": 0.0}, ValueError, "p must be .*got 0"),
        ({"p": float("inf")}, ValueError, "p must be .*got inf"),
        ({"p": "3"}, TypeError, "p must be .*got '3'"),
        ({"stripes": 0}, ValueError, "stripes must be at least 1, got 0"),
        ({"stripes": 2.0}, TypeError, "stripes must be .*got 2.0"),
        ({"eps": -1.0}, ValueError, "eps must be .*got -1"),
    ],
)
def test_a_wrong_option_is_refused(options: dict[str, float], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        GeM(**options)  # type: ignore[arg-type]


def test_malformed_maps_are_refused() -> None:
    with pytest.raises(ValueError, match=r"maps must have the shape \(N, C, H, W\).*got \(2, 3\)"):
        GeM()(torch.ones(2, 3))
    with pytest.raises(ValueError, match="6 stripes need as many rows, got a map of height 4"):
        GeM(stripes=6)(torch.ones(2, 3, 4, 2))

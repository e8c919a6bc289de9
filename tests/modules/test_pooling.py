"""Tests of generalised-mean pooling, against plain loops."""

import math

import pytest
import torch
from torch import Tensor

from modinv.modules import GeM
from quick import combined


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


class LearnedGeM(GeM):
    """Pooling whose exponent the type checker knows to be a parameter."""

    p: torch.nn.Parameter


def learned(p: float) -> LearnedGeM:
    """A float64 layer whose training has led to any exponent, which the constructor would not take."""
    pool = LearnedGeM(learnable=True).double()
    torch.nn.init.constant_(pool.p, p)
    return pool


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


@pytest.mark.parametrize("p", [2**-100, 2**-27, 2**-13, 2**-7, 3 / 256, 5 / 16])
@pytest.mark.parametrize("learnable", [False, True])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 2e-5), (torch.float64, 1e-11)])
def test_small_exponent_keeps_its_digits(p: float, learnable: bool, dtype: torch.dtype, tolerance: float) -> None:
    maps = make_maps(2, 3, 4, 4).to(dtype)
    pool = GeM(p, learnable=learnable).to(dtype)
    logs = maps.double().flatten(2).log()
    expected = (torch.log1p(torch.expm1(p * logs).mean(2)) / p).exp()
    torch.testing.assert_close(pool(maps).double(), expected, rtol=tolerance, atol=0)


def test_learned_exponent_zero_is_the_geometric_mean_with_its_gradients() -> None:
    pool = learned(0.0)
    maps = make_maps(2, 3, 4, 4).requires_grad_()
    outputs = pool(maps)
    torch.autograd.backward(outputs.sum())
    logs = maps.detach().flatten(2).log()
    geometric = logs.mean(2).exp()
    torch.testing.assert_close(outputs, geometric, rtol=1e-12, atol=0)
    torch.testing.assert_close(maps.grad, geometric[:, :, None, None] / maps.detach() / 16, rtol=1e-12, atol=0)
    slope = (geometric * logs.var(2, correction=0) / 2).sum()
    torch.testing.assert_close(pool.p.grad, slope[None], rtol=1e-12, atol=0)


@pytest.mark.parametrize("p", [-50.0, -3.0, -2e-3, -5e-4, 5e-4, 2e-3, 0.5])
def test_gradient_of_a_learned_exponent_is_right_on_both_sides_of_zero(p: float) -> None:
    pool = learned(p)
    maps = make_maps(2, 3, 4, 2)
    torch.autograd.backward(pool(maps).sum())
    step = 1e-4 * max(1, abs(p))
    slope = (loop(maps, p + step, 1) - loop(maps, p - step, 1)).sum() / (2 * step)
    torch.testing.assert_close(pool.p.grad, slope[None], rtol=1e-5, atol=0)


@pytest.mark.parametrize("p", [-3e38, -60.0, 0.0, 1e-40, 60.0, 3e38])
def test_learned_exponent_of_any_size_is_finite_with_dead_positions(p: float) -> None:
    pool = learned(p).float()
    maps = torch.tensor([0.0, 1.0, 2.0, 2.0]).reshape(1, 1, 2, 2).requires_grad_()
    outputs = pool(maps)
    torch.autograd.backward(outputs.sum())
    assert 0.99e-6 < float(outputs.detach()) <= 2
    assert maps.grad is not None
    assert maps.grad.isfinite().all()
    assert pool.p.grad is not None
    assert pool.p.grad.isfinite().all()


def test_learned_exponent_of_a_module_in_half_precision_is_not_rounded_again() -> None:
    maps = make_maps(2, 3, 4, 2).float()
    torch.testing.assert_close(GeM(learnable=True).half()(maps), GeM()(maps), rtol=1e-6, atol=0)


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


@combined(
    dtype=[torch.float16, torch.bfloat16, torch.float32, torch.float64],
    p=[1e-3, 1.0, 3.0, 50.0],
    eps=[1e-25, 1e-6],
    scale=[0.0, 1e-3, 300.0, 6e4],
)
def test_dead_and_large_channels_of_any_type_are_finite(dtype: torch.dtype, p: float, eps: float, scale: float) -> None:
    maps = torch.zeros(2, 3, 4, 2, dtype=dtype)
    maps[:, 0] = scale
    maps[:, 1, 2] = scale
    maps.requires_grad_()
    outputs = GeM(p, stripes=2, eps=eps)(maps)
    torch.autograd.backward(outputs.float().sum())
    assert outputs.dtype == dtype
    assert outputs.isfinite().all()
    assert maps.grad is not None
    assert maps.grad.isfinite().all()
    torch.testing.assert_close(outputs[:, 0].float(), torch.full((2,), max(scale, eps)), rtol=1e-2, atol=1e-6)


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


@pytest.mark.slow
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
        ({"p": 1e39}, ValueError, "p must be .*got 1e"),
        ({"stripes": 0}, ValueError, "stripes must be at least 1, got 0"),
        ({"stripes": 2.0}, TypeError, "stripes must be .*got 2.0"),
        ({"learnable": "no"}, TypeError, "learnable must be True or False, got 'no'"),
        ({"eps": -1.0}, ValueError, "eps must be .*got -1"),
        ({"eps": 1e-50}, ValueError, r"eps must be .*\[1e-25, 1e\+38\], got 1e-50"),
        ({"eps": 1e39}, ValueError, "eps must be .*got 1e"),
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
    with pytest.raises(ValueError, match=r"all but N at least 1, got \(2, 3, 4, 0\)"):
        GeM()(torch.ones(2, 3, 4, 0))

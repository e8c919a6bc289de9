"""Tests of the non-local block, against a loop over positions."""

import math
from typing import Any, Literal

import pytest
import torch
from torch import Tensor, nn

from modinv.modules import NonLocal

Similarity = Literal["dot_product", "embedded_gaussian"]
each_similarity = pytest.mark.parametrize("similarity", ["dot_product", "embedded_gaussian"])


def make_maps(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)), dtype=torch.float64)


def make_block(similarity: Similarity = "dot_product", hidden_features: int | None = None) -> NonLocal:
    torch.manual_seed(0)
    block = NonLocal(6, hidden_features=hidden_features, similarity=similarity).double()
    nn.init.normal_(block.norm.weight)
    nn.init.normal_(block.norm.bias)
    return block


@torch.no_grad()
def loop(block: NonLocal, maps: Tensor) -> Tensor:
    """Position by position, from the formula; the normalisation in evaluation with fresh statistics."""
    matrix = {name: getattr(block, name).weight.flatten(1) for name in ("theta", "phi", "g", "expand")}
    output = maps.clone()
    for n, row in enumerate(maps):
        positions = row.flatten(1).T  # (P, C)
        for i, position in enumerate(positions):
            theta = matrix["theta"] @ position + block.theta.bias
            likeness = [float(theta @ (matrix["phi"] @ other + block.phi.bias)) for other in positions]
            if block.similarity == "dot_product":
                weights = [value / len(positions) for value in likeness]
            else:
                exponentials = [math.exp(value - max(likeness)) for value in likeness]
                weights = [value / sum(exponentials) for value in exponentials]
            seen = sum(
                weight * (matrix["g"] @ other + block.g.bias) for weight, other in zip(weights, positions, strict=True)
            )
            correction = block.norm.weight * (matrix["expand"] @ seen) / (1 + 1e-5) ** 0.5 + block.norm.bias
            output[n, :, i // maps.shape[3], i % maps.shape[3]] += correction
    return output


@each_similarity
@pytest.mark.parametrize("hidden_features", [1, 3, 9])  # fewer channels than positions, and more
def test_each_position_gets_what_the_loop_says(similarity: Similarity, hidden_features: int) -> None:
    block, maps = make_block(similarity, hidden_features).eval(), make_maps(2, 6, 3, 2)
    torch.testing.assert_close(block(maps), loop(block, maps), rtol=1e-11, atol=1e-12)


@each_similarity
@pytest.mark.parametrize("training", [True, False])
def test_untrained_block_changes_nothing_and_can_learn(similarity: Similarity, training: bool) -> None:
    block, maps = NonLocal(6, similarity=similarity).double().train(training), make_maps(3, 6, 4, 2)
    assert torch.equal(block(maps), maps)
    torch.autograd.backward(block(maps).pow(3).sum())
    assert block.norm.weight.grad is not None
    assert block.norm.weight.grad.any()


@each_similarity
@pytest.mark.parametrize("shape", [(3, 6, 2, 1), (2, 6, 3, 2)])
def test_gradients_pass_gradcheck(similarity: Similarity, shape: tuple[int, ...]) -> None:
    assert torch.autograd.gradcheck(make_block(similarity), (make_maps(*shape).requires_grad_(),))


def test_channels_are_halved_unless_told_otherwise() -> None:
    assert NonLocal(6).theta.weight.shape == (3, 6, 1, 1)
    assert NonLocal(1).theta.weight.shape == (1, 1, 1, 1)
    assert NonLocal(6, hidden_features=1).theta.weight.shape == (1, 6, 1, 1)


def test_order_of_the_positions_does_not_matter() -> None:
    block, maps = make_block().eval(), make_maps(2, 6, 3, 2)
    torch.testing.assert_close(block(maps.flip(2, 3)), block(maps).flip(2, 3), rtol=1e-12, atol=1e-12)


def test_rows_are_independent_in_evaluation() -> None:
    block, maps = make_block().eval(), make_maps(4, 6, 3, 2)
    torch.testing.assert_close(block(maps[1:2]), block(maps)[1:2], rtol=1e-12, atol=1e-12)


def test_softmax_weights_do_not_grow_with_the_maps() -> None:
    """They sum to one, so that a constant map sees its own constant; those of the dot product grow with the square."""
    maps = torch.ones(1, 6, 3, 2, dtype=torch.float64)
    for similarity, degree in (("embedded_gaussian", 1), ("dot_product", 3)):
        block = make_block(similarity).eval()  # type: ignore[arg-type]
        for layer in (block.theta, block.phi, block.g, block.norm):
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
        corrections = [block(scale * maps) - scale * maps for scale in (1, 2)]
        torch.testing.assert_close(corrections[1], 2**degree * corrections[0], rtol=1e-12, atol=1e-12)


def test_large_maps_in_float16_do_not_overflow_in_the_similarity() -> None:
    """A sum of 512 products of 16 and 16 is beyond float16; divided by 144 positions it is not."""
    block = NonLocal(512, hidden_features=512)
    for layer in (block.theta, block.phi, block.g):
        nn.init.dirac_(layer.weight)
        nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    with torch.no_grad():
        block.g.weight.mul_(1e-3)
    nn.init.dirac_(block.expand.weight)
    nn.init.constant_(block.norm.weight, 1e-3)
    maps = torch.full((1, 512, 18, 8), 16.0)
    outputs = block.eval().to(torch.float16)(maps.half())
    torch.testing.assert_close(outputs.float(), block.float()(maps), rtol=1e-2, atol=0)


def test_autocast_stays_close_to_float32() -> None:
    block, maps = make_block().float(), make_maps(4, 6, 4, 2).float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = block(maps)
    assert mixed.dtype == torch.float32
    torch.testing.assert_close(mixed, block(maps), rtol=0, atol=0.1)


def test_repr_shows_the_options() -> None:
    shown = repr(NonLocal(6, similarity="embedded_gaussian"))
    assert "6, hidden_features=3, similarity='embedded_gaussian'" in shown


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"in_features": 0}, ValueError, "in_features must be at least 1, got 0"),
        ({"hidden_features": 0}, ValueError, "hidden_features must be at least 1, got 0"),
        ({"similarity": "softmax"}, ValueError, "'dot_product', 'embedded_gaussian', got 'softmax'"),
    ],
)
def test_wrong_option_is_refused(options: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        NonLocal(**{"in_features": 6, **options})


def test_malformed_maps_are_refused() -> None:
    with pytest.raises(ValueError, match=r"maps must have the shape \(N, C, H, W\).*got \(2, 6\)"):
        NonLocal(6)(torch.ones(2, 6))
    with pytest.raises(ValueError, match=r"maps must have 6 features per row.*got 5"):
        NonLocal(6)(torch.ones(2, 5, 3, 3))
    with pytest.raises(TypeError, match="maps must be a floating tensor"):
        NonLocal(6)(torch.ones(2, 6, 3, 3, dtype=torch.long))


def waves(*shape: int, start: float) -> Tensor:
    return torch.sin(torch.arange(math.prod(shape), dtype=torch.float64) + start).reshape(shape)


def test_one_channel_is_what_agw_published() -> None:
    """Numbers that Non_local of mangye16/Cross-Modal-Re-ID-baseline at e817a26 gave for these parameters and maps."""
    block = NonLocal(8, hidden_features=1).double()
    parts = (block.theta.weight, block.theta.bias, block.phi.weight, block.phi.bias, block.g.weight, block.g.bias)
    with torch.no_grad():
        for start, part in enumerate((*parts, block.expand.weight, block.norm.weight, block.norm.bias)):
            assert part is not None
            part.copy_(waves(*part.shape, start=start))
    maps = waves(3, 8, 4, 2, start=0.5).requires_grad_()
    outputs = block(maps)
    found = outputs.detach().flatten()[[0, 50, 150]].tolist()
    assert found == pytest.approx([1.3406980717005657, 1.9916036455349349, -0.2581932840477501], rel=1e-12)
    (gradient,) = torch.autograd.grad(outputs.pow(3).sum(), maps)
    assert float(outputs.detach().pow(3).sum()) == pytest.approx(77.58908795664622, rel=1e-12)
    assert float(gradient.square().sum()) == pytest.approx(1063108.3501762138, rel=1e-12)

"""What the tests of the center losses share: ragged batches, and comparisons with a plain loop and published code."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from batches import make_batch
from modinv import Batch
from published import published

__all__ = ["assert_like_published", "assert_like_the_loop", "every_batch", "mean", "norm", "value_and_gradient"]

BATCHES: dict[str, Batch] = {
    "ordinary": make_batch((9, 7), dimension=12, identities=3, seed=5),
    "more rows than features": make_batch((40, 30), dimension=6, identities=5, seed=5),
    "three modalities": make_batch((6, 9, 7), dimension=12, identities=3, seed=5),
    "four modalities": make_batch((6, 9, 7, 8), dimension=12, identities=3, seed=5),
    "cells missing": make_batch((9, 3, 4, 2), dimension=12, identities=8, seed=5),
    "one modality": make_batch((9, 0), dimension=12, identities=3, seed=5),
    "one identity": make_batch((5, 4), dimension=12, identities=1, seed=5),
    "one image per cell": Batch(make_batch((8, 0)).features, torch.arange(8) % 4, torch.arange(8) // 4),
}
every_batch = pytest.mark.parametrize("batch", BATCHES.values(), ids=BATCHES.keys())


def value_and_gradient(loss: Callable[..., Tensor], batch: Batch) -> tuple[Tensor, Tensor]:
    """Return the value and the gradient, zero where the value does not depend on the features."""
    features = batch.features.detach().clone().requires_grad_()
    value = loss(features, *batch[1:])
    if not value.requires_grad:
        return value, torch.zeros_like(features)
    return value.detach(), torch.autograd.grad(value, features)[0]


def assert_like_the_loop(loss: nn.Module, oracle: Callable[..., Tensor], batch: Batch) -> None:
    """Check the value and the gradient against a plain loop."""
    value, gradient = value_and_gradient(loss, batch)
    expected, expected_gradient = value_and_gradient(oracle, batch)
    torch.testing.assert_close(value, expected.to(value.dtype), rtol=1e-11, atol=1e-11)
    torch.testing.assert_close(gradient, expected_gradient, rtol=1e-9, atol=1e-9)


def assert_like_published(name: str, answer: str, loss: Callable[..., Tensor], *blocks: int) -> None:
    """Check value and gradient against published code, whose batch is of equal blocks of these modalities.

    Each block holds the same identities in the same order, and as many rows of each.
    """
    record = published(name)
    drawn, answers = record["input"], record["answers"][answer]
    torch.manual_seed(drawn["seed"])
    shape = drawn["rows"], drawn["dimension"]
    features = drawn["scale"] * torch.randn(shape, dtype=torch.float64)
    direction = torch.randn(shape, dtype=torch.float64)
    each = drawn["rows"] // len(blocks)
    labels = (torch.arange(each) // (each // drawn["identities"])).repeat(len(blocks))
    modalities = torch.tensor(blocks).repeat_interleave(each)
    value, gradient = value_and_gradient(loss, Batch(features, labels, modalities))
    torch.testing.assert_close(float(value), answers["value"], rtol=1e-13, atol=0)
    torch.testing.assert_close(float((gradient * direction).sum()), answers["slope"], rtol=1e-12, atol=0)


def mean(values: list[Tensor]) -> Tensor:
    """Return the mean, or 0 of nothing."""
    return torch.stack(values).mean() if values else torch.zeros((), dtype=torch.float64)


def norm(difference: Tensor) -> Tensor:
    """Return the length, with a gradient of zero at zero."""
    return difference.norm() if difference.any() else 0 * difference.sum()

"""What the tests of a loss against its plain loop share: ragged batches, and the comparison."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from batches import make_batch
from modinv import Batch

__all__ = ["assert_agrees", "every_batch", "mean"]

BATCHES = {
    "ordinary": make_batch((9, 7), dimension=12, identities=3, seed=5),
    "more rows than features": make_batch((16, 13), dimension=6, identities=5, seed=5),
    "three modalities": make_batch((6, 9, 7), dimension=12, identities=3, seed=5),
    "identities missing from a modality": make_batch((9, 3), dimension=12, identities=8, seed=5),
    "one modality": make_batch((9, 0), dimension=12, identities=3, seed=5),
    "one identity": make_batch((5, 4), dimension=12, identities=1, seed=5),
}
every_batch = pytest.mark.parametrize("batch", BATCHES.values(), ids=BATCHES.keys())


def assert_agrees(loss: Callable[..., Tensor], oracle: Callable[[Batch], Tensor], batch: Batch) -> None:
    """Check value and gradient of a loss against those of a plain loop."""
    batch = Batch(batch.features.clone().requires_grad_(), *batch[1:])
    value, expected = loss(*batch), oracle(batch)
    torch.testing.assert_close(value, expected.to(value.dtype), rtol=1e-11, atol=1e-12)
    (gradient,) = torch.autograd.grad(value, batch.features)
    if expected.requires_grad:
        (expected_gradient,) = torch.autograd.grad(expected, batch.features)
        torch.testing.assert_close(gradient, expected_gradient, rtol=1e-9, atol=1e-11)
    else:
        assert not gradient.any()


def mean(values: list[Tensor]) -> Tensor:
    """Return the mean of a list, 0 if it is empty."""
    return torch.stack(values).mean() if values else torch.zeros(())

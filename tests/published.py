"""Golden numbers of published code, kept as data in ``losses/published``: what it answered at a commit.

That code is run outside of this repository. Each file names repository, commit and place, and says how the input is
drawn; :func:`cases` draws it.
"""

import json
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from modinv import Batch

__all__ = ["Case", "assert_reproduced", "cases", "published"]

FOLDER = Path(__file__).parent / "losses" / "published"


class Case(NamedTuple):
    """One batch in the published layout, and the answer of the published code."""

    options: dict[str, Any]  # of our loss, for the same formula
    batch: Batch
    direction: Tensor  # (N, D)
    value: float
    slope: float  # sum(gradient * direction)


def published(name: str) -> Any:
    """Return what ``losses/published/NAME.json`` holds."""
    return json.loads((FOLDER / f"{name}.json").read_text())


def cases(name: str) -> list[Case]:
    """Draw the inputs of ``losses/published/NAME.json`` as its field ``input`` says."""
    return [_case(case) for case in published(name)["cases"]]


def _case(case: dict[str, Any]) -> Case:
    generator = torch.Generator().manual_seed(case["seed"])
    half = case["identities"] * case["images"]
    features, direction = (
        torch.randn(2 * half, case["dimension"], generator=generator, dtype=torch.float64) for _ in range(2)
    )
    labels = torch.arange(case["identities"]).repeat_interleave(case["images"]).repeat(2)
    batch = Batch(case["scale"] * features, labels, torch.arange(2).repeat_interleave(half))
    return Case(case["options"], batch, direction, case["value"], case["slope"])


def assert_reproduced(loss: Any, case: Case, *, rtol: float) -> None:
    """Check the value, and the derivative in the direction, of a loss against those of the published code."""
    features = case.batch.features.clone().requires_grad_()
    value = loss(features, *case.batch[1:])
    (gradient,) = torch.autograd.grad(value, features)
    slope = (gradient * case.direction).sum()
    torch.testing.assert_close(value.detach(), torch.tensor(case.value, dtype=value.dtype), rtol=rtol, atol=0)
    scale = float(gradient.norm() * case.direction.norm())
    torch.testing.assert_close(slope, torch.tensor(case.slope, dtype=slope.dtype), rtol=0, atol=rtol * scale)

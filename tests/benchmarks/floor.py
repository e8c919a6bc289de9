"""How far from the least work that any such loss does: the two matrix products X X^T and H X."""

from collections.abc import Callable
from typing import NamedTuple

import torch

from benchmarks.inputs import DIVERGENCES, batch_of, gaussian
from benchmarks.page import Goal, Section, chapter, explained, milliseconds, number, table, verdict
from benchmarks.timing import Effort, best_times, compiled, forward_backward, threads

__all__ = ["SECTION", "Factor"]

SIZES = ((32, 512), (32, 2048), (64, 2048))
# The largest factor, asked for at 64 rows per modality and D = 2048.
TARGETS = {"moments": 2.5, "wasserstein": 2.5, "kl": 3.5, "jeffreys": 3.5}
_REASON = "the N x N algebra in float64 (a decomposition or an inverse) and the fixed price of its calls."


class Factor(NamedTuple):
    """One loss against the two products; times in seconds."""

    divergence: str
    rows: int  # of each modality
    dimension: int
    floor: float
    eager: float
    compiled: float
    any_size: float  # compiled for every size at once


def measure(effort: Effort) -> list[Factor]:
    """Time the losses and the two products in turns, on one thread."""
    torch.compiler.reset()
    with threads(1):
        return [factor for rows, dimension in SIZES for factor in _measure_one(effort, rows, dimension)]


def _measure_one(effort: Effort, rows: int, dimension: int) -> list[Factor]:
    batch = batch_of(rows, dimension)
    weights = torch.randn(2 * rows, 2 * rows)

    def products() -> None:
        batch.features @ batch.features.T
        weights @ batch.features

    calls: dict[str, Callable[[], object]] = {"floor": products}
    for name in DIVERGENCES:
        loss = gaussian(name)
        calls[f"{name}, eager"] = forward_backward(loss, batch)
        calls[f"{name}, compiled"] = compiled(loss, batch)
        calls[f"{name}, any size"] = compiled(loss, batch, any_size=True)
    floor, *times = (found.seconds for found in best_times(calls, effort).values())
    return [Factor(name, rows, dimension, floor, *times[3 * i : 3 * i + 3]) for i, name in enumerate(DIVERGENCES)]


def _target(factor: Factor) -> float | None:
    return TARGETS[factor.divergence] if (factor.rows, factor.dimension) == SIZES[-1] else None


def write(factors: list[Factor]) -> str:
    """Return the table of the factors."""
    rows = [
        (
            f"`{factor.divergence}`",
            *(str(factor.rows), str(factor.dimension)),
            *(milliseconds(seconds) for seconds in (factor.floor, factor.eager, factor.compiled, factor.any_size)),
            f"**{number(factor.eager / factor.floor)}**",
            f"**{number(factor.compiled / factor.floor)}**",
            verdict(factor.eager / factor.floor, most=_target(factor)),
        )
        for factor in factors
    ]
    columns = (
        *("divergence", "n per modality", "D", "two products, ms", "loss, ms", "compiled, ms"),
        "compiled for any size, ms",
        *("times the floor", "compiled", "target (eager)"),
    )
    text = """
        The floor is two products of float32 matrices, X Xᵀ forward and H X backward with H of size N x N; no loss
        that reads the Gram matrix can do less. One thread. The factor shrinks as D grows. *Compiled for
        any size* is `dynamic=True`, what torch falls back to when the number of rows changes.
    """
    return chapter(SECTION.title, text, explained(table(columns, rows), _REASON))


def goals(factors: list[Factor]) -> list[Goal]:
    """Return the targets."""
    return [
        Goal(
            f"`{factor.divergence}`, {factor.rows} rows per modality, D = {factor.dimension}: times the two products",
            factor.eager / factor.floor,
            factor.compiled / factor.floor,
            most=target,
        )
        for factor in factors
        if (target := _target(factor))
    ]


SECTION = Section("Against the floor", Factor, measure, write, goals, _REASON)

"""How far from the least work that any such loss does: the two matrix products X X^T and H X."""

from typing import NamedTuple

import torch

from benchmarks.inputs import DIVERGENCES, batch_of, gaussian
from benchmarks.page import chapter, explained, number, table, verdict
from benchmarks.timing import Effort, best_times, forward_backward, threads

__all__ = ["Factor", "measure", "section"]

SIZES = ((32, 512), (64, 512), (32, 2048), (64, 2048))
# The largest factor, asked for at 64 rows per modality and D = 2048.
TARGETS = {"moments": 2.5, "wasserstein": 2.5, "kl": 3.5, "jeffreys": 3.5}
_REASON = "the N x N algebra in float64 (a decomposition or an inverse) and the fixed price of its calls."


class Factor(NamedTuple):
    """One loss against the two products."""

    divergence: str
    rows: int  # of each modality
    dimension: int
    threads: int
    floor: float  # seconds
    loss: float  # seconds


def measure(effort: Effort) -> list[Factor]:
    """Time the losses and the two products in turns."""
    return [
        factor
        for rows, dimension in SIZES
        for used in sorted({1, torch.get_num_threads()})
        for factor in _measure_one(effort, rows, dimension, used)
    ]


def _measure_one(effort: Effort, rows: int, dimension: int, used: int) -> list[Factor]:
    batch = batch_of(rows, dimension)
    weights = torch.randn(2 * rows, 2 * rows)

    def products() -> None:
        batch.features @ batch.features.T
        weights @ batch.features

    losses = {name: forward_backward(gaussian(name), batch) for name in DIVERGENCES}
    with threads(used):
        times = best_times({"floor": products, **losses}, effort)
    floor = times.pop("floor").seconds
    return [Factor(name, rows, dimension, used, floor, found.seconds) for name, found in times.items()]


def section(factors: list[Factor]) -> str:
    """Return the table of the factors."""
    rows = [
        (
            f"`{factor.divergence}`",
            *(str(factor.rows), str(factor.dimension), str(factor.threads)),
            number(1e3 * factor.floor),
            number(1e3 * factor.loss),
            f"**{number(times := factor.loss / factor.floor)}**",
            verdict(times, most=TARGETS[factor.divergence] if (factor.rows, factor.dimension) == SIZES[-1] else None),
        )
        for factor in factors
    ]
    columns = (
        "divergence",
        "n per modality",
        "D",
        "threads",
        "two products, ms",
        "loss, ms",
        "times the floor",
        "target",
    )
    text = """
        The floor is two products of float32 matrices, X Xᵀ forward and H X backward with H of size N x N; no loss
        that reads the Gram matrix can do less. The factor shrinks as D grows.
    """
    return chapter("Against the floor", text, explained(table(columns, rows), _REASON))

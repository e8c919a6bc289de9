"""Five losses from one Gram matrix, against the same five called alone."""

from typing import NamedTuple

import torch

import modinv
from benchmarks.inputs import batch_of, five_losses
from benchmarks.page import Goal, Section, chapter, explained, milliseconds, number, table, verdict
from benchmarks.timing import Effort, best_times, compiled, forward_backward, threads

__all__ = ["SECTION", "Sharing"]

SIZES = ((32, 512), (64, 2048))
_TARGET = 2.5
_REASON = (
    "the losses share the Gram matrix, the masks and the backward product; their own N x N algebra and its calls "
    "are not shared, and outweigh the products where D is small."
)


class Sharing(NamedTuple):
    """The sum of five losses, and the five alone; times in seconds."""

    rows: int  # of each modality
    dimension: int
    shared: float
    alone: float
    shared_compiled: float
    alone_compiled: float


def measure(effort: Effort) -> list[Sharing]:
    """Time the weighted sum against its members called one after another, each with its own backward pass."""
    torch.compiler.reset()
    with threads(1):
        return [_measure_one(effort, rows, dimension) for rows, dimension in SIZES]


def _measure_one(effort: Effort, rows: int, dimension: int) -> Sharing:
    batch, losses = batch_of(rows, dimension), five_losses()
    together = modinv.WeightedLosses({name: (1.0, loss) for name, loss in losses.items()})
    eager = [forward_backward(loss, batch) for loss in losses.values()]
    fast = [compiled(loss, batch) for loss in losses.values()]
    candidates = {
        "shared": forward_backward(together, batch),
        "alone": lambda: [call() for call in eager],
        "shared, compiled": compiled(together, batch),
        "alone, compiled": lambda: [call() for call in fast],
    }
    times = best_times(candidates, effort)
    return Sharing(rows, dimension, *(found.seconds for found in times.values()))


def write(results: list[Sharing]) -> str:
    """Return the table."""
    rows = [
        (
            *(str(result.rows), str(result.dimension)),
            *(milliseconds(seconds) for seconds in (result.shared, result.alone)),
            f"**{number(times := result.alone / result.shared)}**",
            verdict(times, least=_TARGET),
            *(milliseconds(seconds) for seconds in (result.shared_compiled, result.alone_compiled)),
            f"**{number(result.alone_compiled / result.shared_compiled)}**",
            f"**{number(result.alone / result.shared_compiled)}**",
        )
        for result in results
    ]
    columns = (
        *("n per modality", "D", "one sum, ms", "five alone, ms", "times faster", "target (eager)"),
        *("one sum compiled, ms", "five alone compiled, ms", "times faster", "compiled sum against eager five"),
    )
    names = ", ".join(f"`{type(loss).__name__}`" for loss in five_losses().values())
    text = f"""
        `WeightedLosses` of {names} (the first with the Wasserstein distance, the second with moments), against the
        same five called alone, each with its own backward pass. One thread.
    """
    return chapter(SECTION.title, text, explained(table(columns, rows), _REASON))


def goals(results: list[Sharing]) -> list[Goal]:
    """Return the target at each size."""
    return [
        Goal(
            f"five losses, {result.rows} rows per modality, D = {result.dimension}: times faster in one sum",
            result.alone / result.shared,
            result.alone_compiled / result.shared_compiled,
            least=_TARGET,
        )
        for result in results
    ]


SECTION = Section("Five losses from one Gram matrix", Sharing, measure, write, goals, _REASON)

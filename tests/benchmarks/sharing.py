"""Five losses from one Gram matrix, against the same five called alone."""

from collections.abc import Callable
from typing import NamedTuple

import torch

import modinv
from benchmarks.inputs import batch_of, five_losses
from benchmarks.page import chapter, explained, number, table, verdict
from benchmarks.timing import Effort, best_times, forward_backward, threads

__all__ = ["Sharing", "measure", "section"]

SIZES = ((16, 512), (32, 512), (32, 2048), (64, 2048))
_TARGET = 2.5
_REASON = (
    "the losses share the Gram matrix, the masks and the backward product; their own N x N algebra and its calls (last "
    "column) are not shared, and outweigh the products where D is small."
)


class Sharing(NamedTuple):
    """The sum of five losses, in two ways."""

    rows: int  # of each modality
    dimension: int
    threads: int
    shared: float  # seconds
    alone: float  # seconds
    calls: tuple[int, int]  # of the backend: shared, alone


def measure(effort: Effort, count_calls: Callable[..., int]) -> list[Sharing]:
    """Time the weighted sum against its members called one after another, each with its own backward pass."""
    return [
        _measure_one(effort, count_calls, rows, dimension, used)
        for rows, dimension in SIZES
        for used in sorted({1, torch.get_num_threads()})
    ]


def _measure_one(effort: Effort, count_calls: Callable[..., int], rows: int, dimension: int, used: int) -> Sharing:
    batch, losses = batch_of(rows, dimension), five_losses()
    together = modinv.WeightedLosses({name: (1.0, loss) for name, loss in losses.items()})
    each = [forward_backward(loss, batch) for loss in losses.values()]
    candidates = {"shared": forward_backward(together, batch), "alone": lambda: [call() for call in each]}
    with threads(used):
        times = best_times(candidates, effort)
    counts = count_calls(together, batch), sum(count_calls(loss, batch) for loss in losses.values())
    return Sharing(rows, dimension, used, times["shared"].seconds, times["alone"].seconds, counts)


def section(results: list[Sharing]) -> str:
    """Return the table."""
    rows = [
        (
            *(str(result.rows), str(result.dimension), str(result.threads)),
            number(1e3 * result.shared),
            number(1e3 * result.alone),
            f"**{number(times := result.alone / result.shared)}**",
            verdict(times, least=_TARGET),
            f"{result.calls[0]} / {result.calls[1]}",
        )
        for result in results
    ]
    columns = (
        *("n per modality", "D", "threads", "one sum, ms", "five losses alone, ms", "times faster", "target"),
        "backend calls, sum / alone",
    )
    names = ", ".join(f"`{type(loss).__name__}`" for loss in five_losses().values())
    text = f"""
        `WeightedLosses` of {names} (the first with the Wasserstein distance, the second with moments), against the
        same five called alone, each with its own backward pass.
    """
    return chapter("Five losses from one Gram matrix", text, explained(table(columns, rows), _REASON))

"""How much memory a loss takes beyond its features, as the profiler of torch sees it."""

from collections.abc import Callable
from itertools import accumulate
from typing import NamedTuple

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from benchmarks.competitors import COMPETITORS, on_batch
from benchmarks.inputs import DIVERGENCES, batch_of, gaussian
from benchmarks.page import Goal, Section, chapter, number, table
from benchmarks.timing import Effort, Pass, compiled, forward_backward

__all__ = ["SECTION", "Memory"]

ROWS = 32
DIMENSIONS = (256, 512, 2048)


class Memory(NamedTuple):
    """The allocations of one forward and one backward pass, in bytes."""

    name: str
    dimension: int
    features: int
    largest: int
    peak: int  # of what is alive at once
    total: int  # of all allocations
    peak_compiled: int | None  # of ours


def measure(effort: Effort) -> list[Memory]:
    """Profile the losses and their competitors; there is no noise in a count of bytes."""
    torch.compiler.reset()
    ours: dict[str, Callable[..., Tensor]] = {f"`{name}`": gaussian(name) for name in DIVERGENCES}
    theirs: dict[str, Callable[..., Tensor]] = {
        f"{divergence}: {name}": on_batch(competitor)
        for divergence, competitors in COMPETITORS.items()
        for name, competitor in competitors.items()
    }
    return [
        _measure_one(name, loss, dimension, ours=name in ours)
        for dimension in DIMENSIONS
        for name, loss in {**ours, **theirs}.items()
    ]


def _measure_one(name: str, loss: Callable[..., Tensor], dimension: int, *, ours: bool) -> Memory:
    batch = batch_of(ROWS, dimension)
    sizes = _moves(forward_backward(loss, batch))
    fast = max(accumulate(_moves(compiled(loss, batch)))) if ours else None
    taken = [size for size in sizes if size > 0]
    return Memory(name, dimension, batch.features.nbytes, max(taken), max(accumulate(sizes)), sum(taken), fast)


def _moves(call: Callable[[], Pass]) -> list[int]:
    """Return the bytes that are taken and given back, in order."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        call()
    events = profiler.profiler.kineto_results.events()
    return [size for _, size in sorted((event.start_ns(), event.nbytes()) for event in events if event.nbytes())]


def write(results: list[Memory]) -> str:
    """Return the table of bytes over the size of the features."""
    rows = [
        (
            result.name,
            str(result.dimension),
            number(result.features / 2**20),
            *(number(size / 2**20) for size in (result.largest, result.peak, result.total)),
            f"**{number(result.peak / result.features)}**",
            f"**{number(result.peak_compiled / result.features)}**" if result.peak_compiled else "–",
        )
        for result in results
    ]
    columns = (
        *("loss", "D", "features, MiB", "largest tensor, MiB", "peak, MiB", "all temporaries, MiB"),
        *("peak over features", "compiled"),
    )
    text = f"""
        {ROWS} rows per modality; the allocations of one forward and backward pass, the gradient included, by
        `torch.profiler`. Buffers inside the BLAS are not seen by it. No tensor of ours has D² or N² D elements while
        there are fewer rows than dimensions: `tests/test_cost.py` holds that.
    """
    return chapter(SECTION.title, text, table(columns, rows))


def goals(results: list[Memory]) -> list[Goal]:
    """Return none: what is promised is a test."""
    return []


SECTION = Section("Memory", Memory, measure, write, goals, "")

"""How much memory a loss takes beyond its features, as the profiler of torch sees it."""

from collections.abc import Callable
from itertools import accumulate
from typing import NamedTuple

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from benchmarks.competitors import COMPETITORS, on_batch
from benchmarks.inputs import DIVERGENCES, batch_of, gaussian
from benchmarks.page import chapter, number, table

__all__ = ["Memory", "measure", "section"]

ROWS = 32


class Memory(NamedTuple):
    """The allocations of one forward and one backward pass, in bytes."""

    name: str
    dimension: int
    features: int
    largest: int
    peak: int  # of what is alive at once
    total: int  # of all allocations


def measure(dimensions: tuple[int, ...]) -> list[Memory]:
    """Profile the losses and their competitors; there is no noise in a count of bytes."""
    losses: dict[str, Callable[..., Tensor]] = {f"`{name}`": gaussian(name) for name in DIVERGENCES}
    for divergence, competitors in COMPETITORS.items():
        losses |= {f"{divergence}: {name}": on_batch(competitor) for name, competitor in competitors.items()}
    return [_measure_one(name, loss, dimension) for dimension in dimensions for name, loss in losses.items()]


def _measure_one(name: str, loss: Callable[..., Tensor], dimension: int) -> Memory:
    batch = batch_of(ROWS, dimension)
    features = batch.features.requires_grad_()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        torch.autograd.grad(loss(features, batch.labels, batch.modalities), features)
    events = profiler.profiler.kineto_results.events()
    moves = sorted((event.start_ns(), event.nbytes()) for event in events if event.name() == "[memory]")
    sizes = [size for _, size in moves]
    taken = [size for size in sizes if size > 0]
    return Memory(name, dimension, features.nbytes, max(taken), max(accumulate(sizes)), sum(taken))


def section(results: list[Memory]) -> str:
    """Return the table of bytes over the size of the features."""
    rows = [
        (
            result.name,
            str(result.dimension),
            number(result.features / 2**20),
            *(number(size / 2**20) for size in (result.largest, result.peak, result.total)),
            f"**{number(result.peak / result.features)}**",
        )
        for result in results
    ]
    columns = (
        *("loss", "D", "features, MiB", "largest tensor, MiB", "peak, MiB", "all temporaries, MiB"),
        "peak over features",
    )
    text = f"""
        {ROWS} rows per modality; the allocations of one forward and backward pass, the gradient included, by
        `torch.profiler`. Buffers inside the BLAS are not seen by it. No tensor of ours has D² or N² D elements while
        there are fewer rows than dimensions: `tests/test_cost.py` holds that.
    """
    return chapter("Memory", text, table(columns, rows))

"""How many times faster than the field's losses in their published structure, loops over rows or identities."""

from typing import NamedTuple

import torch
from torch import nn

import modinv
from benchmarks.inputs import in_streams
from benchmarks.loops import LOOPS, Shape
from benchmarks.page import Goal, Section, chapter, explained, milliseconds, number, table, verdict
from benchmarks.timing import Effort, best_times, compiled, forward_backward, threads

__all__ = ["SECTION", "Published"]

SIZES = (Shape(8, 4), Shape(16, 8))
DIMENSIONS = (512, 2048)
# The least ratio by P and D; everywhere else 1: never slower.
TARGETS: dict[str, dict[tuple[int, int], float]] = {
    "hetero-center triplet": {(8, 512): 5, (8, 2048): 3, (16, 2048): 2},
    "batch-hard triplet": dict.fromkeys(((8, 512), (8, 2048), (16, 512), (16, 2048)), 5),
    "center cluster": dict.fromkeys(((8, 512), (8, 2048), (16, 512), (16, 2048)), 3),
    "center-guided pair mining": dict.fromkeys(((8, 512), (8, 2048), (16, 512), (16, 2048)), 2),
    "maximum mean discrepancy": {(8, 512): 15, (8, 2048): 40, (16, 512): 100, (16, 2048): 100},
    "maximum mean discrepancy per identity": dict.fromkeys(((8, 512), (8, 2048), (16, 512), (16, 2048)), 2.5),
}
_REASON = (
    "where P is small there are few loops to save, and our fixed price is that of any order and any counts. An eager "
    "loss of centers reads the labels where that is free and makes each center once. A compiled one makes them for all "
    "N rows, with masks of N x N, which torch 2.13 compiles to slow code on a CPU. Leave it eager there for many rows."
)


class Published(NamedTuple):
    """One loss against its plain loop; times in seconds."""

    loss: str
    identities: int
    images: int
    dimension: int
    eager: float
    compiled: float
    theirs: float
    value_error: float
    gradient_error: float


def losses() -> dict[str, nn.Module]:
    """Return the library's losses by the name of their loop, with the same options."""
    return {
        "hetero-center triplet": modinv.HeteroCenterTripletLoss(),
        "batch-hard triplet": modinv.BatchHardTripletLoss(),
        "center cluster": modinv.CenterClusterLoss(),
        "center-guided pair mining": modinv.CenterGuidedPairMiningLoss(),
        "maximum mean discrepancy": modinv.MaximumMeanDiscrepancyLoss(),
        "maximum mean discrepancy per identity": modinv.MaximumMeanDiscrepancyLoss(level="identity"),
    }


def measure(effort: Effort) -> list[Published]:
    """Time each loss against its loop on one thread."""
    results = []
    for name, loss in losses().items():
        torch.compiler.reset()
        with threads(1):
            results += [_measure_one(effort, name, loss, shape, size) for shape in SIZES for size in DIMENSIONS]
    return results


def _measure_one(effort: Effort, name: str, loss: nn.Module, shape: Shape, dimension: int) -> Published:
    batch = in_streams(*shape, dimension, streams=4 if name == "center-guided pair mining" else 2)
    ours = forward_backward(loss, batch)
    theirs = forward_backward(lambda features, labels, _: LOOPS[name](features, labels, shape), batch)
    times = best_times({"eager": ours, "compiled": compiled(loss, batch), "theirs": theirs}, effort)
    pairs = zip(theirs(), ours(), strict=True)
    errors = (float((their - our).norm() / our.norm()) for their, our in pairs)
    return Published(name, *shape, dimension, *(found.seconds for found in times.values()), *errors)


def _target(result: Published) -> float:
    return TARGETS[result.loss].get((result.identities, result.dimension), 1)


def write(results: list[Published]) -> str:
    """Return the table of all ratios."""
    rows = [
        (
            result.loss,
            *(f"{result.identities} x {result.images}", str(result.dimension)),
            *(milliseconds(seconds) for seconds in (result.eager, result.compiled, result.theirs)),
            f"**{number(result.theirs / result.eager)}**",
            f"**{number(result.theirs / result.compiled)}**",
            verdict(result.theirs / result.eager, least=_target(result)),
            *(f"{error:.0e}" for error in (result.value_error, result.gradient_error)),
        )
        for result in results
    ]
    columns = (
        *("loss", "P x K", "D", "ours, ms", "compiled, ms", "loop, ms"),
        *("times faster", "compiled", "target (eager)", "values differ by", "gradients differ by"),
    )
    text = """
        P identities with K rows in each of two modalities (pair mining: in each of four streams), one thread, eager
        loops. The loops are our own, in `tests/benchmarks/loops.py`, written with the structure of the code that is
        published: loops over rows or identities, indices by masks, for the global discrepancy an N x N x D tensor.
        They need that layout; ours takes any order and any counts. Where no other target was set it is 1: not slower.
    """
    return chapter(SECTION.title, text, explained(table(columns, rows), _REASON))


def goals(results: list[Published]) -> list[Goal]:
    """Return the targets."""
    return [
        Goal(
            f"{result.loss}, P = {result.identities}, D = {result.dimension}: times faster than the loop",
            result.theirs / result.eager,
            result.theirs / result.compiled,
            least=_target(result),
        )
        for result in results
    ]


SECTION = Section("Against the field's loops", Published, measure, write, goals, _REASON)

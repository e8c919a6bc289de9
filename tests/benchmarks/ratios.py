"""How many times faster than what a user would pick today."""

from typing import NamedTuple

import torch

from benchmarks.competitors import COMPETITORS, on_batch
from benchmarks.inputs import batch_of, gaussian
from benchmarks.page import chapter, explained, number, table, verdict
from benchmarks.timing import Effort, Pass, Time, best_times, forward_backward, threads

__all__ = ["Ratio", "measure", "section"]

ROWS = 32
# The least ratio by the dimension, for each divergence.
TARGETS: dict[str, dict[int, float]] = {
    "wasserstein": {256: 15, 512: 60, 2048: 1000},
    "jeffreys": {256: 10, 512: 30, 2048: 1000},
    "kl": {256: 3, 512: 14, 2048: 500},
    "moments": {256: 1.2, 512: 3, 2048: 25},
}
_REASON = (
    "our time hardly depends on D up to some hundred dimensions, being the fixed price of the calls below and of the "
    "N x N algebra in float64; a smaller D makes the competitor faster and not us."
)


class Ratio(NamedTuple):
    """One competitor against the library."""

    divergence: str
    competitor: str
    dimension: int
    threads: int
    ours: Time
    theirs: Time
    value_error: float  # |their value - our value| / |our value|
    gradient_error: float  # |their gradient - our gradient| / |our gradient|


def measure(effort: Effort, dimensions: tuple[int, ...]) -> list[Ratio]:
    """Time each divergence against its competitors, on one thread and on all of them."""
    numbers = sorted({1, torch.get_num_threads()})
    return [
        ratio
        for dimension in dimensions
        for used in numbers
        for divergence in TARGETS
        for ratio in _measure_one(effort, divergence, dimension, used)
    ]


def _measure_one(effort: Effort, divergence: str, dimension: int, used: int) -> list[Ratio]:
    batch = batch_of(ROWS, dimension)
    ours = forward_backward(gaussian(divergence), batch)
    competitors = COMPETITORS[divergence].items()
    calls = {name: forward_backward(on_batch(competitor), batch) for name, competitor in competitors}
    with threads(used):
        times = best_times({"ours": ours, **calls}, effort)
        return [
            Ratio(
                *(divergence, name, dimension, used, times["ours"], times[name]),
                *_errors(ours(), calls[name](), dimension),
            )
            for name in calls
        ]


def _errors(ours: Pass, theirs: Pass, dimension: int) -> tuple[float, float]:
    """Say how far the competitor is from computing the same; our value is divided by D."""
    pairs = zip(theirs, ours, strict=True)
    value, gradient = (float((their - dimension * our).norm() / (dimension * our).norm()) for their, our in pairs)
    return value, gradient


def section(ratios: list[Ratio]) -> str:
    """Return the tables of all ratios."""
    rows = [
        (
            f"`{ratio.divergence}`: {ratio.competitor}",
            *(str(ratio.dimension), str(ratio.threads)),
            number(1e3 * ratio.ours.seconds),
            number(1e3 * ratio.theirs.seconds),
            f"{ratio.theirs.calls}",
            f"**{number(times := ratio.theirs.seconds / ratio.ours.seconds)}**",
            verdict(times, least=TARGETS[ratio.divergence].get(ratio.dimension)),
            *(f"{error:.0e}" for error in (ratio.value_error, ratio.gradient_error)),
        )
        for ratio in sorted(ratios, key=lambda ratio: list(TARGETS).index(ratio.divergence))
    ]
    columns = (
        *("competitor", "D", "threads", "ours, ms", "theirs, ms", "their calls", "times faster", "target"),
        *("values differ by", "gradients differ by"),
    )
    text = f"""
        Full covariance, {ROWS} rows in each of two modalities, forward and backward on the same batch. Wasserstein
        and moments on raw covariances, Jeffreys and KL with shrinkage 0.1 on both sides. *Their calls* is how many
        calls their best time is the best of: a call that takes seconds is made a few times only, and takes turns with
        ours. The last two columns show that both compute the same quantity: relative errors of value and gradient
        against ours, which the tests hold against float64 and 50-digit references. Raw covariances of few rows are
        singular, and there a float32 D x D form loses digits of the gradient, at 1 all of them.
    """
    return chapter("Against what a user would pick today", text, explained(table(columns, rows), _REASON))

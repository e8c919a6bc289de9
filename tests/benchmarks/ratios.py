"""How many times faster than what a user would pick today for two Gaussians."""

from collections.abc import Iterable
from typing import NamedTuple

import torch

from benchmarks.competitors import COMPETITORS, on_batch
from benchmarks.inputs import batch_of, gaussian
from benchmarks.page import Goal, Section, chapter, explained, milliseconds, number, table, verdict
from benchmarks.timing import Effort, Pass, best_times, compiled, forward_backward, threads

__all__ = ["SECTION", "Ratio"]

ROWS = 32
DIMENSIONS = (256, 512, 2048)
# The least ratio by the dimension, for each divergence.
TARGETS: dict[str, dict[int, float]] = {
    "wasserstein": {256: 15, 512: 60, 2048: 1000},
    "jeffreys": {256: 10, 512: 30, 2048: 1000},
    "kl": {256: 3, 512: 14, 2048: 500},
    "moments": {256: 1.2, 512: 3, 2048: 25},
}
_REASON = (
    "our time hardly depends on D up to some hundred dimensions, being the fixed price of the calls and of the "
    "N x N algebra in float64; a smaller D makes the competitor faster and not us. A second thread helps a D x D "
    "decomposition and not us."
)


class Ratio(NamedTuple):
    """One competitor against the library; times in seconds."""

    divergence: str
    competitor: str
    dimension: int
    threads: int
    eager: float
    compiled: float | None  # on one thread only
    theirs: float
    their_calls: int  # that their time is the best of
    value_error: float  # |their value - our value| / |our value|
    gradient_error: float  # |their gradient - our gradient| / |our gradient|


def measure(effort: Effort) -> list[Ratio]:
    """Time each divergence against its competitors, on one thread and on all of them."""
    torch.compiler.reset()
    return [
        ratio
        for dimension in DIMENSIONS
        for used in sorted({1, torch.get_num_threads()})
        for divergence in TARGETS
        for ratio in _measure_one(effort, divergence, dimension, used)
    ]


def _measure_one(effort: Effort, divergence: str, dimension: int, used: int) -> list[Ratio]:
    batch, loss = batch_of(ROWS, dimension), gaussian(divergence)
    competitors = COMPETITORS[divergence].items()
    calls = {name: forward_backward(on_batch(competitor), batch) for name, competitor in competitors}
    ours = forward_backward(loss, batch)
    with threads(used):
        own = {"ours": ours} | ({"compiled": compiled(loss, batch)} if used == 1 else {})
        times = best_times({**own, **calls}, effort)
        fast = times["compiled"].seconds if used == 1 else None
        return [
            Ratio(
                *(divergence, name, dimension, used, times["ours"].seconds, fast, *times[name]),
                *_errors(ours(), calls[name](), dimension),
            )
            for name in calls
        ]


def _errors(ours: Pass, theirs: Pass, dimension: int) -> tuple[float, float]:
    """Say how far the competitor is from computing the same; our value is divided by D."""
    pairs = zip(theirs, ours, strict=True)
    value, gradient = (float((their - dimension * our).norm() / (dimension * our).norm()) for their, our in pairs)
    return value, gradient


def _times_faster(ratio: Ratio, ours: float | None) -> str:
    return "–" if ours is None else number(ratio.theirs / ours)


def write(ratios: list[Ratio]) -> str:
    """Return the table of all ratios."""
    rows = [
        (
            f"`{ratio.divergence}`: {ratio.competitor}",
            *(str(ratio.dimension), str(ratio.threads)),
            *(milliseconds(seconds) for seconds in (ratio.eager, ratio.compiled, ratio.theirs)),
            f"{ratio.their_calls}",
            f"**{_times_faster(ratio, ratio.eager)}**",
            f"**{_times_faster(ratio, ratio.compiled)}**",
            verdict(ratio.theirs / ratio.eager, least=TARGETS[ratio.divergence][ratio.dimension]),
            *(f"{error:.0e}" for error in (ratio.value_error, ratio.gradient_error)),
        )
        for ratio in sorted(ratios, key=lambda one: (list(TARGETS).index(one.divergence), one.dimension, one.threads))
    ]
    columns = (
        *("competitor", "D", "threads", "ours, ms", "compiled, ms", "theirs, ms", "their calls"),
        *("times faster", "compiled", "target (eager)", "values differ by", "gradients differ by"),
    )
    text = f"""
        Full covariance, {ROWS} rows in each of two modalities, forward and backward on the same batch. Wasserstein
        and moments on raw covariances, Jeffreys and KL with shrinkage 0.1 on both sides. *Their calls* is how many
        calls their best time is the best of: a call that takes seconds is made a few times only, and takes turns with
        ours. The last two columns show that both compute the same quantity: relative errors of value and gradient
        against ours, which the tests hold against float64 and 50-digit references. Raw covariances of few rows are
        singular, and there a float32 D x D form loses digits of the gradient, at 1 all of them.
    """
    return chapter(SECTION.title, text, explained(table(columns, rows), _REASON))


def _worst(ratios: Iterable[Ratio]) -> tuple[float, float | None]:
    """Return the least ratio, eager and compiled."""
    found = list(ratios)
    fast = [ratio.theirs / ratio.compiled for ratio in found if ratio.compiled]
    return min(ratio.theirs / ratio.eager for ratio in found), min(fast, default=None)


def goals(ratios: list[Ratio]) -> list[Goal]:
    """Return the targets, with the worst over competitors and threads."""
    return [
        Goal(
            f"`{divergence}`, D = {dimension}: times faster than each competitor",
            *_worst(ratio for ratio in ratios if (ratio.divergence, ratio.dimension) == (divergence, dimension)),
            least=least,
        )
        for divergence, targets in TARGETS.items()
        for dimension, least in targets.items()
    ]


SECTION = Section("Against D x D formulas for two Gaussians", Ratio, measure, write, goals, _REASON)

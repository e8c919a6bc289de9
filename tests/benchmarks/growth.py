"""How the time grows with the dimension and with the number of rows."""

from typing import NamedTuple

import numpy as np

from benchmarks.inputs import DIVERGENCES, batch_of, gaussian
from benchmarks.page import Goal, Section, chapter, explained, milliseconds, table, verdict
from benchmarks.timing import Effort, best_times, forward_backward, threads

__all__ = ["SECTION", "Growth"]

ROWS, DIMENSION = 32, 2048  # what stands still while the other grows
DIMENSIONS = (512, 1024, 2048, 4096, 8192)
ROW_COUNTS = (16, 32, 64, 128, 256)
_TARGETS = {"D": 1.1, "n": 2.1}
_REASON = (
    "the fixed price of the calls makes small sizes look slow, which flattens a curve; a steeper one is the N x N "
    "algebra in float64, whose decompositions grow with the cube of n."
)


class Growth(NamedTuple):
    """One sweep of one loss."""

    divergence: str
    along: str  # "D" or "n"
    sizes: list[int]
    seconds: list[float]


def measure(effort: Effort) -> list[Growth]:
    """Time each loss along both sweeps on one thread; the sizes of a sweep take turns as well."""
    sweeps = [("D", [(ROWS, size) for size in DIMENSIONS]), ("n", [(size, DIMENSION) for size in ROW_COUNTS])]
    with threads(1):
        return [_measure_one(effort, name, along, shapes) for along, shapes in sweeps for name in DIVERGENCES]


def _measure_one(effort: Effort, divergence: str, along: str, shapes: list[tuple[int, int]]) -> Growth:
    sizes = [shape[0 if along == "n" else 1] for shape in shapes]
    calls = {f"{shape}": forward_backward(gaussian(divergence), batch_of(*shape)) for shape in shapes}
    return Growth(divergence, along, sizes, [found.seconds for found in best_times(calls, effort).values()])


def exponent(growth: Growth) -> float:
    """Return the slope in double logarithms of a line through the upper half of the sweep."""
    upper = slice(len(growth.sizes) // 2, None)
    return float(np.polyfit(np.log(growth.sizes[upper]), np.log(growth.seconds[upper]), 1)[0])


def write(results: list[Growth]) -> str:
    """Return the two tables."""
    tables = []
    for along, sizes in (("D", DIMENSIONS), ("n", ROW_COUNTS)):
        rows = [
            (
                f"`{growth.divergence}`",
                *(milliseconds(one) for one in growth.seconds),
                f"**{exponent(growth):.2f}**",
                verdict(exponent(growth), most=_TARGETS[along]),
            )
            for growth in results
            if growth.along == along
        ]
        tables.append(table(("ms", *(f"{along} = {size}" for size in sizes), "exponent", "target"), rows))
    text = f"""
        One thread, eager; n = {ROWS} rows per modality while D grows, D = {DIMENSION} while n grows. Not compiled:
        every size is a compilation of its own. The exponent is fitted in double logarithms to the upper half of each
        sweep.
    """
    return chapter(SECTION.title, text, explained("\n\n".join(tables), _REASON))


def goals(results: list[Growth]) -> list[Goal]:
    """Return the targets."""
    return [
        Goal(
            f"`{growth.divergence}`: exponent of the time along {growth.along}",
            exponent(growth),
            None,
            most=_TARGETS[growth.along],
        )
        for growth in results
    ]


SECTION = Section("Growth", Growth, measure, write, goals, _REASON)

"""How the time grows with the dimension and with the number of rows."""

from typing import NamedTuple

import numpy as np

from benchmarks.inputs import DIVERGENCES, batch_of, gaussian
from benchmarks.page import chapter, explained, number, table, verdict
from benchmarks.timing import Effort, best_times, forward_backward, threads

__all__ = ["DIMENSION", "DIMENSIONS", "ROWS", "ROW_COUNTS", "Growth", "exponent", "measure", "section"]

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
    sizes: tuple[int, ...]
    seconds: tuple[float, ...]


def measure(effort: Effort) -> list[Growth]:
    """Time each loss along both sweeps on one thread; the sizes of a sweep take turns as well."""
    dimensions = {size: batch_of(ROWS, size) for size in DIMENSIONS}
    rows = {size: batch_of(size, DIMENSION) for size in ROW_COUNTS}
    results = []
    for along, batches in (("D", dimensions), ("n", rows)):
        for divergence in DIVERGENCES:
            calls = {str(size): forward_backward(gaussian(divergence), batch) for size, batch in batches.items()}
            with threads(1):
                times = best_times(calls, effort)
            results.append(Growth(divergence, along, tuple(batches), tuple(time.seconds for time in times.values())))
    return results


def exponent(growth: Growth) -> float:
    """Return the slope in double logarithms of a line through the upper half of the sweep."""
    upper = slice(len(growth.sizes) // 2, None)
    return float(np.polyfit(np.log(growth.sizes[upper]), np.log(growth.seconds[upper]), 1)[0])


def section(results: list[Growth]) -> str:
    """Return the tables and the plot."""
    tables = []
    for along, sizes in (("D", DIMENSIONS), ("n", ROW_COUNTS)):
        rows = [
            (
                f"`{growth.divergence}`",
                *(number(1e3 * seconds) for seconds in growth.seconds),
                f"**{exponent(growth):.2f}**",
                verdict(exponent(growth), most=_TARGETS[along]),
            )
            for growth in results
            if growth.along == along
        ]
        tables.append(table(("ms", *(f"{along} = {size}" for size in sizes), "exponent", "target"), rows))
    plot = "![Time of each divergence against D and against n, double logarithmic](figures/growth.svg)"
    text = f"""
        One thread; n = {ROWS} rows per modality while D grows, D = {DIMENSION} while n grows. The exponent is fitted
        in double logarithms to the upper half of each sweep.
    """
    return chapter("Growth", text, explained("\n\n".join(tables), _REASON), plot)

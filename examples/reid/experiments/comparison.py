"""Differences between methods, paired by seed: is an effect larger than the luck of the seeds?"""

from collections.abc import Mapping, Sequence
from math import sqrt
from statistics import fmean, stdev
from typing import Final, NamedTuple

import scipy.stats

from reid.evaluation.scores import average
from reid.experiments.results import Row, Run

__all__ = ["METRICS", "Difference", "difference_table", "paired_differences"]

METRICS: Final = ("R1", "mAP", "mINP")


class Difference(NamedTuple):
    """How much a method is better than the first one of the table, in percentage points."""

    method: str
    metric: str
    seeds: tuple[int, ...]
    values: tuple[float, ...]
    """One per seed."""
    reference: str
    """The first method."""

    @property
    def mean(self) -> float:
        """Over the seeds."""
        return fmean(self.values)

    @property
    def deviation(self) -> float:
        """Standard deviation over the seeds, with denominator n - 1."""
        return stdev(self.values)

    @property
    def half_width(self) -> float:
        """Half of the 95 % confidence interval of the mean, by Student's t."""
        count = len(self.values)
        return float(scipy.stats.t.ppf(0.975, count - 1)) * self.deviation / sqrt(count)

    @property
    def significant(self) -> bool:
        """Whether the interval leaves zero out; with many comparisons one in twenty does by chance."""
        return abs(self.mean) > self.half_width


def paired_differences(rows: Sequence[Row]) -> tuple[Difference, ...]:
    """Compare every row with the first one, over the seeds that both have.

    Args:
        rows: the baseline first.

    Returns:
        One record per other row and metric; none for rows that share less than two seeds with the baseline.
    """
    baseline, *others = ({run.seed: _percents(run) for run in row.runs} for row in rows)
    return tuple(
        Difference(row.method, metric, seeds, _minus(runs, baseline, seeds, metric), rows[0].method)
        for row, runs in zip(rows[1:], others, strict=True)
        if len(seeds := tuple(sorted(runs.keys() & baseline.keys()))) > 1
        for metric in METRICS
    )


def difference_table(differences: Sequence[Difference]) -> str:
    """Lay differences out in aligned columns.

    Args:
        differences: from `paired_differences`, one at least.

    Returns:
        Lines joined by newlines, without a last one.
    """
    head = [f"minus {differences[0].reference}", "", "mean ± sd", "95 % interval", "seeds", ""]
    cells = [head, *(_cells(difference) for difference in differences)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [
        "  ".join([*map(str.ljust, line[:2], widths[:2]), *map(str.rjust, line[2:5], widths[2:5]), line[5]]).rstrip()
        for line in cells
    ]
    return "\n".join(lines)


def _cells(difference: Difference) -> list[str]:
    low, high = difference.mean - difference.half_width, difference.mean + difference.half_width
    return [
        difference.method,
        difference.metric,
        f"{difference.mean:+.2f} ± {difference.deviation:.2f}",
        f"{low:+.2f} … {high:+.2f}",
        str(len(difference.seeds)),
        "" if difference.significant else "not significant",
    ]


def _minus(
    runs: Mapping[int, Mapping[str, float]],
    others: Mapping[int, Mapping[str, float]],
    seeds: tuple[int, ...],
    metric: str,
) -> tuple[float, ...]:
    return tuple(runs[seed][metric] - others[seed][metric] for seed in seeds)


def _percents(run: Run) -> Mapping[str, float]:
    scores = average(run.trials)
    return {"R1": 100 * float(scores.cmc[0]), "mAP": 100 * scores.mAP, "mINP": 100 * scores.mINP}

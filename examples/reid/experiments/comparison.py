"""Differences between methods, paired by seed: is an effect larger than the luck of the seeds?"""

import warnings
from collections.abc import Sequence
from statistics import fmean, stdev
from typing import Final, NamedTuple

import scipy.stats

from reid.experiments.results import Row, Run, aligned, fractions

__all__ = ["METRICS", "Difference", "difference_table", "paired_differences"]

METRICS: Final = {"R1": "rank1", "mAP": "mAP", "mINP": "mINP"}


class Difference(NamedTuple):
    """How much a method is better than the first one of the table, in percentage points."""

    method: str
    metric: str
    values: tuple[float, ...]  # one per seed
    low: float  # of the 95 % confidence interval of the mean, by Student's t
    high: float

    @property
    def significant(self) -> bool:
        """Whether the interval leaves zero out; with many comparisons one in twenty does by chance."""
        return not self.low <= 0 <= self.high


def paired_differences(rows: Sequence[Row]) -> tuple[Difference, ...]:
    """Compare every row with the first one, the baseline, in each metric, where they have two seeds in common."""
    baseline, *others = ({run.seed: run for run in row.runs} for row in rows)
    return tuple(
        _difference(row.method, metric, [runs[seed] for seed in seeds], [baseline[seed] for seed in seeds])
        for row, runs in zip(rows[1:], others, strict=True)
        if len(seeds := sorted(runs.keys() & baseline.keys())) > 1
        for metric in METRICS
    )


def difference_table(differences: Sequence[Difference], reference: str) -> str:
    """Lay differences from a method out in aligned columns."""
    head = [f"minus {reference}", "", "mean ± sd", "95 % interval", "seeds", ""]
    return "\n".join(aligned([head, *map(_cells, differences)], left=(0, 1, 5)))


def _difference(method: str, metric: str, runs: Sequence[Run], others: Sequence[Run]) -> Difference:
    ours, theirs = ([100 * fractions(run)[METRICS[metric]] for run in side] for side in (runs, others))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # scipy's, where all seeds differ by the same
        low, high = scipy.stats.ttest_rel(ours, theirs).confidence_interval()
    return Difference(method, metric, tuple(a - b for a, b in zip(ours, theirs, strict=True)), float(low), float(high))


def _cells(difference: Difference) -> list[str]:
    return [
        difference.method,
        difference.metric,
        f"{fmean(difference.values):+.2f} ± {stdev(difference.values):.2f}",
        f"{difference.low:+.2f} … {difference.high:+.2f}",
        str(len(difference.values)),
        "" if difference.significant else "not significant",
    ]

"""Draws the scores: CMC curves, the methods below each other with error bars, and their differences by seed."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from reid.experiments.comparison import Difference
from reid.report.reading import MethodScores
from reid.report.style import MUTED, axes_grid, look, named

__all__ = ["differences_of", "plot_cmc", "plot_differences", "plot_methods"]

_RANKS = (1, 5, 10, 15, 20)


def plot_cmc(scores: Sequence[MethodScores]) -> Figure:
    """Draw the share of queries that are found up to each rank.

    Args:
        scores: of the methods, in the order of the table.

    Returns:
        The figure.
    """
    title = "Share of the queries whose person is found up to each rank (CMC), mean over the trials."
    figure, (axis,) = axes_grid(1, 1, f"{title} {_bars(scores, 'Band')}", height=4.2)
    for place, method in enumerate(scores):
        ranks = np.arange(1, method.cmc.shape[1] + 1)
        mean, deviation = method.cmc.mean(0), _deviation(method.cmc)  # (R,)
        style = look(place, points=len(ranks))
        axis.plot(ranks, mean, label=named(method.method), **style)
        axis.fill_between(ranks, mean - deviation, mean + deviation, color=style["color"], alpha=0.15, linewidth=0)
    axis.set(xlabel="rank (position in the list of gallery identities or images)", ylabel="queries found (%)")
    axis.set_xticks([rank for rank in _RANKS if rank <= len(ranks)])
    axis.set_ylim(top=min(101.0, axis.get_ylim()[1]))
    figure.legend(loc="outside lower left", ncols=min(3, len(scores)))
    return figure


def plot_methods(scores: Sequence[MethodScores]) -> Figure:
    """Draw the methods below each other, for rank 1, mAP and mINP: every seed, their mean and its error bar.

    Args:
        scores: of the methods, in the order of the table.

    Returns:
        The figure.
    """
    title = f"What each part of the method changes. Large mark: mean; small: one seed. {_bars(scores, 'Bar')}"
    figure, axes = axes_grid(1, 3, title, height=0.8 + 0.5 * len(scores), sharey=True)
    metrics = (
        ("Rank 1", [method.cmc[:, 0] for method in scores]),
        ("mAP", [method.mAP for method in scores]),
        ("mINP", [method.mINP for method in scores]),
    )
    for axis, (metric, values) in zip(axes, metrics, strict=True):
        _plot_metric(axis, values)
        axis.set(title=metric, xlabel=f"{metric} (%)")
    _name_lines(axes[0], [method.method for method in scores])
    return figure


def differences_of(scores: Sequence[MethodScores]) -> list[Difference]:
    """Subtract the first method from the others, seed by seed.

    Args:
        scores: of the methods, in the order of the table.

    Returns:
        One record per other method and metric, where the two share at least two seeds.
    """
    first, *others = (_by_metric(method) for method in scores)
    return [
        Difference(
            method.method, metric, seeds, tuple(values[seed] - first[metric][seed] for seed in seeds), scores[0].method
        )
        for method, metrics in zip(scores[1:], others, strict=True)
        for metric, values in metrics.items()
        if len(seeds := tuple(sorted(values.keys() & first[metric].keys()))) > 1
    ]


def plot_differences(differences: Sequence[Difference]) -> Figure:
    """Draw what each method adds to the first one, paired by seed.

    Args:
        differences: from `differences_of`.

    Returns:
        The figure.
    """
    methods = list(dict.fromkeys(difference.method for difference in differences))
    metrics = list(dict.fromkeys(difference.metric for difference in differences))
    title = "Each method minus the first one, seed by seed: mean and 95 % interval; one that holds 0 is no evidence."
    figure, axes = axes_grid(1, len(metrics), title, height=0.8 + 0.5 * len(methods), sharey=True)
    for difference in differences:
        axis, place = axes[metrics.index(difference.metric)], methods.index(difference.method)
        style = {**look(place + 1, points=1), "markersize": 7, "linestyle": ""}
        axis.errorbar([difference.mean], [place], xerr=[difference.half_width], capsize=4, **style)
        axis.plot(difference.values, [place + 0.2] * len(difference.values), ".", color=style["color"], markersize=5)
    for axis, metric in zip(axes, metrics, strict=True):
        axis.axvline(0, color=MUTED, linestyle=":", linewidth=1.2)
        axis.set(title=metric, xlabel="difference (percentage points)")
        axis.grid(visible=False, axis="y")
        axis.xaxis.set_major_locator(MaxNLocator(nbins=5))
    _name_lines(axes[0], methods)
    return figure


def _by_metric(scores: MethodScores) -> Mapping[str, Mapping[int, float]]:
    columns = {"Rank 1": scores.cmc[:, 0], "mAP": scores.mAP, "mINP": scores.mINP}
    return {metric: dict(zip(scores.seeds, values.tolist(), strict=True)) for metric, values in columns.items()}


def _name_lines(axis: Axes, methods: Sequence[str]) -> None:
    axis.set_yticks(range(len(methods)), [named(method, 26) for method in methods])
    axis.set_ylim(len(methods) - 0.5, -0.5)
    axis.set_ylabel("method")


def _plot_metric(axis: Axes, values: Sequence[NDArray[np.float64]]) -> None:
    axis.axvline(float(values[0].mean()), color=MUTED, linestyle=":", linewidth=1.2)
    for place, seeds in enumerate(values):
        color = look(place, points=1)["color"]
        if len(seeds) > 1:
            axis.plot(seeds, np.full(len(seeds), place + 0.2), ".", color=color, alpha=0.7, markersize=5)
        bar = _deviation(seeds[:, None]) if len(seeds) > 1 else None  # (1,)
        axis.errorbar(
            [seeds.mean()], [place], xerr=bar, capsize=4, **{**look(place, points=1), "markersize": 7, "linestyle": ""}
        )
    axis.grid(visible=False, axis="y")
    axis.xaxis.set_major_locator(MaxNLocator(nbins=5))
    axis.margins(x=0.12)


def _deviation(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the standard deviation over the first axis with denominator n - 1, 0 for one value, (R,)."""
    return np.std(values, axis=0, ddof=1) if len(values) > 1 else np.zeros(values.shape[1])


def _bars(scores: Sequence[MethodScores], mark: str) -> str:
    counts = sorted({len(method.seeds) for method in scores})
    if counts[-1] < 2:
        return "One seed, so there is no error bar." if mark == "Bar" else "One seed."
    seeds = "–".join(str(count) for count in dict.fromkeys((counts[0], counts[-1])))
    return f"{mark}: ± one standard deviation over {seeds} seeds."

"""Draws what changed while training, by epoch: every term of the objective, the optimiser, the modality gap."""

from collections.abc import Mapping, Sequence
from math import ceil
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from reid.report.reading import History
from reid.report.style import axes_grid, look, named
from reid.training.epochs import Epoch

__all__ = ["Spread", "over_seeds", "plot_gap", "plot_optimiser", "plot_terms", "seeds_sentence", "terms_of"]

Histories = Mapping[str, Sequence[History]]
"""The logs of each method, one per seed."""

_STEPS = {
    "learning_rate": ("Learning rate", "step size (no unit)"),
    "gradient_norm": ("Norm of the gradient", "norm (no unit)"),
    "images_per_second": ("Speed", "images per second (1/s)"),
    "peak_memory": ("Memory of the accelerator", "largest amount (MB)"),
}


class Spread(NamedTuple):
    """One quantity over the epochs of several seeds."""

    epochs: NDArray[np.float64]  # (E,)
    mean: NDArray[np.float64]  # (E,)
    low: NDArray[np.float64]  # (E,): the smallest of the seeds
    high: NDArray[np.float64]  # (E,)


def terms_of(histories: Histories) -> list[str]:
    """List the terms that any of the methods has, in the order in which they are first met."""
    names = [name for logs in histories.values() for log in logs for name in log.columns]
    return [name for name in dict.fromkeys(names) if name not in Epoch._fields]


def over_seeds(logs: Sequence[History], column: str) -> Spread:
    """Collect a column over seeds, epoch by epoch; an epoch that a seed has not reached counts without it.

    Args:
        logs: one per seed.
        column: which need not be in all of them.

    Returns:
        The epochs in which any seed has a finite value.
    """
    values: dict[float, list[float]] = {}
    for log in logs:
        for epoch, value in zip(log.epochs, log.columns.get(column, ()), strict=False):
            if np.isfinite(value):
                values.setdefault(float(epoch), []).append(float(value))
    epochs = sorted(values)
    columns = [[measure(values[epoch]) for epoch in epochs] for measure in (np.mean, min, max)]
    return Spread(np.array(epochs), *map(np.array, columns))


def plot_terms(histories: Histories) -> Figure:
    """Draw every term of the objective in a panel of its own.

    Args:
        histories: of the methods, in the order of the table.

    Returns:
        The figure.
    """
    names = terms_of(histories)
    title = f"How each term of the objective went, mean over each epoch. {seeds_sentence(histories)}"
    return _panels(histories, {name: (named(name), "value (no unit)") for name in names}, title)


def plot_optimiser(histories: Histories) -> Figure:
    """Draw what the logs hold of learning rate, norm of the gradient, speed and memory.

    Args:
        histories: of the methods, in the order of the table.

    Returns:
        The figure.
    """
    held = [name for name in _STEPS if any(len(over_seeds(logs, name).epochs) for logs in histories.values())]
    panels = {name: _STEPS[name] for name in held or ["learning_rate"]}
    return _panels(histories, panels, f"What the optimiser did, mean over each epoch. {seeds_sentence(histories)}")


def plot_gap(histories: Histories) -> Figure:
    """Draw how far apart the modalities are in the batches of each epoch.

    Args:
        histories: of the methods, in the order of the table.

    Returns:
        The figure.
    """
    title = f"How far apart visible and infrared embeddings were in training. {seeds_sentence(histories)}"
    label = "distance of means / spread (no unit)"
    return _panels(histories, {"modality_gap": ("Modality gap of the training batches", label)}, title, height=3.6)


def seeds_sentence(histories: Histories) -> str:
    """Say what lines and bands mean."""
    most = max(map(len, histories.values()), default=0)
    if most < 2:
        return "One seed."
    return f"Line: mean over up to {most} seeds; band: from the lowest seed to the highest."


def _panels(histories: Histories, panels: Mapping[str, tuple[str, str]], title: str, *, height: float = 2.5) -> Figure:
    """Draw one panel per column of the logs, with its title and its label."""
    width = len(panels) if len(panels) < 4 else 2 if len(panels) == 4 else 3
    figure, axes = axes_grid(ceil(len(panels) / width), width, title, height=height)
    for axis, (column, (heading, label)) in zip(axes, panels.items(), strict=False):
        _plot_column(axis, histories, column)
        axis.set(title=heading, xlabel="epoch", ylabel=label)
    for axis in axes[len(panels) :]:
        axis.set_axis_off()
    handles = {line.get_label(): line for axis in axes for line in axis.get_lines()}
    in_order = [handles[label] for label in map(named, histories) if label in handles]
    figure.legend(handles=in_order, loc="outside lower left", ncols=min(3, len(in_order) or 1))
    return figure


def _plot_column(axis: Axes, histories: Histories, column: str) -> None:
    for place, (method, logs) in enumerate(histories.items()):
        spread = over_seeds(logs, column)
        if len(spread.epochs):
            style = look(place, points=len(spread.epochs))
            axis.plot(spread.epochs, spread.mean, label=named(method), **style)
            axis.fill_between(spread.epochs, spread.low, spread.high, color=style["color"], alpha=0.15, linewidth=0)
    axis.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True, min_n_ticks=1))
    axis.margins(y=0.08)
    if axis.has_data() and axis.get_ylim()[0] > 0:
        axis.set_ylim(bottom=0)
    if not axis.get_lines():
        axis.text(0.5, 0.5, "no finite value", ha="center", transform=axis.transAxes)

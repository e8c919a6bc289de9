"""The chart of the differences with their intervals, a panel for each world."""

from pathlib import Path
from typing import Any, NamedTuple

import matplotlib as mpl
from matplotlib.figure import Figure

__all__ = ["Bar", "draw"]

_STYLE: dict[Any, Any] = {"svg.fonttype": "none", "svg.hashsalt": "modinv", "font.size": 8, "figure.dpi": 100}


class Bar(NamedTuple):
    """A mean difference and half of its interval."""

    reading: str
    world: str
    steps: int
    mean: float
    half: float


def draw(bars: list[Bar], path: Path) -> None:
    """Draw a point with its interval for each reading, world and number of steps."""
    worlds, rows = list(dict.fromkeys(bar.world for bar in bars)), list(dict.fromkeys(bar.reading for bar in bars))
    if not bars:
        return
    with mpl.rc_context(_STYLE):
        size = (10, 1 + 0.24 * len(rows))
        figure = Figure(figsize=size, layout="constrained")
        axes = figure.subplots(1, len(worlds), sharex=True, sharey=True, squeeze=False)
        for axis, world in zip(axes[0], worlds, strict=True):
            _panel(axis, [bar for bar in bars if bar.world == world], rows, sorted({bar.steps for bar in bars}))
            axis.set_title(world)
        axes[0, 0].set_yticks(range(len(rows)), rows)
        axes[0, 0].invert_yaxis()
        figure.supxlabel("mAP minus that of the baseline, with Student's 95 % interval")
        figure.savefig(path, metadata={"Date": None})


def _panel(axis: Any, bars: list[Bar], rows: list[str], budgets: list[int]) -> None:
    axis.axvline(0, color="black", linewidth=0.8)
    for number, steps in enumerate(budgets):
        own = [bar for bar in bars if bar.steps == steps]
        places = [rows.index(bar.reading) + 0.25 * (number - (len(budgets) - 1) / 2) for bar in own]
        means, halves = [bar.mean for bar in own], [bar.half for bar in own]
        axis.errorbar(means, places, xerr=halves, fmt="o", markersize=3, linewidth=1, label=f"{steps} steps")
    axis.grid(axis="x", linewidth=0.3)
    if len(budgets) > 1:
        axis.legend(fontsize=7)

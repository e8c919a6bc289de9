"""The plots of bias and standard deviation against the rows of a batch."""

from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib import pyplot

from benchmarks.estimating import ROWS, Estimate

__all__ = ["DRAWN", "draw_estimates"]

DRAWN = ("wasserstein", "moments", "jeffreys")
_STYLE: dict[Any, Any] = {"svg.fonttype": "none", "svg.hashsalt": "modinv", "font.size": 8, "figure.dpi": 100}
_LINEAR = 0.1  # below this a bias is drawn on a linear scale, so that its sign can change


def draw_estimates(estimates: list[Estimate], path: Path) -> None:
    """Draw the bias above and the standard deviation below, one column for each divergence.

    Args:
        estimates: of one case.
        path: of the SVG file.
    """
    with mpl.rc_context(_STYLE):
        figure, axes = pyplot.subplots(2, len(DRAWN), figsize=(10, 7), layout="constrained", sharex=True)
        for column, divergence in enumerate(DRAWN):
            own = [estimate for estimate in estimates if estimate.divergence == divergence]
            _draw_column(axes[0, column], axes[1, column], own)
            axes[0, column].set_title(divergence)
        figure.savefig(path, metadata={"Date": None})
        pyplot.close(figure)


def _draw_column(above: Any, below: Any, estimates: list[Estimate]) -> None:
    for name in dict.fromkeys(estimate.choice.name for estimate in estimates):
        line = [estimate for estimate in estimates if estimate.choice.name == name]
        style = "--" if line[0].choice.memory else "-"
        rows = [estimate.rows for estimate in line]
        above.plot(rows, [estimate.bias for estimate in line], style, marker="o", markersize=3)
        below.plot(rows, [estimate.deviation for estimate in line], style, marker="o", markersize=3, label=name)
    above.axhline(0, color="black", linewidth=0.8)
    above.set(xscale="log", ylabel="bias")
    above.set_yscale("symlog", linthresh=_LINEAR)
    below.set(xscale="log", yscale="log", xlabel="rows of each modality", ylabel="standard deviation")
    below.set_xticks(ROWS, [str(rows) for rows in ROWS])
    below.set_xticks([], minor=True)
    below.legend(fontsize=7, ncol=2, loc="upper center", bbox_to_anchor=(0.5, -0.16), frameon=False)

"""The two plots of the page."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib import pyplot

from benchmarks.growth import DIMENSION, DIMENSIONS, ROW_COUNTS, ROWS, Growth, exponent
from benchmarks.routes import SHARES, Route

__all__ = ["draw_growth", "draw_routes"]

_STYLE: dict[Any, Any] = {"svg.fonttype": "none", "svg.hashsalt": "modinv", "font.size": 9, "figure.dpi": 100}


def draw_growth(results: list[Growth], path: Path) -> None:
    """Draw the time of each loss against D and against n."""

    def fill(axes: Any) -> None:
        for ax, along, still in zip(axes, ("D", "n"), (f"n = {ROWS}", f"D = {DIMENSION}"), strict=True):
            for growth in (growth for growth in results if growth.along == along):
                label = f"{growth.divergence}, exponent {exponent(growth):.2f}"
                ax.plot(growth.sizes, [1e3 * seconds for seconds in growth.seconds], marker="o", label=label)
            ax.set(xscale="log", yscale="log", xlabel=f"{along} ({still})", ylabel="forward + backward, ms")
            _label_sizes(ax, DIMENSIONS if along == "D" else ROW_COUNTS)
            ax.legend()

    _draw(fill, path, panels=2)


def draw_routes(results: list[Route], path: Path) -> None:
    """Draw how long the Gram matrix takes over how long the rows take, one panel for each dimension."""
    dimensions = sorted({route.dimension for route in results})

    def fill(axes: Any) -> None:
        for ax, dimension in zip(axes, dimensions, strict=True):
            for name in dict.fromkeys(route.divergence for route in results):
                line = [route for route in results if (route.divergence, route.dimension) == (name, dimension)]
                shares = [route.rows / dimension for route in line]
                ax.plot(shares, [route.gram / route.from_rows for route in line], marker="o", label=name)
            ax.axhline(1, color="black", linewidth=0.8)
            ax.axvline(1, color="black", linewidth=0.8, linestyle=":")
            ax.set(xscale="log", yscale="log", xlabel=f"N / D (D = {dimension})", ylabel="Gram matrix / rows")
            _label_sizes(ax, SHARES)
        axes[0].legend()

    _draw(fill, path, panels=len(dimensions))


def _label_sizes(ax: Any, sizes: tuple[float, ...]) -> None:
    ax.set_xticks(sizes, [f"{size:g}" for size in sizes])
    ax.set_xticks([], minor=True)
    ax.tick_params(axis="x", labelsize=7)


def _draw(fill: Callable[[Any], None], path: Path, *, panels: int) -> None:
    with mpl.rc_context(_STYLE):
        figure, axes = pyplot.subplots(1, panels, figsize=(9, 3.4), layout="constrained")
        fill(axes)
        figure.savefig(path, metadata={"Date": None})
        pyplot.close(figure)

"""How every picture looks: colours that all eyes tell apart, type that can be read in print, no state of pyplot."""

import io
import textwrap
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import matplotlib.style
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

__all__ = [
    "DIFFERENT",
    "INFRARED",
    "METHODS",
    "MUTED",
    "RIGHT",
    "SAME",
    "VISIBLE",
    "WRONG",
    "axes_grid",
    "look",
    "named",
    "paper",
    "to_png",
]

# Colours of M. Okabe and K. Ito, Color Universal Design, 2008; its yellow is too light for paper.
_BLUE, _ORANGE, _GREEN, _VERMILLION = "#0072B2", "#E69F00", "#009E73", "#D55E00"
_PURPLE, _SKY, _BLACK = "#CC79A7", "#56B4E9", "#000000"
MUTED: Final = "#8A8A8A"
VISIBLE: Final = {"color": _BLUE, "marker": "o"}
INFRARED: Final = {"color": _VERMILLION, "marker": "^"}
SAME: Final = _BLUE
DIFFERENT: Final = _ORANGE
RIGHT: Final = _GREEN
WRONG: Final = _VERMILLION
METHODS: Final = (_BLUE, _VERMILLION, _GREEN, _PURPLE, _ORANGE, _SKY, _BLACK)
_LINES: Final = ("-", "--", "-.", ":")
_MARKERS: Final = ("o", "s", "^", "D", "v", "P", "X")

_STYLE: Final = {
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.formatter.useoffset": False,
    "axes.labelsize": 10,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 10.5,
    "figure.titlesize": 12,
    "figure.titleweight": "bold",
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "grid.color": "#DDDDDD",
    "grid.linewidth": 0.7,
    "legend.fontsize": 9.5,
    "legend.frameon": False,
    "lines.linewidth": 1.8,
    "text.parse_math": False,  # a method's name may hold a dollar sign
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
}


@contextmanager
def paper() -> Iterator[None]:
    """Draw in the style of this page, whatever the settings of the user, which are as before afterwards."""
    with matplotlib.style.context(["default", _STYLE]):
        yield


def axes_grid(rows: int, columns: int, title: str, *, height: float = 2.7, **options: Any) -> tuple[Figure, list[Axes]]:
    """Make a figure that is as wide as a page.

    Args:
        rows: of panels.
        columns: of panels.
        title: a sentence, which is broken into lines.
        height: of one row, in inches.
        options: of ``Figure.subplots``, such as ``sharex``.

    Returns:
        The figure and its axes, row by row.
    """
    lines = textwrap.wrap(title, 88)
    figure = Figure(figsize=(9, 0.6 + 0.22 * len(lines) + height * rows), layout="constrained", facecolor="white")
    figure.suptitle("\n".join(lines), x=0.01, ha="left")
    axes = figure.subplots(rows, columns, squeeze=False, **options)
    return figure, list(axes.flat)


def look(place: int, *, points: int) -> dict[str, Any]:
    """Give the line of one method: its own colour, dash and, where there are few points, marker.

    Args:
        place: of the method in the table, from 0.
        points: of the line.

    Returns:
        Keyword arguments for ``plot``.
    """
    line = {"color": METHODS[place % len(METHODS)], "linestyle": _LINES[place % len(_LINES)]}
    return {**line, "marker": _MARKERS[place % len(_MARKERS)] if points <= 30 else "", "markersize": 4.5}


def named(label: str, width: int = 34) -> str:
    """Make a label of any text: broken into lines, and shown in legends even where it begins with an underscore.

    Args:
        label: as the user wrote it.
        width: in characters.

    Returns:
        The label.
    """
    text = textwrap.fill(label, width)
    return f" {text}" if text.startswith("_") or not text else text


def to_png(figure: Figure, dpi: int) -> bytes:
    """Paint a figure.

    Args:
        figure: from `axes_grid`.
        dpi: pixels per inch.

    Returns:
        The file.
    """
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        # A name in a script that the font lacks is drawn as boxes; the page spells it out.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        FigureCanvasAgg(figure)
        figure.savefig(buffer, format="png", dpi=dpi)
    return buffer.getvalue()

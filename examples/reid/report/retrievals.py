"""Draws what a model finds: queries, the ten nearest gallery images, and which of them show the same person."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray
from PIL import Image
from torch.nn import functional

import modinv
from reid.report.reading import Embeddings
from reid.report.style import MUTED, RIGHT, WRONG, axes_grid

__all__ = ["Retrieval", "find_images", "plot_retrievals", "retrieve"]

_TOP = 10
_QUERIES = 8
_WIDTH, _HEIGHT = 1.0, 2.0  # of a picture, in units of the sheet; the shape to which models resize people
_STEP = (1.18, 2.52)


class Retrieval(NamedTuple):
    """One query and what was found for it, as rows of the embeddings."""

    query: int
    found: tuple[int, ...]
    """Nearest first, at most ten."""


def find_images(folder: Path, provenance: Mapping[str, Any]) -> Path | None:
    """Look for the folder of the data set, which the paths of the images are relative to.

    Args:
        folder: of the run; a relative folder of data is looked for here, then beside ``runs``.
        provenance: of the results.

    Returns:
        The folder, or nothing where it is not on this machine.
    """
    options = provenance.get("options")
    names = [provenance.get("dataset"), options.get("data") if isinstance(options, Mapping) else None]
    places = [root / name for name in names if isinstance(name, str) and name for root in (Path(), folder / "../..")]
    return next((place for place in places if place.is_dir()), None)


def retrieve(embeddings: Embeddings, *, visible_queries: bool = False) -> list[Retrieval]:
    """Rank the images of the other modality by cosine for one query each of some identities.

    Args:
        embeddings: of one model; those after training are compared.
        visible_queries: whether visible images ask and infrared ones answer, default the other way round.

    Returns:
        One retrieval for each of up to eight identities of both modalities, spread evenly over their numbers, with
        the first image of each as its query: none is chosen by its result.
    """
    asking = modinv.VISIBLE if visible_queries else modinv.INFRARED
    queries = embeddings.modalities == asking
    gallery = torch.nonzero(~queries)[:, 0]  # (G,)
    answered = set(embeddings.identities[gallery].tolist())
    firsts: dict[int, int] = {}
    for row in torch.nonzero(queries)[:, 0].tolist():
        firsts.setdefault(int(embeddings.identities[row]), row)
    rows = [firsts[identity] for identity in sorted(firsts) if identity in answered]
    rows = [rows[round(k)] for k in np.linspace(0, len(rows) - 1, min(_QUERIES, len(rows)))]
    features = functional.normalize(embeddings.after.double(), dim=1)
    order = (features[rows] @ features[gallery].T).argsort(dim=1, descending=True, stable=True)  # (Q, G)
    return [Retrieval(row, tuple(gallery[best[:_TOP]].tolist())) for row, best in zip(rows, order, strict=True)]


def plot_retrievals(embeddings: Embeddings, retrievals: Sequence[Retrieval], images: Path, model: str) -> Figure:
    """Draw a sheet: a query in each line, then what was found for it, nearest first.

    Args:
        embeddings: of one model.
        retrievals: the lines.
        images: folder of the data set.
        model: how titles call it.

    Returns:
        The figure.
    """
    title = f"Queries and the ten nearest images of the other modality: {model}. ✓ same person, ✗ another one."
    width = _WIDTH + 0.45 + _STEP[0] * _TOP
    scale = 9 / width
    figure, (axis,) = axes_grid(1, 1, title, height=scale * (_STEP[1] * len(retrievals) + 0.4) - 0.35)
    for line, retrieval in enumerate(retrievals):
        top = _STEP[1] * line
        _draw_image(axis, images / embeddings.paths[retrieval.query], 0, top)
        _write_query(axis, embeddings, retrieval.query, top)
        for place, row in enumerate(retrieval.found):
            left = _WIDTH + 0.45 + _STEP[0] * place
            _draw_image(axis, images / embeddings.paths[row], left, top)
            right = bool(embeddings.identities[row] == embeddings.identities[retrieval.query])
            _frame(axis, left, top, right=right)
    for place in range(_TOP):
        left = _WIDTH + 0.45 + _STEP[0] * place
        axis.text(left + _WIDTH / 2, -0.08, f"{place + 1}", ha="center", va="bottom", fontsize=9)
    axis.text(_WIDTH / 2, -0.08, "query", ha="center", va="bottom", fontsize=9)
    axis.set(xlim=(-0.08, width), ylim=(_STEP[1] * len(retrievals), -0.4), aspect="equal")
    axis.set_axis_off()
    return figure


def _draw_image(axis: Axes, path: Path, left: float, top: float) -> None:
    extent = (left, left + _WIDTH, top + _HEIGHT, top)
    try:
        axis.imshow(_thumbnail(path), extent=extent, interpolation="nearest")
    except (OSError, ValueError):
        axis.add_patch(Rectangle((left, top), _WIDTH, _HEIGHT, facecolor="#EEEEEE"))
        axis.text(left + _WIDTH / 2, top + _HEIGHT / 2, "no\nimage", ha="center", va="center", fontsize=8)


def _thumbnail(path: Path) -> NDArray[np.uint8]:
    with Image.open(path) as file:
        return np.asarray(file.convert("RGB").resize((64, 128), Image.Resampling.BILINEAR))


def _frame(axis: Axes, left: float, top: float, *, right: bool) -> None:
    """Frame an image by colour, line and sign, so that none of them is needed alone."""
    color, line, sign = (RIGHT, "-", "✓") if right else (WRONG, (0, (3, 1.5)), "✗")
    axis.add_patch(Rectangle((left, top), _WIDTH, _HEIGHT, fill=False, edgecolor=color, linestyle=line, linewidth=2.4))
    axis.text(
        left + _WIDTH / 2,
        top + _HEIGHT + 0.09,
        sign,
        color=color,
        ha="center",
        va="top",
        fontsize=12,
        fontweight="bold",
    )


def _write_query(axis: Axes, embeddings: Embeddings, row: int, top: float) -> None:
    text = f"id {int(embeddings.identities[row])}, cam {embeddings.cameras[row]}"
    axis.text(_WIDTH / 2, top + _HEIGHT + 0.06, text, ha="center", va="top", fontsize=7.5)
    middle = _WIDTH + 0.18
    axis.plot([middle, middle], [top, top + _HEIGHT], color=MUTED, linewidth=0.8)

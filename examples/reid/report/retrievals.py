"""Draws what a model finds: queries, the ten nearest gallery images, and which of them show the same person."""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image
from torch.nn import functional

import modinv
from reid.training.snapshot import Embeddings

__all__ = ["Retrieval", "draw_retrievals", "find_images", "retrieve"]

_TOP = 10
_QUERIES = 8
_TILE = (160, 72)  # pixels of a picture of 128 x 64 with its margins


class Retrieval(NamedTuple):
    """One query and what was found for it, as rows of the embeddings."""

    query: int
    found: tuple[int, ...]
    """Nearest first, at most ten."""


def find_images(folder: Path, provenance: Mapping[str, Any]) -> Path:
    """Look for the folder of the data set, which the paths of the images are relative to.

    A relative folder is looked for here, then beside ``runs``. A FileNotFoundError says that it is not on this machine.
    """
    name = provenance["options"]["data"]
    for place in (Path(name), folder / "../.." / name):
        if place.is_dir():
            return place
    raise FileNotFoundError(f"the images are not in {name}, where the provenance says that the data set is.")


def retrieve(embeddings: Embeddings, *, asking: int = modinv.INFRARED) -> list[Retrieval]:
    """Rank the images of the other modality by cosine for one query each of some identities.

    Up to eight identities of both modalities are taken, spread evenly over their numbers, with the first image of each
    as its query: none is chosen by its result.
    """
    queries = embeddings.modalities == asking
    gallery = torch.nonzero(~queries)[:, 0]  # (G,)
    answered = set(embeddings.identities[gallery].tolist())
    firsts: dict[int, int] = {}
    for row in torch.nonzero(queries)[:, 0].tolist():
        firsts.setdefault(int(embeddings.identities[row]), row)
    rows = [firsts[identity] for identity in sorted(firsts) if identity in answered]
    rows = [rows[round(k)] for k in np.linspace(0, len(rows) - 1, min(_QUERIES, len(rows)))]
    features = functional.normalize(embeddings.after, dim=1)
    order = (features[rows] @ features[gallery].T).argsort(dim=1, descending=True, stable=True)  # (Q, G)
    return [Retrieval(row, tuple(gallery[best[:_TOP]].tolist())) for row, best in zip(rows, order, strict=True)]


def draw_retrievals(embeddings: Embeddings, images: Path, *, asking: int = modinv.INFRARED) -> Figure:
    """Draw a query in each line, then what was found for it, nearest first; nothing outside of the folder is drawn.

    Raises:
        ValueError: when no identity is there in both modalities.
    """
    retrievals = retrieve(embeddings, asking=asking)
    if not retrievals:
        raise ValueError("no person is there in both modalities.")
    sheet = np.full((_TILE[0] * len(retrievals), _TILE[1] * (1 + _TOP), 3), 255, dtype=np.uint8)
    figure = Figure(figsize=(9, 1.8 * len(retrievals)), layout="constrained")
    axis = figure.subplots()
    for line, (query, found) in enumerate(retrievals):
        for place, row in enumerate((query, *found)):
            top, left = _TILE[0] * line, _TILE[1] * place
            sheet[top : top + 128, left : left + 64] = _thumbnail(images, embeddings.paths[row])
            # By a sign too, for eyes that do not tell the colours apart.
            sign, color = ("✓", "green") if embeddings.identities[row] == embeddings.identities[query] else ("✗", "red")
            text = f"id {int(embeddings.identities[row])}" if row == query else sign
            axis.text(left + 32, top + 130, text, color=color, ha="center", va="top")
    axis.imshow(sheet)
    axis.set_axis_off()
    return figure


def _thumbnail(images: Path, name: str) -> NDArray[np.uint8]:
    """Read an image; gray where there is none inside of the folder."""
    path = (images / name).resolve()
    if path.is_relative_to(images.resolve()) and path.is_file():
        with suppress(OSError, ValueError), Image.open(path) as file:
            return np.asarray(file.convert("RGB").resize((64, 128)))
    return np.full((128, 64, 3), 200, dtype=np.uint8)

"""Embeddings of some test images before the first step and after the last, for pictures of what training did."""

import io
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from reid.data.dataset import HeldOutSet
from reid.data_sets.layout import ImageList
from reid.whole_file import write_whole

__all__ = ["Pictured", "choose_pictured", "write_snapshot"]

_MOST: Final = 2000


class Pictured(NamedTuple):
    """Which test images are pictured."""

    rows: NDArray[np.int64]  # (n,), ascending
    listed: ImageList  # of these rows
    root: Path

    def images(self, test: HeldOutSet) -> tuple[Tensor, Tensor]:
        """Return the images (n, 3, H, W) and their modalities (n,)."""
        rows = torch.from_numpy(self.rows)
        return test.images[rows], test.modalities[rows]


def choose_pictured(listed: ImageList, root: Path, *, most: int = _MOST, seed: int = 0) -> Pictured:
    """Choose identities by chance and take all their images, at most `most` unless the first identity has more."""
    order = np.random.default_rng(seed).permutation(np.unique(listed.identities))
    sizes = np.array([(listed.identities == identity).sum() for identity in order])
    fitting = max(1, int((sizes.cumsum() <= most).sum()))
    rows = np.flatnonzero(np.isin(listed.identities, order[:fitting]))
    chosen = ImageList(tuple(listed.paths[row] for row in rows), *(column[rows] for column in listed[1:]))
    return Pictured(rows, chosen, root)


def write_snapshot(path: Path, pictured: Pictured, before: Tensor, after: Tensor) -> None:
    """Write the embeddings (n, D) of untrained and trained network with what is known of the images, as ``.npz``."""
    memory = io.BytesIO()
    listed = pictured.listed
    np.savez(
        memory,
        before=before.float().numpy(),
        after=after.float().numpy(),
        identities=listed.identities,
        cameras=listed.cameras,
        modalities=listed.modalities,
        paths=np.array([_inside(path, pictured.root) for path in listed.paths]),
    )
    write_whole(path, memory.getbuffer())


def _inside(path: Path, root: Path) -> str:
    return (path.relative_to(root) if path.is_relative_to(root) else path).as_posix()

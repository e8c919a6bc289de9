"""Embeddings of some test images before the first step and after the last, for pictures of what training did."""

import io
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from reid.whole_file import write_whole

__all__ = ["Embeddings", "choose_pictured", "read_embeddings", "write_embeddings"]


class Embeddings(NamedTuple):
    """Embeddings of the same test images before the first and after the last step."""

    before: Tensor  # (N, D)
    after: Tensor  # (N, D)
    identities: Tensor  # (N,) int64
    modalities: Tensor  # (N,) int64
    paths: tuple[str, ...]  # N, relative to the folder of the data set


def choose_pictured(identities: NDArray[np.int64], *, most: int = 2000, seed: int = 0) -> NDArray[np.int64]:
    """Choose identities by chance and take all their images, at most `most` unless the first identity has more."""
    order = np.random.default_rng(seed).permutation(np.unique(identities))
    sizes = np.array([(identities == identity).sum() for identity in order])
    fitting = max(1, int((sizes.cumsum() <= most).sum()))
    return np.flatnonzero(np.isin(identities, order[:fitting]))


def write_embeddings(path: Path, embeddings: Embeddings) -> None:
    """Write a ``.npz`` file."""
    memory = io.BytesIO()
    parts: dict[str, Any] = {name: np.asarray(part) for name, part in embeddings._asdict().items()}
    np.savez(memory, **parts)
    write_whole(path, memory.getbuffer())


def read_embeddings(path: Path) -> Embeddings:
    """Read what `write_embeddings` wrote, in float64.

    Raises:
        OSError, LookupError, EOFError, BadZipFile, ValueError: when the file cannot be read, or is not such a file.
    """
    with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
        before, after, identities, modalities, paths = (file[name] for name in Embeddings._fields)
    lengths = {len(part) for part in (before, after, identities, modalities, paths)}
    if before.ndim != 2 or after.ndim != 2 or len(lengths) > 1:
        raise ValueError(f"{path.name} must hold one row for each image in every part.")
    if not (np.isfinite(before).all() and np.isfinite(after).all()):
        raise ValueError(f"{path.name} holds embeddings that are not finite: the model has diverged.")
    before, after, identities, modalities = map(torch.from_numpy, (before, after, identities, modalities))
    return Embeddings(before.double(), after.double(), identities.long(), modalities.long(), tuple(map(str, paths)))

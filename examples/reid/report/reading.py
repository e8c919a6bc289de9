"""Reads what the report shows of a run's folder: its models, and their embeddings before and after training."""

import re
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from reid.training.methods import METHODS

__all__ = ["Embeddings", "models_of", "read_embeddings"]


class Embeddings(NamedTuple):
    """Embeddings of the same test images before the first and after the last step."""

    before: Tensor  # (N, D) float64
    after: Tensor  # (N, D) float64
    identities: Tensor  # (N,) int64
    modalities: Tensor  # (N,) int64
    paths: tuple[str, ...]  # N, relative to the folder of the data set


def models_of(folder: Path, suffix: str) -> list[Path]:
    """List the files ``METHOD-seedN`` with a suffix in the order of the results table, unknown methods last."""

    def place(path: Path) -> tuple[int, str, int]:
        method, seed = path.stem.rsplit("-seed", 1)
        known = list(METHODS)
        return known.index(method) if method in METHODS else len(known), method, int(seed)

    return sorted((path for path in folder.iterdir() if re.fullmatch(rf".+-seed\d+\{suffix}", path.name)), key=place)


def read_embeddings(path: Path) -> Embeddings:
    """Read ``METHOD-seedN.npz``.

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
    return Embeddings(
        torch.from_numpy(before).double(),
        torch.from_numpy(after).double(),
        torch.from_numpy(identities).long(),
        torch.from_numpy(modalities).long(),
        tuple(map(str, paths)),
    )

"""Features of labelled images, and the ``.npz`` files in which somebody saved them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["LabelledFeatures", "checked_features", "read_npz_features", "with_identities"]

_LABELS: Final = ("identities", "cameras", "numbers", "modalities")


class LabelledFeatures(NamedTuple):
    """The features and labels of some images; labels that the protocol does not read are 0."""

    features: Tensor  # (N, D) floating; float64 stays, integers become float64
    identities: NDArray[np.int64]
    cameras: NDArray[np.int64]  # from 1
    numbers: NDArray[np.int64]  # of the image inside its identity and camera, from 1, in the order of the file names
    modalities: NDArray[np.int64]  # 0 visible, 1 infrared
    files: tuple[Path, ...]  # where all this was read
    split: int | None = None  # of RegDB, where it is known
    remarks: tuple[str, ...] = ()  # what the user should know of the data set, a line each


def read_npz_features(file: Path, labels: Sequence[str]) -> LabelledFeatures:
    """Read a file of numpy, in its order.

    Args:
        file: with an array ``features`` (N, D) and integers (N,) for each name in `labels`; what else is in it
            is not read.
        labels: of ``identities``, ``cameras``, ``numbers`` and ``modalities``, those that the protocol needs.

    Raises:
        OSError, ValueError: one sentence, when there is no such file or something else in it.
    """
    needed = ("features", *labels)
    if not file.is_file():
        raise FileNotFoundError(f"{file} does not exist.")
    try:
        with file.open("rb") as stream, np.load(stream, allow_pickle=False) as content:
            arrays = {name: content[name] for name in needed if name in content}
    except Exception as error:  # numpy and zipfile raise many kinds on files that are none of theirs
        raise ValueError(f"{file} cannot be read as a .npz file ({error}); save it again with numpy.savez.") from error
    if missing := [name for name in needed if name not in arrays]:
        raise ValueError(f"{file} must hold the arrays {', '.join(needed)}, but {', '.join(missing)} is missing.")
    features = checked_features(file, arrays["features"])
    identities, cameras, numbers, modalities = (
        _label(file, name, arrays.get(name, np.zeros(len(features), dtype=np.int64)), len(features)) for name in _LABELS
    )
    return LabelledFeatures(features, identities, cameras, numbers, modalities, (file,))


def with_identities(saved: LabelledFeatures, identities: Sequence[int]) -> LabelledFeatures:
    """Keep the images of some identities, in the same order; none of them is a ValueError."""
    rows = np.flatnonzero(np.isin(saved.identities, identities))
    if len(rows) == 0:
        raise ValueError(f"{saved.files[0]} has no image of the {len(identities)} identities of the test split.")
    labels = {name: getattr(saved, name)[rows] for name in _LABELS}
    return saved._replace(features=saved.features[torch.from_numpy(rows)], **labels)


def checked_features(file: Path, array: NDArray[Any]) -> Tensor:
    """Refuse what is no finite matrix of numbers."""
    if not isinstance(array, np.ndarray) or array.ndim != 2 or array.dtype.kind not in "iuf" or 0 in array.shape:
        raise ValueError(
            f"{file}: features must be numbers (N, D), got {type(array).__name__} {array.dtype} {array.shape}."
        )
    if wrong := int(np.count_nonzero(~np.isfinite(array))):
        raise ValueError(f"{file}: features must be finite, but {wrong} are not; look for a diverged model.")
    if array.dtype.kind != "f" or array.dtype.itemsize > np.dtype(np.float64).itemsize:
        array = array.astype(np.float64)
    return torch.from_numpy(np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("=")))


def _label(file: Path, name: str, array: NDArray[Any], rows: int) -> NDArray[np.int64]:
    if array.shape != (rows,) or array.dtype.kind not in "iu":
        raise ValueError(f"{file}: {name} must be {rows} integers, one per image, got {array.dtype} {array.shape}.")
    return array.astype(np.int64)

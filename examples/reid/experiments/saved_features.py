"""Reads features that somebody saved: `.npz` files, and `.mat` files in the layout of the SYSU-MM01 code."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import scipy.io
import torch
from numpy.typing import NDArray
from torch import Tensor

from modinv import INFRARED, VISIBLE
from reid.data.layout import read_identities
from reid.data.sysu import INFRARED_CAMERAS

__all__ = ["LabelledFeatures", "read_mat_features", "read_npz_features", "read_test_identities", "with_identities"]

_LABELS: Final = ("identities", "cameras", "numbers", "modalities")


class LabelledFeatures(NamedTuple):
    """The features of some images, and what is known of each; arrays of labels are 0 where nothing asked for them."""

    features: Tensor
    """``(N, D)`` floating; float64 stays, integers become float64."""
    identities: NDArray[np.int64]
    cameras: NDArray[np.int64]
    """From 1."""
    numbers: NDArray[np.int64]
    """Of the image inside its identity and camera, from 1, in the order of the file names."""
    modalities: NDArray[np.int64]
    """0 visible, 1 infrared."""
    files: tuple[Path, ...]
    """Where all this was read."""
    split: int | None = None
    """Of RegDB, where it is known."""
    remarks: tuple[str, ...] = ()
    """What the user should know of the data set, a line each."""


def read_npz_features(file: Path, labels: Sequence[str]) -> LabelledFeatures:
    """Read a file of numpy.

    Args:
        file: with an array ``features`` (N, D) and integers (N,) for each name in `labels`; what else is in it
            is not read.
        labels: of ``identities``, ``cameras``, ``numbers`` and ``modalities``, those that the protocol needs.

    Returns:
        The features in the order of the file.

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
    features = _features(file, arrays["features"])
    identities, cameras, numbers, modalities = (
        _label(file, name, arrays.get(name, np.zeros(len(features), dtype=np.int64)), len(features)) for name in _LABELS
    )
    return LabelledFeatures(features, identities, cameras, numbers, modalities, (file,))


def read_mat_features(folder: Path, name: str, cameras: Sequence[int], identities: Sequence[int]) -> LabelledFeatures:
    """Read files ``NAME_cam#.mat`` in which ``feature{id}(i, :)`` is the i-th image of an identity.

    Args:
        folder: of the files.
        name: in front of ``_cam#.mat``.
        cameras: whose files are read.
        identities: that are kept, from 1.

    Returns:
        The features in float64, in which MATLAB computes, in the order camera, identity, image.

    Raises:
        OSError, ValueError: one sentence, when a file is missing or holds something else.

    """
    parts: list[Tensor] = []
    rows: list[tuple[int, int, int]] = []
    files = tuple(folder / f"{name}_cam{camera}.mat" for camera in cameras)
    for camera, file in zip(cameras, files, strict=True):
        cells = _cells(file)
        for identity in (one for one in identities if one <= len(cells) and cells[one - 1].size):
            parts.append(_features(file, cells[identity - 1]).double())
            rows += [(identity, camera, number) for number in range(1, len(parts[-1]) + 1)]
    widths = sorted({part.shape[1] for part in parts})
    if len(widths) != 1:
        raise ValueError(
            f"{folder}: expected features of one width for the {len(identities)} identities of the test split, "
            f"got {f'widths {widths[0]} to {widths[-1]}' if widths else 'no image of them'}."
        )
    owners, places, numbers = np.array(rows, dtype=np.int64).T.copy()
    modalities = np.where(np.isin(places, INFRARED_CAMERAS), INFRARED, VISIBLE)
    return LabelledFeatures(torch.cat(parts), owners, places, numbers, modalities, files)


def read_test_identities(folder: Path) -> tuple[list[int], Path]:
    """Read the identities of the test split of SYSU-MM01 from ``test_id.mat``, or else from ``test_id.txt``.

    Args:
        folder: ``exp`` of the data set.

    Returns:
        The identities, ascending, and the file that told them.

    Raises:
        OSError, ValueError: one sentence, when there is neither, or something else in it.

    """
    matlab, text = folder / "test_id.mat", folder / "test_id.txt"
    if matlab.is_file():
        found = _array(matlab, "id")
        if found.dtype.kind not in "iuf" or not found.size or not _counts(found):
            raise ValueError(f"{matlab} must hold numbers named 'id', from 1, but does not; copy it again.")
        return np.unique(found.astype(np.int64)).tolist(), matlab
    if text.is_file():
        return sorted(set(read_identities(text))), text
    raise FileNotFoundError(f"{folder} has neither test_id.mat nor test_id.txt; give the folder exp of SYSU-MM01.")


def with_identities(saved: LabelledFeatures, identities: Sequence[int]) -> LabelledFeatures:
    """Keep the images of some identities.

    Args:
        saved: features of all.
        identities: that are kept.

    Returns:
        The features of these, in the same order.

    Raises:
        ValueError: when there is no image of them.

    """
    rows = np.flatnonzero(np.isin(saved.identities, identities))
    if len(rows) == 0:
        raise ValueError(f"{saved.files[0]} has no image of the {len(identities)} identities of the test split.")
    labels = {name: getattr(saved, name)[rows] for name in _LABELS}
    return saved._replace(features=saved.features[torch.from_numpy(rows)], **labels)


def _cells(file: Path) -> NDArray[Any]:
    cells = _array(file, "feature")
    if cells.dtype != object:
        raise ValueError(
            f"{file} must hold a cell array 'feature' with a matrix of images x dimensions for each identity, "
            "but does not."
        )
    flat: NDArray[Any] = cells.reshape(-1)
    return flat


def _array(file: Path, name: str) -> NDArray[Any]:
    """Return an array by its name, without values where there is none."""
    found = _load(file).get(name)
    return found if isinstance(found, np.ndarray) else np.zeros(0)  # a sparse matrix is none


def _load(file: Path) -> dict[str, Any]:
    if not file.is_file():
        raise FileNotFoundError(f"{file} does not exist.")
    try:
        content: dict[str, Any] = scipy.io.loadmat(file)
    except NotImplementedError as error:
        raise ValueError(f"{file} is a MATLAB file of version 7.3; save it again with -v7.") from error
    except Exception as error:  # scipy raises many kinds on a file that is cut off or no MATLAB file
        raise ValueError(f"{file} cannot be read as a MATLAB file ({type(error).__name__}); save it again.") from error
    return content


def _counts(numbers: NDArray[Any]) -> bool:
    """Tell whether all are whole numbers from 1; infinities and NaN are not."""
    return bool(((numbers >= 1) & (numbers < 2**31) & (numbers == numbers.round())).all())


def _features(file: Path, array: NDArray[Any]) -> Tensor:
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

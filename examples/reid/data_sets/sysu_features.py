"""Reads features of SYSU-MM01 that somebody saved, also ``.mat`` files in the layout of its own code."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import scipy.io
import torch
from numpy.typing import NDArray
from torch import Tensor

from reid.data_sets.features import LabelledFeatures, checked_features, read_npz_features, with_identities
from reid.data_sets.layout import read_identities
from reid.data_sets.sysu_galleries import GALLERY_CAMERAS, QUERY_CAMERAS, Mode

__all__ = ["SYSU_LABELS", "read_mat_features", "read_sysu_features", "read_test_identities"]

SYSU_LABELS: Final = ("identities", "cameras", "numbers")


def read_sysu_features(path: Path, name: str | None, mode: Mode, exp: Path | None) -> LabelledFeatures:
    """Read features of the test images, or of all images and keep those of the test identities.

    Args:
        path: a ``.npz`` file, or a folder with ``NAME.npz`` or ``NAME_cam#.mat``.
        name: of the features in the folder.
        mode: tells of which cameras files of MATLAB are read.
        exp: folder with the list of the test identities; files of MATLAB cannot do without.
    """
    file = path / f"{name}.npz" if path.is_dir() else path
    if exp is None and (file.is_file() or not path.is_dir()):
        return read_npz_features(file, SYSU_LABELS)
    if exp is None:
        raise ValueError("features in .mat files need --exp, the folder of test_id.mat.")
    identities, source = read_test_identities(exp)
    if file.is_file() or name is None or not path.is_dir():
        saved = with_identities(read_npz_features(file, SYSU_LABELS), identities)
    else:
        saved = read_mat_features(path, name, sorted(QUERY_CAMERAS + GALLERY_CAMERAS[mode]), identities)
    return saved._replace(files=(*saved.files, source))


def read_mat_features(folder: Path, name: str, cameras: Sequence[int], identities: Sequence[int]) -> LabelledFeatures:
    """Read files ``NAME_cam#.mat`` in which ``feature{id}(i, :)`` is the i-th image of an identity.

    Args:
        folder, name: of the files.
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
            parts.append(checked_features(file, cells[identity - 1]).double())
            rows += [(identity, camera, number) for number in range(1, len(parts[-1]) + 1)]
    widths = sorted({part.shape[1] for part in parts})
    if len(widths) != 1:
        raise ValueError(
            f"{folder}: expected features of one width for the {len(identities)} identities of the test split, "
            f"got {f'widths {widths[0]} to {widths[-1]}' if widths else 'no image of them'}."
        )
    owners, places, numbers = np.array(rows, dtype=np.int64).T.copy()
    return LabelledFeatures(torch.cat(parts), owners, places, numbers, np.zeros_like(owners), files)


def read_test_identities(folder: Path) -> tuple[list[int], Path]:
    """Read the test identities, ascending, and tell where they stood: in ``test_id.mat``, or else in ``test_id.txt``.

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

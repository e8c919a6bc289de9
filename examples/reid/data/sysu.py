"""Reads the folder layout of SYSU-MM01: which images there are, of whom, by which camera.

    ROOT/cam1 … cam6/IIII/NNNN.jpg     image NNNN of identity IIII
    ROOT/exp/{train,val,test}_id.txt   identities, one comma-separated line
    ROOT/exp/rand_perm_cam.mat         the official protocol's choice of gallery images

Reference: Wu, Zheng, Yu, Gong, Lai, "RGB-infrared cross-modality person re-identification", ICCV 2017. The
data set is applied for at its authors' page, github.com/wuancong/SYSU-MM01.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Final, Literal, get_args

import numpy as np
import scipy.io
from numpy.typing import NDArray

from modinv import INFRARED, VISIBLE
from reid.data.layout import (
    Entry,
    ImageList,
    Layout,
    check_layout,
    image_files,
    is_number,
    list_images,
    read_identities,
    refuse_unread,
)
from reid.protocols import NUM_TRIALS

__all__ = ["INFRARED_CAMERAS", "VISIBLE_CAMERAS", "ImageList", "Split", "read_images"]
__all__ += ["missing_images", "read_permutation_file", "read_permutations"]

VISIBLE_CAMERAS: Final = (1, 2, 4, 5)
INFRARED_CAMERAS: Final = (3, 6)

Split = Literal["train", "val", "trainval", "test"]

_CAMERAS: Final = tuple(sorted(VISIBLE_CAMERAS + INFRARED_CAMERAS))
_PERMUTATIONS: Final = "exp/rand_perm_cam.mat"
_LAYOUT: Final = Layout(
    "SYSU-MM01",
    "the folders cam1 to cam6 and exp/train_id.txt, exp/val_id.txt and exp/test_id.txt, 30,071 visible and 15,792 "
    "infrared images in all, of 296, 99 and 96 identities,",
    "its authors' page, github.com/wuancong/SYSU-MM01",
)


def read_images(root: Path, split: Split) -> ImageList:
    """List the images of a split.

    Args:
        root: folder of the data set.
        split: "train", "val", "test", or "trainval", the union of the first two, on which the field trains.

    Returns:
        The images in the order identity, camera, number, which is the one in the file's name. Files that are no
        numbered image are left out.

    Raises:
        FileNotFoundError: when a folder or file of the layout is missing.
        ValueError: when the split is unknown, has no image, or its list of identities cannot be read; or a folder
            looks like that of a camera or an identity and would not be read.
    """
    if split not in get_args(Split):
        raise ValueError(f"split must be one of {', '.join(get_args(Split))}, but is {split!r}: choose one of these.")
    lists = [f"exp/{part}_id.txt" for part in ("train", "val", "test")]
    cameras = [f"cam{camera}" for camera in _CAMERAS]
    check_layout(root, _LAYOUT, [*cameras, *lists])
    refuse_unread(root, "cam(era)?", "|".join(cameras))
    for camera in cameras:
        refuse_unread(root / camera, ".*", "[0-9]{4}")
    identities = _identities(root, split)
    entries = [entry for identity in identities for entry in _entries(root, identity)]
    if not entries:
        raise ValueError(
            f"No image of the {len(identities)} identities of split {split!r} in {root}: "
            "expected files like cam1/0001/0001.jpg, with four-digit names of folders and files."
        )
    return list_images(entries)


def missing_images(root: Path, images: ImageList, split: Split) -> list[Path]:
    """Name the images that `exp/rand_perm_cam.mat`, if there is one, counts for a split and `images` does not hold."""
    found: dict[tuple[int, int], set[int]] = {}
    for identity, camera, number in np.stack(images[1:4], axis=1).tolist():
        found.setdefault((camera, identity), set()).add(number)
    identities = set(_identities(root, split))
    return [
        root / f"cam{cell[0]}" / f"{cell[1]:04d}" / f"{number:04d}.jpg"
        for cell, rows in (read_permutations(root) or {}).items()
        if cell[1] in identities and len(found.get(cell, set())) < rows.shape[1]
        for number in range(1, rows.shape[1] + 1)
        if number not in found.get(cell, set())
    ]


def read_permutations(root: Path) -> dict[tuple[int, int], NDArray[np.int64]] | None:
    """Read the permutations of a data set, see `read_permutation_file`; None where it has none."""
    file = root / _PERMUTATIONS
    return read_permutation_file(file) if file.is_file() else None


def read_permutation_file(file: Path) -> dict[tuple[int, int], NDArray[np.int64]]:
    """Read the file `rand_perm_cam.mat` of the data set.

    Args:
        file: wherever it lies.

    Returns:
        For each (camera, identity) that has images, a ``(10, n)`` array: row t is a permutation of the n
        image numbers, counted from 1, whose first one or ten entries are the gallery of trial t.

    Raises:
        ValueError: when the file holds something else.
    """
    try:
        cells = scipy.io.loadmat(file)["rand_perm_cam"]
        return {
            (camera, identity): permutations.astype(np.int64).reshape(NUM_TRIALS, permutations.shape[1])
            for camera, cell in zip(_CAMERAS, cells.reshape(-1), strict=True)
            for identity, permutations in enumerate(cell.reshape(-1), start=1)
            if permutations.size
        }
    except NotImplementedError as error:
        raise ValueError(
            f"{file} is a MATLAB file of version 7.3, which is not read: copy the file from the data set again, or "
            "save it with -v7."
        ) from error
    except Exception as error:  # scipy raises many kinds on a file that is cut off or no MATLAB file
        raise ValueError(
            f"{file} must hold a cell array 'rand_perm_cam' of six cameras, but does not: "
            "copy the file from the data set again."
        ) from error


def _entries(root: Path, identity: int) -> Iterator[Entry]:
    for camera in _CAMERAS:
        modality = INFRARED if camera in INFRARED_CAMERAS else VISIBLE
        files = [file for file in image_files(root / f"cam{camera}" / f"{identity:04d}") if is_number(file.stem)]
        for file in sorted(files, key=lambda file: (int(file.stem), file.name)):
            yield Entry(file, identity, camera, int(file.stem), modality)


def _identities(root: Path, split: Split) -> list[int]:
    parts = ("train", "val") if split == "trainval" else (split,)
    return sorted({identity for part in parts for identity in read_identities(root / "exp" / f"{part}_id.txt")})

"""Reads the folder layout of SYSU-MM01: which images there are, of whom, by which camera.

    ROOT/cam1 … cam6/IIII/NNNN.jpg     image NNNN of identity IIII
    ROOT/exp/{train,val,test}_id.txt   identities, one comma-separated line
    ROOT/exp/rand_perm_cam.mat         the official protocol's choice of gallery images

Reference: Wu, Zheng, Yu, Gong, Lai, "RGB-infrared cross-modality person re-identification", ICCV 2017. The
data set is applied for at its authors' page, github.com/wuancong/SYSU-MM01.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Final, Literal, NamedTuple, get_args

import numpy as np
import scipy.io
from numpy.typing import NDArray

__all__ = ["INFRARED_CAMERAS", "VISIBLE_CAMERAS", "ImageList", "Split", "read_images", "read_permutations"]

VISIBLE_CAMERAS: Final = (1, 2, 4, 5)
INFRARED_CAMERAS: Final = (3, 6)

Split = Literal["train", "val", "trainval", "test"]

_CAMERAS: Final = tuple(sorted(VISIBLE_CAMERAS + INFRARED_CAMERAS))
_SUFFIXES: Final = (".jpg", ".jpeg", ".png", ".bmp")
_EXPECTED: Final = (
    "expected the folders cam1 to cam6 and exp/train_id.txt, exp/val_id.txt and exp/test_id.txt of SYSU-MM01 "
    "(to be applied for at its authors' page, github.com/wuancong/SYSU-MM01)"
)


class ImageList(NamedTuple):
    """Images of a data set, in the order identity, camera, number."""

    paths: tuple[Path, ...]
    identities: NDArray[np.int64]  # (N,)
    cameras: NDArray[np.int64]  # (N,), 1 to 6
    numbers: NDArray[np.int64]  # (N,), the number in the file's name, from 1


def read_images(root: Path, split: Split) -> ImageList:
    """List the images of a split.

    Args:
        root: folder of the data set.
        split: "train", "val", "test", or "trainval", the union of the first two, on which the field trains.

    Returns:
        The images in the order identity, camera, number. Files that are no numbered image are left out.

    Raises:
        FileNotFoundError: when a folder or file of the layout is missing.
        ValueError: when the split is unknown, has no image, or its list of identities cannot be read.
    """
    if split not in get_args(Split):
        raise ValueError(f"split must be one of {', '.join(get_args(Split))}, but is {split!r}: choose one of these.")
    _check_layout(root)
    parts = ("train", "val") if split == "trainval" else (split,)
    identities = sorted({identity for part in parts for identity in _read_identities(root, part)})
    found = [image for identity in identities for image in _images_of(root, identity)]
    if not found:
        raise ValueError(
            f"No image of the {len(identities)} identities of split {split!r} in {root}: "
            "expected files like cam1/0001/0001.jpg, with four-digit names of folders and files."
        )
    paths, owners, cameras, numbers = zip(*found, strict=True)
    return ImageList(paths, *(np.array(column, dtype=np.int64) for column in (owners, cameras, numbers)))


def read_permutations(root: Path) -> dict[tuple[int, int], NDArray[np.int64]] | None:
    """Read which images the official protocol puts into the gallery.

    Args:
        root: folder of the data set.

    Returns:
        For each (camera, identity) that has images, a ``(10, n)`` array: row t is a permutation of the n
        image numbers, counted from 1, whose first one or ten entries are the gallery of trial t. None where
        the data set has no `exp/rand_perm_cam.mat`.

    Raises:
        ValueError: when the file holds something else.
    """
    file = root / "exp" / "rand_perm_cam.mat"
    if not file.is_file():
        return None
    cells = scipy.io.loadmat(file).get("rand_perm_cam")
    if cells is None or cells.dtype != object or cells.size != len(_CAMERAS):
        raise ValueError(
            f"{file} must hold a cell array 'rand_perm_cam' of six cameras, but does not: "
            "copy the file from the data set again."
        )
    return {
        (camera, identity): np.asarray(permutations, dtype=np.int64)
        for camera, cell in zip(_CAMERAS, cells.reshape(-1), strict=True)
        for identity, permutations in enumerate(cell.reshape(-1), start=1)
        if permutations.size
    }


def _check_layout(root: Path) -> None:
    if not root.is_dir():
        raise FileNotFoundError(f"{root} is not a folder: {_EXPECTED}.")
    wanted = [f"cam{camera}" for camera in _CAMERAS] + [f"exp/{part}_id.txt" for part in ("train", "val", "test")]
    missing = [name for name in wanted if not (root / name).exists()]
    if missing:
        found = sorted(entry.name for entry in root.iterdir())
        shown = ", ".join(found[:8]) + (f" and {len(found) - 8} more" if len(found) > 8 else "")
        raise FileNotFoundError(
            f"{root} is not laid out as SYSU-MM01: {_EXPECTED}, found {shown or 'nothing'}; "
            f"{', '.join(missing)} missing."
        )


def _read_identities(root: Path, part: str) -> list[int]:
    file = root / "exp" / f"{part}_id.txt"
    text = file.read_text(encoding="utf-8-sig")
    words = [word.strip() for word in text.replace("\n", ",").split(",") if word.strip()]
    if not all(_is_number(word) for word in words):
        raise ValueError(
            f"{file} must hold identities on one line such as 1,2,10, but begins with {text[:40]!r}: "
            "copy the file from the data set again."
        )
    return [int(word) for word in words]


def _images_of(root: Path, identity: int) -> Iterator[tuple[Path, int, int, int]]:
    for camera in _CAMERAS:
        folder = root / f"cam{camera}" / f"{identity:04d}"
        files = folder.iterdir() if folder.is_dir() else iter(())
        images = [file for file in files if file.suffix.lower() in _SUFFIXES and _is_number(file.stem)]
        for file in sorted(images, key=lambda image: (int(image.stem), image.name)):
            yield file, identity, camera, int(file.stem)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal()

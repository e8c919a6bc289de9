"""Reads the folder layout of LLCM: which images there are, of whom, by which camera, in which modality.

    ROOT/idx/train_vis.txt, ROOT/idx/train_nir.txt               lines "path label"
    ROOT/idx/test_id.txt                                         identities, one comma-separated line
    ROOT/test_vis/cam1 … cam9/IIII/….jpg, ROOT/test_nir/…        the test images of identity IIII

Copies that have ``idx/test_vis.txt`` and ``idx/test_nir.txt`` in place of the last two are read too, if their file
names tell the camera, as in ``0351_c06_s1_nir.jpg``.

Reference: Zhang, Wang, "Diverse embedding expansion network and low-light cross-modality benchmark for
visible-infrared person re-identification", CVPR 2023.
"""

import re
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Final, Literal, get_args

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
    read_labelled_paths,
    refuse_unread,
)

__all__ = ["Part", "read_images"]

Part = Literal["train", "test"]

_MODALITIES: Final = {"vis": VISIBLE, "nir": INFRARED}
_TEST: Final = "idx/test_id.txt"  # before all other lists: it is what the published protocol reads
_LAYOUT: Final = Layout(
    "LLCM",
    "idx/train_vis.txt and idx/train_nir.txt with lines 'path label', 30,921 images of 713 identities, idx/test_id.txt "
    "and the folders test_vis/cam1 to cam9 and test_nir/cam1 to cam9, 15,846 images of 351 identities,",
    "its authors' page, github.com/ZYK100/LLCM",
)


def read_images(root: Path, part: Part) -> ImageList:
    """List the training images or the test images.

    Args:
        root: folder of the data set.
        part: "train" or "test".

    Returns:
        The visible images, then the infrared ones, each in the order identity, camera, name of the file; the number
        is the place in this order, inside identity and camera. The camera of a training image is 0 unless its
        name tells it; the camera of a test image is always known.

    Raises:
        FileNotFoundError: when a folder or file of the layout is missing.
        ValueError: when the part is unknown or has no image, or a file of the layout cannot be read; or a folder
            looks like that of a camera or an identity and would not be read.
    """
    if part not in get_args(Part):
        raise ValueError(f"part must be one of {', '.join(get_args(Part))}, but is {part!r}: choose one of these.")
    lists = [f"idx/{part}_{kind}.txt" for kind in _MODALITIES]
    if part == "train" or (not (root / _TEST).is_file() and all((root / name).is_file() for name in lists)):
        check_layout(root, _LAYOUT, lists)
        entries = [entry for kind in _MODALITIES for entry in _listed(root, f"idx/{part}_{kind}.txt", kind)]
    else:
        check_layout(root, _LAYOUT, [_TEST, *(f"test_{kind}" for kind in _MODALITIES)])
        identities = read_identities(root / _TEST)
        entries = [entry for kind in _MODALITIES for entry in _in_folders(root / f"test_{kind}", identities, kind)]
    if not entries:
        raise ValueError(
            f"No image of the test identities in {root}: expected files like test_vis/cam1/0001/name.jpg, with "
            "four-digit names of the folders of identities."
        )
    unknown = [entry.path for entry in entries if not entry.camera]
    if unknown and part == "test":
        raise ValueError(
            f"{unknown[0]} must tell its camera by a part of its name such as c06, but does not: rename it."
        )
    return list_images(_number(entries))


def _listed(root: Path, name: str, kind: str) -> Iterator[Entry]:
    for path, label in read_labelled_paths(root, name):
        yield Entry(path, label, _camera(path.relative_to(root)), 0, _MODALITIES[kind])


def _in_folders(folder: Path, identities: list[int], kind: str) -> Iterator[Entry]:
    refuse_unread(folder, "cam(era)?", "cam[0-9]{1,2}")
    for camera in folder.glob("cam*"):
        if camera.is_dir() and is_number(camera.name[3:]):
            refuse_unread(camera, ".*", "[0-9]{4}")
            for identity in identities:
                for path in image_files(camera / f"{identity:04d}"):
                    yield Entry(path, identity, int(camera.name[3:]), 0, _MODALITIES[kind])


def _camera(path: Path) -> int:
    """Read the camera off a folder such as cam6, or a part of the file's name such as c06; 0 if there is none."""
    words = [*path.parent.parts, *path.stem.split("_")]
    cameras = [match[1] for word in words if (match := re.fullmatch(r"c(?:am)?([0-9]{1,3})", word))]
    return int(cameras[-1]) if cameras else 0


def _number(entries: list[Entry]) -> Iterator[Entry]:
    # The field draws its galleries from lists that are sorted as text.
    ordered = sorted(entries, key=lambda entry: (entry.modality, entry.identity, entry.camera, entry.path.name))
    for _, cell in groupby(ordered, key=lambda entry: (entry.modality, entry.identity, entry.camera)):
        for number, entry in enumerate(cell, start=1):
            yield entry._replace(number=number)

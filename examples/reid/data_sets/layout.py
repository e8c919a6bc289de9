"""What the readers of all data sets share: lists of images, files that name images, and error messages."""

import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "Entry",
    "ImageList",
    "Layout",
    "check_layout",
    "few",
    "image_files",
    "is_number",
    "list_images",
    "read_identities",
    "read_labelled_paths",
    "refuse_missing",
    "refuse_unread",
]

_SUFFIXES: Final = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")


class ImageList(NamedTuple):
    """Images of a data set, in an order that its reader tells."""

    paths: tuple[Path, ...]
    identities: NDArray[np.int64]  # (N,)
    cameras: NDArray[np.int64]  # (N,), from 1; 0 where it is not known
    numbers: NDArray[np.int64]  # (N,), from 1, of the image inside its identity and camera
    modalities: NDArray[np.int64]  # (N,), `modinv.VISIBLE` or `modinv.INFRARED`


class Entry(NamedTuple):
    """One image of a list."""

    path: Path
    identity: int
    camera: int
    number: int
    modality: int


class Layout(NamedTuple):
    """What a data set is called, what its folder holds, and where one gets it."""

    name: str
    content: str  # folders and files, with their counts
    source: str  # where the data set is applied for


def list_images(entries: Iterable[Entry]) -> ImageList:
    """Turn entries into columns of int64, in their order."""
    entries = tuple(entries)
    columns = np.array([entry[1:] for entry in entries], dtype=np.int64).reshape(-1, 4)
    return ImageList(tuple(entry.path for entry in entries), *(np.ascontiguousarray(column) for column in columns.T))


def image_files(folder: Path) -> list[Path]:
    """List the image files of a folder, which need not exist, by name; no hidden one, as ``._0001.jpg`` of macOS is."""
    files = folder.iterdir() if folder.is_dir() else iter(())
    return sorted(file for file in files if file.suffix.lower() in _SUFFIXES and not file.name.startswith("."))


def check_layout(root: Path, layout: Layout, names: Sequence[str]) -> None:
    """Raise a FileNotFoundError unless a folder holds what it must: what was expected, and what was found."""
    expected = f"expected {layout.content} of {layout.name} (to be applied for at {layout.source})"
    if not root.is_dir():
        raise FileNotFoundError(f"{root} is not a folder: {expected}.")
    missing = [name for name in names if not (root / name).exists()]
    if missing:
        raise FileNotFoundError(
            f"{root} is not laid out as {layout.name}: {expected}, found {few(_names(root))}; "
            f"{', '.join(missing)} missing."
        )


def few(items: Sequence[object]) -> str:
    """Name the first eight of many things, and how many more there are."""
    shown = ", ".join(map(str, items[:8])) or "nothing"
    return shown + (f" and {len(items) - 8:,} more" if len(items) > 8 else "")


def refuse_missing(missing: Sequence[Path], named_by: str) -> None:
    """Raise a FileNotFoundError if images are missing: how many, the first of them, and what is there instead."""
    if missing:
        folder = next(parent for parent in missing[0].parents if parent.is_dir())
        raise FileNotFoundError(
            f"{len(missing):,} images that {named_by} are missing: {few(missing)}; {folder} holds "
            f"{few(_names(folder))}: copy them from the data set again, or spell the names as the folders do."
        )


def refuse_unread(folder: Path, beginning: str, read: str) -> None:
    """Refuse folders that look like those of cameras or identities, but whose images would be left out.

    Args:
        folder: where to look; hidden folders are passed over.
        beginning: of names that are meant, where a number follows; a regular expression, capitals do not matter.
        read: regular expression of the names that are read.
    """
    with os.scandir(folder) as entries:
        names = sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith("."))
    meant = [name for name in names if re.match(rf"{beginning}[^a-z]*\d", name, re.IGNORECASE)]
    if strange := [name for name in meant if not re.fullmatch(read, name)]:
        raise ValueError(
            f"{folder} has {len(strange):,} folders that would not be read: {few(strange)}; name a camera like "
            "cam1 and an identity like 0001, or move the folders away."
        )


def read_identities(file: Path) -> list[int]:
    """Read the identities of a file such as ``exp/train_id.txt``, one comma-separated line: ascending, each once."""
    text = file.read_text(encoding="utf-8-sig", errors="replace")
    words = [word.strip() for word in text.replace("\n", ",").split(",") if word.strip()]
    if not all(map(is_number, words)):
        raise ValueError(
            f"{file} must hold identities on one line such as 1,2,10, but begins with {text[:40]!r}: "
            "copy the file from the data set again."
        )
    return sorted({int(word) for word in words})


def read_labelled_paths(root: Path, name: str) -> list[tuple[Path, int]]:
    """Read a file below the folder `root` whose lines are ``path label``; the paths need not exist."""
    file = root / name
    lines = file.read_text(encoding="utf-8-sig", errors="replace").splitlines()
    pairs = [line.strip().rsplit(maxsplit=1) for line in lines if line.strip()]
    wrong = [
        " ".join(pair) for pair in pairs if len(pair) < 2 or not is_number(pair[1]) or pair[0].startswith(("/", "\\"))
    ]
    if wrong or not pairs:
        raise ValueError(
            f"{file} must hold lines such as 'folder/image.jpg 12', but "
            f"{f'has {wrong[0][:80]!r}' if wrong else 'is empty'}: copy the file from the data set again."
        )
    # Some of these files were written under Windows.
    return [(root / path.replace("\\", "/"), int(label)) for path, label in pairs]


def is_number(text: str) -> bool:
    """Tell whether a text is made of the digits 0 to 9 alone, and is a number that 64 bits can hold."""
    return text.isascii() and text.isdecimal() and len(text) < 19


def _names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())

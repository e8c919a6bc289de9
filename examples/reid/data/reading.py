"""Finds and reads a data set by its name; a process reads it once, however many models it trains."""

import hashlib
import os
import sys
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from reid.data import llcm, regdb
from reid.data.dataset import Dataset, load_dataset
from reid.data.listing import Listing, list_llcm, list_regdb, list_sysu
from reid.protocols import Direction, GalleryChoice, Mode, Roles

__all__ = ["DataSetName", "Source", "describe_source", "list_source", "read_source"]

DataSetName = Literal["sysu", "regdb", "llcm"]

# RegDB and LLCM have no validation identities of their own: one in five of those to train on is taken.
_VALIDATION_SHARE = 5


class Source(NamedTuple):
    """A data set and its protocol."""

    root: Path
    """Its folder."""
    data_set: DataSetName = "sysu"
    gallery: GalleryChoice = "official"
    """Of SYSU-MM01, as the next two."""
    mode: Mode = "all"
    shots: int = 1
    split: int = 1
    """Of RegDB."""
    direction: Direction = "visible-to-infrared"
    """Of RegDB and LLCM."""
    roles: Roles = "named"
    """Of LLCM."""
    validate: bool = False
    """Whether some of the training identities are held out to validate on."""


def describe_source(source: Source) -> dict[str, Any]:
    """Name what determines the numbers, in JSON values: the images by what they are, wherever their folder lies."""
    names = {"sysu": ("gallery", "mode", "shots"), "regdb": ("split", "direction"), "llcm": ("direction", "roles")}
    chosen = ("data_set", *names[source.data_set], "validate")
    return {"files": _fingerprint(source), **{name: getattr(source, name) for name in chosen}}


@lru_cache(maxsize=1)
def list_source(source: Source) -> Listing:
    """List the images of a data set with its protocol; none is read yet."""
    root = source.root
    if source.data_set == "sysu":
        part: Literal["train", "trainval"] = "train" if source.validate else "trainval"
        return list_sysu(root, gallery=source.gallery, mode=source.mode, shots=source.shots, train=part)
    if source.data_set == "regdb":
        images = regdb.read_images(root, source.split, "train")
        held_out = _share(images.identities) if source.validate else 0
        return list_regdb(root, source.split, source.direction, validation=held_out)
    held_out = _share(llcm.read_images(root, "train").identities) if source.validate else 0
    return list_llcm(root, source.direction, source.roles, validation=held_out)


@lru_cache(maxsize=1)
def read_source(source: Source, size: tuple[int, int], cache: Path | None) -> Dataset:
    """Read the images of a data set, and with that find out whether they all can be read.

    Args:
        source: see there.
        size: (height, width) to which images are resized.
        cache: folder for the decoded images; None: they stay in memory.

    Returns:
        The data set; nobody writes into it.
    """
    speaks = os.environ.get("RANK", "0") == "0"  # of the processes that torchrun starts, the first one
    return load_dataset(list_source(source), size, cache=cache, progress=speaks and sys.stderr.isatty())


@lru_cache(maxsize=1)
def _fingerprint(source: Source) -> str:
    """Hash names, labels and lengths of all files, and the galleries: whoever copies the folder changes nothing."""
    listing, digest = list_source(source), hashlib.sha256()
    parts = [listing.train, *(held.images for held in (listing.test, listing.validation) if held)]
    for images in parts:
        for path, *labels in zip(*images, strict=True):
            digest.update(f"{os.path.relpath(path, source.root)} {path.stat().st_size} {labels}\n".encode())
    for gallery in listing.test.trials.galleries:
        digest.update(gallery.tobytes())
    return f"{sum(len(images.paths) for images in parts):,} images, SHA-256 {digest.hexdigest()[:16]}"


def _share(identities: np.ndarray[Any, Any]) -> int:
    return max(1, len(np.unique(identities)) // _VALIDATION_SHARE)

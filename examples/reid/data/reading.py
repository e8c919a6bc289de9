"""Finds and reads a data set by its name; a process reads it once, however many models it trains."""

import hashlib
import os
import sys
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from reid.data.dataset import Dataset, load_dataset
from reid.data_sets import DATA_SETS
from reid.data_sets.listing import Listing

__all__ = ["Source", "describe_source", "list_source", "read_source"]


class Source(NamedTuple):
    """A data set and its protocol."""

    root: Path  # its folder
    data_set: str = "sysu"  # a name in DATA_SETS
    options: Any = DATA_SETS["sysu"].options  # of its protocol, see DataSet.options
    validate: bool = False  # whether some of the training identities are held out to validate on


def describe_source(source: Source) -> dict[str, Any]:
    """Name what determines the numbers, as JSON values; the images by a hash, not by their folder."""
    chosen = {"data_set": source.data_set, **source.options._asdict(), "validate": source.validate}
    return {"files": _fingerprint(source), **chosen}


@lru_cache(maxsize=1)
def list_source(source: Source) -> Listing:
    """List the images of a data set with its protocol; none is read yet."""
    return DATA_SETS[source.data_set].list(source.root, source.options, source.validate)


@lru_cache(maxsize=1)
def read_source(source: Source, size: tuple[int, int], cache: Path | None) -> Dataset:
    """Read the images of a data set (see `load_dataset`), and so find out whether they all can be read."""
    speaks = os.environ.get("RANK", "0") == "0"  # of the processes that torchrun starts, the first one
    return load_dataset(list_source(source), size, cache=cache, progress=speaks and sys.stderr.isatty())


@lru_cache(maxsize=1)
def _fingerprint(source: Source) -> str:
    """Hash names, labels and lengths of all files, and the galleries; a copy of the folder has the same hash."""
    listing, digest = list_source(source), hashlib.sha256()
    parts = [listing.train, *(held.images for held in (listing.test, listing.validation) if held)]
    for images in parts:
        for path, *labels in zip(*images, strict=True):
            digest.update(f"{os.path.relpath(path, source.root)} {path.stat().st_size} {labels}\n".encode())
    for gallery in listing.test.trials.galleries:
        digest.update(gallery.tobytes())
    return f"{sum(len(images.paths) for images in parts):,} images, SHA-256 {digest.hexdigest()[:16]}"

"""Keeps decoded, resized images in a file that is mapped into memory, so that the next start reads no image.

A cache file holds the bytes of the images in order, and behind them the fingerprint of what they were made from.
`write_parts` writes it, so there is either no file under the name or a whole one, and processes that make the same
cache at once do not disturb each other.
"""

import hashlib
import secrets
import shutil
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Final

import numpy as np
import PIL
import torch
from torch import Tensor

from reid.data.images import RESAMPLING, decode_images, load_images
from reid.whole_file import write_parts

__all__ = ["load_cached_images"]

_VERSION: Final = 2  # count up whenever the file is laid out, or an image decoded, in another way


def load_cached_images(paths: Sequence[Path], size: tuple[int, int], folder: Path, *, progress: bool = True) -> Tensor:
    """Map decoded, resized images into memory; where no cache fits them, read the images and write it first.

    A cache fits when it is of the same paths, size, resampling and decoder, and no file has changed its length or
    its time since. One that does not is replaced. Caches of other sizes and lists stay until they are deleted.

    Args:
        paths, size, progress: see `load_images`, which returns the same. Writing into it does not change the cache.
        folder: of the cache files, made where it is missing; 3 N H W bytes are written into it.

    Raises:
        ImageError, ValueError: as `load_images`.
        OSError: when the disk is full, or the folder cannot be written into.
    """
    if not paths:
        return load_images(paths, size, progress=progress)
    shape = (len(paths), 3, *size)
    file = folder / f"images-{_key(paths, size)}.cache"
    fingerprint = _fingerprint(paths)
    if not _fits(file, int(np.prod(shape)), fingerprint):
        _write(file, paths, size, fingerprint, progress)
    # Copy on write: torch wants memory that could be written into, and the file must not change.
    return torch.from_numpy(np.memmap(file, dtype=np.uint8, mode="c", shape=shape))


def _key(paths: Sequence[Path], size: tuple[int, int]) -> str:
    names = "\n".join(str(path.absolute()) for path in paths)
    return hashlib.sha256(f"{size}\n{names}".encode(errors="surrogateescape")).hexdigest()[:20]


def _fingerprint(paths: Sequence[Path]) -> bytes:
    digest = hashlib.sha256(f"{_VERSION} {RESAMPLING.name} {PIL.__version__}".encode())
    for path in paths:
        # A missing file fits no cache, and is named with all others when the images are read.
        state = path.stat() if path.is_file() else None
        told = secrets.token_hex() if state is None else f"{state.st_size} {state.st_mtime_ns}"
        digest.update(f"\n{path.absolute()} {told}".encode(errors="surrogateescape"))
    return digest.digest()


def _fits(file: Path, length: int, fingerprint: bytes) -> bool:
    if not file.is_file() or file.stat().st_size != length + len(fingerprint):
        return False
    with file.open("rb") as opened:
        opened.seek(length)
        return opened.read() == fingerprint


def _write(file: Path, paths: Sequence[Path], size: tuple[int, int], fingerprint: bytes, progress: bool) -> None:
    needed = 3 * size[0] * size[1] * len(paths)
    images = decode_images(paths, size, progress=progress)
    file.parent.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(file.parent).free
    if free < needed:
        raise OSError(
            f"The image cache needs {needed / 1e9:.2f} GB in {file.parent}, but {free / 1e9:.2f} GB are free: make "
            "room, name another folder, or do without a cache."
        )
    # Written in order: a full disk under a mapped file would end the process.
    write_parts(file, chain((np.ascontiguousarray(image).data for image in images), [fingerprint]))

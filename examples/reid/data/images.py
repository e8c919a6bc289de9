"""Decodes image files into bytes of one size, in threads, and names all files at once that are no images."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor
from tqdm import tqdm

from reid.data_sets.layout import few
from reid.threads import map_in_threads

__all__ = ["RESAMPLING", "Failure", "ImageError", "decode_images", "load_images"]

RESAMPLING: Final = Image.Resampling.BILINEAR


class Failure(NamedTuple):
    """A file that cannot be decoded."""

    path: Path
    reason: str


class ImageError(ValueError):
    """Some files are missing or are no images; the message counts them and names the first."""

    def __init__(self, failures: Sequence[Failure]) -> None:
        super().__init__(failures)  # as the argument, so that the error can travel between processes
        self.failures = tuple(failures)

    def __str__(self) -> str:
        names = few([f"{failure.path} ({failure.reason})" for failure in self.failures])
        return (
            f"{len(self.failures):,} image files cannot be read: {names}; copy those that are missing or damaged from "
            "the data set again."
        )


def load_images(paths: Sequence[Path], size: tuple[int, int], *, progress: bool = True) -> Tensor:
    """Decode and resize N images to ``(N, 3, H, W)`` of dtype uint8.

    Gray images get three equal channels, transparency is left out, and of several frames the first is taken. Images are
    turned as their EXIF orientation says. Gray images of 16 or 32 bits are refused: which part of their range is to be
    seen, their owner knows.

    Raises:
        ImageError: when files are missing or no images; they are counted and the first are named.
        ValueError: when the size, (height, width) in pixels, is not positive.
    """
    decoded = decode_images(paths, size, progress=progress)
    images = torch.empty((len(paths), 3, *size), dtype=torch.uint8)
    for row, image in enumerate(decoded):
        images[row] = torch.from_numpy(image)
    return images


def decode_images(
    paths: Sequence[Path], size: tuple[int, int], *, progress: bool = True
) -> Iterator[NDArray[np.uint8]]:
    """Decode and resize images one by one, ``(3, H, W)`` each; see `load_images`. Failures are raised at the end."""
    height, width = size
    if height < 1 or width < 1:
        raise ValueError(f"size must be a positive (height, width), but is {size}: give the size in pixels.")
    return _decode_all(paths, size, progress)


def _decode_all(paths: Sequence[Path], size: tuple[int, int], progress: bool) -> Iterator[NDArray[np.uint8]]:
    failures: list[Failure] = []
    # Pillow decodes outside of the interpreter's lock.
    decoded = map_in_threads(lambda path: _decode(path, size), paths)
    for image in tqdm(decoded, "reading images", len(paths), unit="image", disable=not progress):
        if isinstance(image, Failure):
            failures.append(image)
        else:
            yield image
    if failures:
        raise ImageError(failures)


def _decode(path: Path, size: tuple[int, int]) -> NDArray[np.uint8] | Failure:
    try:
        with Image.open(path) as file:
            if file.mode[0] in "IF":  # Pillow would cut the values off at 255
                return Failure(path, f"more than 8 bits a pixel, mode {file.mode}: scale its values to 0 … 255")
            image = ImageOps.exif_transpose(file).convert("RGB")
    except Exception as error:  # decoders raise anything on bytes that are no image
        return Failure(path, _reason(error))
    if image.size != (size[1], size[0]):
        image = image.resize((size[1], size[0]), RESAMPLING)
    pixels: NDArray[np.uint8] = np.array(image, dtype=np.uint8).transpose(2, 0, 1)  # (3, H, W)
    return pixels


def _reason(error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return "missing"
    if isinstance(error, UnidentifiedImageError):  # its message repeats the path
        return "no image"
    return getattr(error, "strerror", None) or str(error) or type(error).__name__

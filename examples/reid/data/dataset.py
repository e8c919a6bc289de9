"""A data set in memory: what training reads, and what the protocol asks for at test time."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from reid.data.image_cache import load_cached_images
from reid.data.images import ImageError, load_images
from reid.data_sets.layout import ImageList
from reid.data_sets.listing import Listing
from reid.protocols import Trials

__all__ = ["Dataset", "HeldOutSet", "TrainingSet", "load_dataset"]


class TrainingSet(NamedTuple):
    """Images, and which person and modality each one shows."""

    images: Tensor  # (N, 3, H, W) uint8
    labels: Tensor  # (N,) int64, from 0 without gaps
    modalities: Tensor  # (N,) int64
    num_identities: int


class HeldOutSet(NamedTuple):
    """Images, and the trials of the protocol as indices into them."""

    images: Tensor  # (N, 3, H, W) uint8
    modalities: Tensor  # (N,) int64
    trials: Trials


class Dataset(NamedTuple):
    """The parts of a data set; no two of them have an identity in common."""

    train: TrainingSet
    test: HeldOutSet
    validation: HeldOutSet | None = None


def load_dataset(
    listing: Listing, size: tuple[int, int], *, cache: Path | None = None, progress: bool = True
) -> Dataset:
    """Read all images of a listing: at 288 x 144 those of SYSU-MM01 are 4.2 GB and 1.3 GB for the test.

    Args:
        listing: of any data set.
        size: (height, width) to which images are resized.
        cache: folder for decoded images, see `load_cached_images`. Default: none, the images are kept in memory.
        progress: whether to show progress bars.

    Raises:
        ImageError, OSError: as `load_cached_images`, for the images of all parts at once.
    """
    parts = [listing.train, listing.test.images] + ([listing.validation.images] if listing.validation else [])
    images = _load(parts, size, cache, progress)
    known, labels = np.unique(listing.train.identities, return_inverse=True)
    modalities = [torch.from_numpy(part.modalities) for part in parts]
    return Dataset(
        train=TrainingSet(images[0], torch.from_numpy(labels.astype(np.int64)), modalities[0], len(known)),
        test=HeldOutSet(images[1], modalities[1], listing.test.trials),
        validation=HeldOutSet(images[2], modalities[2], listing.validation.trials) if listing.validation else None,
    )


def _load(parts: list[ImageList], size: tuple[int, int], cache: Path | None, progress: bool) -> list[Tensor]:
    results = [_load_part(part, size, cache, progress) for part in parts]
    failures = [failure for result in results if isinstance(result, ImageError) for failure in result.failures]
    if failures:
        raise ImageError(failures)
    return [result for result in results if isinstance(result, Tensor)]


def _load_part(part: ImageList, size: tuple[int, int], cache: Path | None, progress: bool) -> Tensor | ImageError:
    try:
        if cache is None:
            return load_images(part.paths, size, progress=progress)
        return load_cached_images(part.paths, size, cache, progress=progress)
    except ImageError as error:  # raised when the failures of all parts are known
        return error

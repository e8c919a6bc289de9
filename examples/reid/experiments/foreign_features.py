"""Saves what any network makes of a data set's test images, for ``evaluate.py --features``."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from reid.data.images import load_images
from reid.data.reading import Source, list_source
from reid.data.transforms import normalize
from reid.data_sets import DATA_SETS

__all__ = ["save_test_features"]


@torch.no_grad()
def save_test_features(
    file: Path | str,
    embed: Callable[[Tensor, Tensor], Tensor],
    root: Path | str,
    data_set: str,
    *,
    size: tuple[int, int] = (288, 144),
    batch_size: int = 128,
    **options: Any,
) -> Path:
    """Embed the test images of a data set with a network of yours and write them with their labels, as ``.npz``.

    Args:
        file: where to write; ``.npz`` is added if it is missing.
        embed: from images (B, 3, H, W), float32 and normalised by the statistics of ImageNet, and modalities (B,), 0
            visible and 1 infrared, both on the CPU, to features (B, D). A batch may show both modalities. Put the
            network into evaluation mode before.
        root: folder of the data set.
        data_set: ``"sysu"``, ``"regdb"`` or ``"llcm"``.
        size: height and width to which images are resized.
        batch_size: images at a time.
        options: of the protocol, such as ``split=2`` of RegDB.

    Returns:
        The path of the file.

    Raises:
        OSError, ValueError: one sentence, when the data set is not what it should be.
    """
    known = DATA_SETS[data_set]
    listing = list_source(Source(Path(root), data_set, (known.without_exp or known.options)._replace(**options)))
    listed = listing.test.images
    images, modalities = load_images(listed.paths, size), torch.from_numpy(listed.modalities)
    batches = zip(images.split(batch_size), modalities.split(batch_size), strict=True)
    features = torch.cat([embed(normalize(some), which).float().cpu() for some, which in batches])  # (N, D)
    labels = {name: getattr(listed, name) for name in ("identities", "cameras", "numbers", "modalities")}
    path = Path(file) if str(file).endswith(".npz") else Path(f"{file}.npz")
    np.savez(path, features=features.numpy(), **labels)
    return path

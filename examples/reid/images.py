"""Decodes image files into one tensor of bytes, all of one size, which is kept in memory while training."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from tqdm import tqdm

__all__ = ["load_images"]


def load_images(paths: Sequence[Path], size: tuple[int, int], *, progress: bool = True) -> Tensor:
    """Decode and resize images.

    Args:
        paths: the N files, of any size and mode; gray images get three equal channels.
        size: (height, width) in pixels.
        progress: whether to show a progress bar.

    Returns:
        ``(N, 3, H, W)`` of dtype uint8, in the order of the paths.

    Raises:
        ValueError: when the size is not positive, or a file is no image that can be decoded.
    """
    height, width = size
    if height < 1 or width < 1:
        raise ValueError(f"size must be a positive (height, width), but is {size}: give the size in pixels.")
    images = torch.empty((len(paths), 3, height, width), dtype=torch.uint8)
    # Pillow decodes outside of the interpreter's lock, so threads use all cores.
    with ThreadPoolExecutor() as pool:
        decoded = pool.map(lambda path: _decode(path, height, width), paths)
        bar = tqdm(decoded, total=len(paths), desc="reading images", unit="image", disable=not progress)
        for row, image in enumerate(bar):
            images[row] = torch.from_numpy(image)
    return images


def _decode(path: Path, height: int, width: int) -> NDArray[np.uint8]:
    try:
        with Image.open(path) as file:
            image = file.convert("RGB")
    except OSError as error:
        raise ValueError(f"{path} must be an image file, but cannot be decoded ({error}): replace it.") from error
    if image.size != (width, height):
        image = image.resize((width, height), Image.Resampling.BILINEAR)
    pixels: NDArray[np.uint8] = np.array(image, dtype=np.uint8).transpose(2, 0, 1)  # (3, H, W)
    return pixels

"""Turns bytes into what a network takes: augmented while training, only normalized at test time.

The augmentation is the field's: pad and crop, flip, gray for some of the visible images, erase a rectangle.
All images of a batch are treated at once, each with random numbers of its own.
"""

from typing import Final, NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from modinv import VISIBLE

__all__ = ["Augmentation", "augment", "normalize"]

# Mean and standard deviation of ImageNet's pixels, as the pretrained backbones expect them.
_MEAN: Final = (0.485, 0.456, 0.406)
_STD: Final = (0.229, 0.224, 0.225)
_LUMA: Final = (0.299, 0.587, 0.114)  # ITU-R BT.601, as in JPEG


class Augmentation(NamedTuple):
    """How strongly training images are altered.

    Args:
        padding: black pixels around an image before it is cropped at a random place. The field's 10 pixels at
            288 x 144 are 2 at 64 x 32.
        flip: probability of a horizontal flip.
        gray: probability that a visible image loses its colors; infrared images have none to lose.
        erase: probability that a rectangle is replaced by the mean color.
        erase_area: least and largest share of the image in the rectangle (Zhong et al., "Random erasing data
            augmentation", AAAI 2020).
        erase_ratio: least and largest height / width of the rectangle, from the same paper.
    """

    padding: int = 2
    flip: float = 0.5
    gray: float = 0.5
    erase: float = 0.5
    erase_area: tuple[float, float] = (0.02, 0.4)
    erase_ratio: tuple[float, float] = (0.3, 1 / 0.3)


def normalize(images: Tensor) -> Tensor:
    """Scale bytes to zero mean and unit variance by the statistics of ImageNet.

    Args:
        images: ``(N, 3, H, W)`` of dtype uint8.

    Returns:
        ``(N, 3, H, W)`` of dtype float32.

    Raises:
        ValueError: when the images have another shape or dtype.
    """
    _check(images)
    return _standardize(images.float() / 255)


def augment(images: Tensor, modalities: Tensor, options: Augmentation, generator: torch.Generator) -> Tensor:
    """Alter and normalize a training batch.

    The number of random numbers drawn does not depend on the options, so runs that differ in one option see
    the same alterations for the rest.

    Args:
        images: ``(N, 3, H, W)`` of dtype uint8.
        modalities: ``(N,)``, `modinv.VISIBLE` or `modinv.INFRARED`.
        options: how strongly.
        generator: where the random numbers come from; it may live on another device than the images.

    Returns:
        ``(N, 3, H, W)`` of dtype float32, row i made from row i.

    Raises:
        ValueError: when the images have another shape or dtype, modalities another length, or an option is
            out of range.
    """
    _check(images)
    _check_options(images, modalities, options)
    draws = torch.rand((9, len(images)), generator=generator, device=generator.device).to(images.device)
    cropped = _crop_and_flip(images, options.padding, draws[0], draws[1], draws[2] < options.flip)
    gray = (draws[3] < options.gray) & (modalities.to(images.device) == VISIBLE)
    pixels = _standardize(_decolor(cropped.float() / 255, gray))
    erased = _rectangles(pixels.shape[2:], options, draws[5:]) & (draws[4] < options.erase)[:, None, None]
    return pixels.masked_fill(erased[:, None], 0.0)  # zero is the mean color after normalization


def _standardize(pixels: Tensor) -> Tensor:
    return (pixels - pixels.new_tensor(_MEAN).view(3, 1, 1)) / pixels.new_tensor(_STD).view(3, 1, 1)


def _crop_and_flip(images: Tensor, padding: int, down: Tensor, across: Tensor, flip: Tensor) -> Tensor:
    """Cut a window of the old size out of each padded image, mirrored where `flip` says so."""
    height, width = images.shape[2:]
    padded = F.pad(images, (padding, padding, padding, padding))
    places = 2 * padding + 1
    rows = (down * places).long()[:, None] + torch.arange(height, device=images.device)  # (N, H)
    columns = torch.arange(width, device=images.device)
    columns = torch.where(flip[:, None], columns.flip(0), columns)  # (N, W)
    columns = columns + (across * places).long()[:, None]
    batch = torch.arange(len(images), device=images.device)[:, None, None]
    window = padded.permute(0, 2, 3, 1)[batch, rows[:, :, None], columns[:, None, :]]  # (N, H, W, 3)
    return window.permute(0, 3, 1, 2)


def _decolor(pixels: Tensor, gray: Tensor) -> Tensor:
    luma = (pixels * pixels.new_tensor(_LUMA).view(3, 1, 1)).sum(dim=1, keepdim=True)  # (N, 1, H, W)
    return torch.where(gray[:, None, None, None], luma, pixels)


def _rectangles(size: torch.Size, options: Augmentation, draws: Tensor) -> Tensor:
    """Mark one random rectangle in each image, ``(N, H, W)``."""
    height, width = size
    least, largest = options.erase_area
    area = (least + (largest - least) * draws[0]) * height * width
    narrow, tall = torch.tensor(options.erase_ratio, device=draws.device).log()
    ratio = (narrow + (tall - narrow) * draws[1]).exp()
    rows = (area * ratio).sqrt().round().clamp(1, height)
    columns = (area / ratio).sqrt().round().clamp(1, width)
    # As many places as fit, each with the same probability.
    top = (draws[2] * (height - rows + 1)).floor()
    left = (draws[3] * (width - columns + 1)).floor()
    y = torch.arange(height, device=draws.device)
    x = torch.arange(width, device=draws.device)
    inside_rows = (y >= top[:, None]) & (y < (top + rows)[:, None])  # (N, H)
    inside_columns = (x >= left[:, None]) & (x < (left + columns)[:, None])  # (N, W)
    inside: Tensor = inside_rows[:, :, None] & inside_columns[:, None, :]
    return inside


def _check(images: Tensor) -> None:
    if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] != 3:
        raise ValueError(
            f"images must be uint8 (N, 3, H, W), but are {images.dtype} of shape {tuple(images.shape)}: "
            "pass them as load_images gives them."
        )


def _check_options(images: Tensor, modalities: Tensor, options: Augmentation) -> None:
    if modalities.shape != images.shape[:1]:
        raise ValueError(
            f"modalities must have shape ({len(images)},), but have {tuple(modalities.shape)}: "
            "index both with the same rows."
        )
    for name in ("flip", "gray", "erase"):
        if not 0 <= getattr(options, name) <= 1:
            raise ValueError(
                f"{name} must be a probability, but is {getattr(options, name)}: give a number from 0 to 1."
            )
    if options.padding < 0:
        raise ValueError(f"padding must not be negative, but is {options.padding}: give a number of pixels.")
    (least, largest), (narrow, tall) = options.erase_area, options.erase_ratio
    if not (0 < least <= largest <= 1 and 0 < narrow <= tall):
        raise ValueError(
            "erase_area must be two ascending shares of 1 and erase_ratio two ascending positive numbers, "
            f"but are {options.erase_area} and {options.erase_ratio}: exchange or correct them."
        )

"""Turns bytes into what a network takes: augmented while training, only normalized at test time.

The augmentation is the field's: pad and crop, flip, gray for some of the visible images, erase a rectangle.
All images of a batch are treated at once, each with random numbers of its own. They come from a generator that
the caller holds, so that a training can be resumed and a batch split over processes; kornia's augmentations
take theirs from torch's global state, which is why they are not used.
"""

import math
from collections.abc import Sequence
from itertools import accumulate
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
        exchange: probability that one channel of a visible image, each as likely, becomes all three (channel
            exchange); CAJ, which trains on two copies of every visible image, always does so with the second.
        adaptive_gray: probability that a visible image becomes gray in one of four ways, each as likely: one of
            its channels, or `gray` (channel-adaptive gray). An image loses its colors in one way at most, so
            the three probabilities add up to 1 at most.
        erase_value: what the three channels of a rectangle get, after normalization; zero is the mean color. The
            channel-level erasing of CAJ's code has (0.4914, 0.4822, 0.4465).

    Reference:
        Ye, Ruan, Du, Shou, "Channel augmented joint learning for visible-infrared recognition" (CAJ), ICCV 2021,
        section 3.1 and its code; that the four grays are equally likely is our choice.
    """

    padding: int = 2
    flip: float = 0.5
    gray: float = 0.5
    erase: float = 0.5
    erase_area: tuple[float, float] = (0.02, 0.4)
    erase_ratio: tuple[float, float] = (0.3, 1 / 0.3)
    exchange: float = 0.0
    adaptive_gray: float = 0.0
    erase_value: tuple[float, float, float] = (0.0, 0.0, 0.0)


def normalize(images: Tensor) -> Tensor:
    """Scale uint8 ``(N, 3, H, W)`` to float32 of zero mean and unit variance by the statistics of ImageNet."""
    _check(images)
    return _standardize(images.float() / 255)


def augment(
    images: Tensor,
    modalities: Tensor,
    options: Augmentation,
    generator: torch.Generator,
    *,
    rows: Sequence[int] | slice | None = None,
    total: int | None = None,
) -> Tensor:
    """Alter and normalize a training batch, or the rows of it that this process has; row i comes from row i.

    The random numbers of the whole batch are drawn whatever the rows and the options are: a row is altered in the
    same way however a batch is split, and runs that differ in one option see the same alterations for the rest.

    Args:
        images: ``(N, 3, H, W)`` of dtype uint8.
        modalities: ``(N,)``, `modinv.VISIBLE` or `modinv.INFRARED`.
        options: how strongly.
        generator: where the random numbers come from; it may live on another device than the images.
        rows: where the N images stand in the batch. Default: they are the batch.
        total: number of images in the batch, wherever they are; needed with `rows` only.

    Raises:
        ValueError: when the images have another shape or dtype, modalities or rows another length, or an option
            is out of range.
    """
    _check(images)
    _check_options(images, modalities, options)
    draws = _draw(len(images), rows, total, generator).to(images.device)  # (9, N)
    cropped = _crop_and_flip(images, options.padding, draws[0], draws[1], draws[2] < options.flip)
    mixtures = _mixtures(draws[3], options) * (modalities.to(images.device) == VISIBLE)[:, None]
    pixels = _standardize(_decolor(cropped.float() / 255, mixtures))
    erased = _rectangles(pixels.shape[2:], options, draws[5:]) & (draws[4] < options.erase)[:, None, None]
    return torch.where(erased[:, None], pixels.new_tensor(options.erase_value).view(3, 1, 1), pixels)


def _draw(count: int, rows: Sequence[int] | slice | None, total: int | None, generator: torch.Generator) -> Tensor:
    size = count if total is None else total
    draws = torch.rand((9, size), generator=generator, device=generator.device)
    if rows is None and size == count:
        return draws
    chosen = torch.arange(size)[rows if isinstance(rows, slice) else torch.tensor(rows or [], dtype=torch.long)]
    if total is None or len(chosen) != count:
        raise ValueError(
            f"rows and total must say where each of the {count} images stands in the batch, but are {rows} and "
            f"{total}: pass both, with one row per image."
        )
    return draws[:, chosen.to(draws.device)]


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


def _mixtures(lots: Tensor, options: Augmentation) -> Tensor:
    """Weigh the channels of each image that loses its colors, ``(N, 3)``; a row of zeros lets it keep them."""
    # One number between 0 and 1 decides whether and how, so that no option needs more of them than another.
    channels = torch.eye(3).tolist()
    ways = [_LUMA, *channels, *channels, _LUMA, (0.0, 0.0, 0.0)]
    shares = [options.gray] + [options.exchange / 3] * 3 + [options.adaptive_gray / 4] * 4
    ends = torch.tensor(list(accumulate(shares)), device=lots.device)
    return torch.tensor(ways, device=lots.device)[torch.bucketize(lots, ends, right=True)]


def _decolor(pixels: Tensor, mixtures: Tensor) -> Tensor:
    mixed = (pixels * mixtures[:, :, None, None]).sum(dim=1, keepdim=True)  # (N, 1, H, W)
    return torch.where(mixtures.any(dim=1)[:, None, None, None], mixed, pixels)


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
    for name in ("flip", "gray", "erase", "exchange", "adaptive_gray"):
        if not 0 <= getattr(options, name) <= 1:
            raise ValueError(
                f"{name} must be a probability, but is {getattr(options, name)}: give a number from 0 to 1."
            )
    if options.gray + options.exchange + options.adaptive_gray > 1:
        raise ValueError(
            "gray, exchange and adaptive_gray must add up to 1 at most, but are "
            f"{options.gray}, {options.exchange} and {options.adaptive_gray}: lower one of them."
        )
    if len(options.erase_value) != 3 or not all(map(math.isfinite, options.erase_value)):
        raise ValueError(f"erase_value must be three finite numbers, but is {options.erase_value}: give one a channel.")
    if options.padding < 0:
        raise ValueError(f"padding must not be negative, but is {options.padding}: give a number of pixels.")
    (least, largest), (narrow, tall) = options.erase_area, options.erase_ratio
    if not (0 < least <= largest <= 1 and 0 < narrow <= tall):
        raise ValueError(
            "erase_area must be two ascending shares of 1 and erase_ratio two ascending positive numbers, "
            f"but are {options.erase_area} and {options.erase_ratio}: exchange or correct them."
        )

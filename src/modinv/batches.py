"""The batch layouts of the field's code to the one of this library: a modality number for each row."""

from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor

from modinv._checks import check_count, check_floating, check_integers, describe, host_values

__all__ = [
    "INFRARED",
    "VISIBLE",
    "Batch",
    "batch_from_streams",
    "modalities_from_blocks",
    "modalities_from_cameras",
]

VISIBLE = 0
INFRARED = 1


class Batch(NamedTuple):
    """One batch by the data contract; ``loss(*batch)`` is its use."""

    features: Tensor  # (N, D)
    labels: Tensor  # (N,)
    modalities: Tensor  # (N,)


def batch_from_streams(*streams: tuple[Tensor, Tensor]) -> Batch:
    """Join one (features, labels) pair per modality, in the order of the modality numbers.

    Args:
        streams: ``(visible, labels)``, ``(infrared, labels)`` and so on; features (n_m, D), labels (n_m,). A stream
            may be empty.

    Returns:
        The batch: features (N, D), labels (N,), modalities (N,) = 0 for the first stream, 1 for the second, ….

    Raises:
        TypeError, ValueError: if no stream is given, one is no pair, its labels are not one for each row, or the
            streams differ in D or in device.

    Example:
        >>> import torch
        >>> batch = batch_from_streams(
        ...     (torch.zeros(2, 8), torch.tensor([0, 1])), (torch.ones(1, 8), torch.tensor([0]))
        ... )
        >>> batch.modalities.tolist()
        [0, 0, 1]
    """
    if not streams:
        raise ValueError("batch_from_streams needs at least one (features, labels) pair")
    for number, stream in enumerate(streams):
        _check_stream(number, stream, streams[0])
    features = torch.cat([features for features, _ in streams])  # (N, D)
    labels = torch.cat([labels for _, labels in streams])  # (N,)
    numbers = [labels.new_full(labels.shape, number) for number, (_, labels) in enumerate(streams)]
    return Batch(features, labels, torch.cat(numbers))


def modalities_from_blocks(blocks: str, num_rows: int, *, device: torch.device | str | None = None) -> Tensor:
    """Give the modalities of a batch that is made of equal blocks, one letter for each block.

    Wrong, and seldom refused, where the blocks differ in length: only their sum is known here.

    Args:
        blocks: ``v`` for visible and ``i`` for infrared: ``"vi"`` is AGW's ``[visible; infrared]``, ``"vvi"`` CAJ's
            ``[visible; augmented; infrared]``, ``"vivivi"`` three interleaved pairs of blocks as in DEEN.
        num_rows: N, a multiple of the number of blocks.
        device: where the result is made; default: the CPU.

    Returns:
        Modalities (N,).

    Raises:
        TypeError, ValueError: on another letter, no block, rows that are no number or do not divide.

    Example:
        >>> modalities_from_blocks("vvi", 6).tolist()
        [0, 0, 0, 0, 1, 1]
    """
    numbers = {"v": VISIBLE, "i": INFRARED}
    check_count("num_rows", num_rows, least=0)
    if not isinstance(blocks, str) or not blocks or set(blocks) - set(numbers):
        raise ValueError(f"blocks must be a word of the letters 'v' and 'i' such as 'vi' or 'vvi', got {blocks!r}")
    if num_rows % len(blocks):
        raise ValueError(
            f"{num_rows} rows do not divide into the {len(blocks)} equal blocks of {blocks!r}: for blocks of other "
            "lengths join torch.full_like(labels, number) of each, or give the streams to batch_from_streams"
        )
    pattern = torch.tensor([numbers[letter] for letter in blocks], device=device)
    return pattern.repeat_interleave(num_rows // len(blocks))


def modalities_from_cameras(cameras: Tensor, infrared: Iterable[int] = (3, 6)) -> Tensor:
    """Give the modalities of a batch from its camera numbers.

    Args:
        cameras: camera number of each row, integers (N,). Those of SYSU-MM01 count from 1.
        infrared: the infrared cameras; default: those of SYSU-MM01, 3 and 6.

    Returns:
        Modalities (N,).

    Raises:
        TypeError: if the cameras are no tensor of integers.
        ValueError: if they have another shape, or with cameras 3 and 6 count from 0, where the CPU can see it.

    Example:
        >>> import torch
        >>> modalities_from_cameras(torch.tensor([1, 3, 6, 2])).tolist()
        [0, 1, 1, 0]
    """
    check_integers("cameras", cameras)
    if cameras.ndim != 1:
        raise ValueError(f"cameras must have shape (N,), got {describe(cameras)}")
    if isinstance(infrared, str) or not isinstance(infrared, Iterable):
        raise TypeError(f"infrared must be camera numbers such as (3, 6), got {describe(infrared)}")
    numbers = [check_count("an infrared camera", number, least=0) for number in infrared]
    values = host_values(cameras)
    if sorted(numbers) == [3, 6] and values is not None and (values < 1).any():
        raise ValueError(
            f"cameras must count from 1 with infrared {tuple(numbers)} as in SYSU-MM01, got camera {values.min()}: "
            "if yours count from 0, give infrared=(2, 5)"
        )
    return torch.isin(cameras, torch.tensor(numbers, dtype=torch.long, device=cameras.device)).long()


def _check_stream(number: int, stream: tuple[Tensor, Tensor], first: tuple[Tensor, Tensor]) -> None:
    if not isinstance(stream, tuple | list) or len(stream) != 2:
        raise TypeError(f"stream {number} must be a pair (features, labels), got {describe(stream)}")
    features, labels = stream
    check_floating(f"the features of stream {number}", features, shape="(n, D)")
    if features.ndim < 2 or 0 in features.shape[1:]:
        raise ValueError(f"the features of stream {number} must have shape (n, D), got {describe(features)}")
    check_integers(f"the labels of stream {number}", labels)
    if labels.ndim != 1 or labels.shape != features.shape[:1]:
        raise ValueError(
            f"stream {number} has features {tuple(features.shape)} and labels {tuple(labels.shape)}: "
            "expected one label for each row"
        )
    if features.shape[1:] != first[0].shape[1:]:
        raise ValueError(
            f"all streams must have rows of one shape, got {tuple(first[0].shape[1:])} in stream 0 and "
            f"{tuple(features.shape[1:])} in stream {number}"
        )
    if not features.device == labels.device == first[0].device:
        raise ValueError(
            f"all streams must be on one device, got {describe(features)} and labels {describe(labels)} in stream "
            f"{number} beside {first[0].device}"
        )

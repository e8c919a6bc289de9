"""Labels and modalities to cells: which rows share an identity, a modality, or both.

Everything here is integers and comparisons, depends on no feature, and has a shape that the number of rows alone
decides: no ``unique``, no ``nonzero``, so nothing waits for a device and everything compiles. The three converters
at the end turn the batch layouts of the field's code into the one of this library: a modality number for each row.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = [
    "INFRARED",
    "VISIBLE",
    "Batch",
    "batch_from_streams",
    "membership",
    "modalities_from_blocks",
    "modalities_from_cameras",
    "same_identity",
    "same_modality",
]

VISIBLE = 0
INFRARED = 1


class Batch(NamedTuple):
    """One batch by the data contract; ``loss(*batch)`` is its use."""

    features: Tensor  # (N, D)
    labels: Tensor  # (N,)
    modalities: Tensor  # (N,)


def same_identity(labels: Tensor, others: Tensor | None = None) -> Tensor:
    """Return which rows show the same identity, bool (N, N), or as which other rows, bool (N, K).

    Example:
        >>> import torch
        >>> same_identity(torch.tensor([7, 7, 9])).int().tolist()
        [[1, 1, 0], [1, 1, 0], [0, 0, 1]]
    """
    return labels[:, None] == (labels if others is None else others)


def same_modality(modalities: Tensor, others: Tensor | None = None) -> Tensor:
    """Return which rows are of the same modality, bool (N, N), or as which other rows, bool (N, K)."""
    return modalities[:, None] == (modalities if others is None else others)


def membership(modalities: Tensor, num_modalities: int) -> Tensor:
    """Return which rows are of which modality, bool (N, M); a row out of range is of none.

    Example:
        >>> import torch
        >>> membership(torch.tensor([0, 1, 2]), 2).int().tolist()
        [[1, 0], [0, 1], [0, 0]]
    """
    return modalities[:, None] == torch.arange(num_modalities, device=modalities.device)


def batch_from_streams(*streams: tuple[Tensor, Tensor]) -> Batch:
    """Join one (features, labels) pair per modality, in the order of the modality numbers.

    Args:
        streams: ``(visible, labels)``, ``(infrared, labels)`` and so on; features (n_m, D), labels (n_m,). A stream
            may be empty.

    Returns:
        The batch: features (N, D), labels (N,), modalities (N,) = 0 for the first stream, 1 for the second, ….

    Raises:
        ValueError: if no stream is given, or a stream's labels are not one per row.

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
    for number, (features, labels) in enumerate(streams):
        if labels.shape != features.shape[:1]:
            raise ValueError(
                f"stream {number} has features {tuple(features.shape)} and labels {tuple(labels.shape)}: "
                "expected one label for each row"
            )
    features = torch.cat([features for features, _ in streams])  # (N, D)
    labels = torch.cat([labels for _, labels in streams])  # (N,)
    numbers = [labels.new_full(labels.shape, number) for number, (_, labels) in enumerate(streams)]
    return Batch(features, labels, torch.cat(numbers))


def modalities_from_blocks(blocks: str, num_rows: int, *, device: torch.device | str | None = None) -> Tensor:
    """Give the modalities of a batch that is made of equal blocks, one letter for each block.

    Args:
        blocks: ``v`` for visible and ``i`` for infrared: ``"vi"`` is AGW's ``[visible; infrared]``, ``"vvi"`` CAJ's
            ``[visible; augmented; infrared]``, ``"vivivi"`` three interleaved pairs of blocks as in DEEN.
        num_rows: N, a multiple of the number of blocks.
        device: where the result is made; default: the host.

    Returns:
        Modalities (N,).

    Raises:
        ValueError: on another letter, no block, or rows that do not divide.

    Example:
        >>> modalities_from_blocks("vvi", 6).tolist()
        [0, 0, 0, 0, 1, 1]
    """
    numbers = {"v": VISIBLE, "i": INFRARED}
    if not blocks or set(blocks) - set(numbers):
        raise ValueError(f"blocks must be a word of the letters 'v' and 'i' such as 'vi' or 'vvi', got {blocks!r}")
    if num_rows < 0 or num_rows % len(blocks):
        raise ValueError(f"{num_rows} rows do not divide into the {len(blocks)} equal blocks of {blocks!r}")
    pattern = torch.tensor([numbers[letter] for letter in blocks], device=device)
    return pattern.repeat_interleave(num_rows // len(blocks))


def modalities_from_cameras(cameras: Tensor, infrared: Sequence[int] = (3, 6)) -> Tensor:
    """Give the modalities of a batch from its camera numbers.

    Args:
        cameras: camera number of each row, integers (N,).
        infrared: the infrared cameras; default: those of SYSU-MM01, 3 and 6.

    Returns:
        Modalities (N,).

    Raises:
        TypeError: if the cameras are not integers.

    Example:
        >>> import torch
        >>> modalities_from_cameras(torch.tensor([1, 3, 6, 2])).tolist()
        [0, 1, 1, 0]
    """
    if cameras.is_floating_point() or cameras.dtype == torch.bool:
        raise TypeError(f"cameras must be an integer tensor (N,), got {cameras.dtype}")
    return torch.isin(cameras, torch.tensor(list(infrared), device=cameras.device)).long()

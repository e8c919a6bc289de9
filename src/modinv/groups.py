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
    "Groups",
    "batch_from_streams",
    "group_rows",
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


class Groups(NamedTuple):
    """Who belongs together in a batch of N rows and M modalities."""

    same_identity: Tensor  # (N, N) bool
    same_cell: Tensor  # (N, N) bool: same identity and same modality
    membership: Tensor  # (N, M) bool: row i is of modality m


def group_rows(labels: Tensor, modalities: Tensor, num_modalities: int) -> Groups:
    """Compare all rows with each other.

    Args:
        labels: identity of each row, integers (N,).
        modalities: modality of each row, integers (N,) from 0 to ``num_modalities`` - 1.
        num_modalities: M.

    Returns:
        The three tables; a row whose modality is out of range belongs to no modality.

    Example:
        >>> import torch
        >>> groups = group_rows(torch.tensor([7, 7, 9]), torch.tensor([0, 1, 1]), 2)
        >>> groups.same_identity.int().tolist()
        [[1, 1, 0], [1, 1, 0], [0, 0, 1]]
        >>> groups.membership.int().tolist()
        [[1, 0], [0, 1], [0, 1]]
    """
    same_identity = labels[:, None] == labels  # (N, N)
    same_cell = same_identity & (modalities[:, None] == modalities)  # (N, N)
    membership = modalities[:, None] == torch.arange(num_modalities, device=modalities.device)  # (N, M)
    return Groups(same_identity, same_cell, membership)


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

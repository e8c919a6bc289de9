"""Draws training batches of P identities with K images of each in every modality (PK sampling)."""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch.utils.data import Sampler

__all__ = ["CrossModalityPKSampler"]


class CrossModalityPKSampler(Sampler[list[int]]):
    """Give batches of row numbers: the P x K rows of the first modality, then those of the next.

    Within an epoch identities are dealt like cards: all are dealt once before any is dealt again, and a
    batch has no identity twice. So are the images of an identity in a modality; where there are fewer than
    K, all of them are drawn and some again. The blocks of a batch hold the same identities in the same
    order.

    Identities that a modality lacks are left out. Only where fewer than P identities are seen in every
    modality are the others dealt too; these give K rows in the modalities they have, and the batch is that
    much smaller.

    Args:
        labels: ``(N,)`` integers, the identity of each image.
        modalities: ``(N,)`` integers, the modality of each image.
        identities: P, identities per batch. Default: the field's 8.
        images: K, images per identity and modality. Default: the field's 4.
        batches: batches per epoch. Default: as many as show about as many images as the largest modality has.
        seed: of every random number. The batches depend on it and on the epoch alone.

    Raises:
        ValueError: when labels and modalities differ in shape, a number is not positive, or there are fewer
            than P identities.
    """

    def __init__(
        self,
        labels: ArrayLike | torch.Tensor,
        modalities: ArrayLike | torch.Tensor,
        *,
        identities: int = 8,
        images: int = 4,
        batches: int | None = None,
        seed: int = 0,
    ) -> None:
        labels, modalities = np.asarray(labels), np.asarray(modalities)
        _check(labels, modalities, identities, images, batches)
        self.identities = identities
        self.images = images
        self.seed = seed
        self.epoch = 0
        self._modalities = [int(modality) for modality in np.unique(modalities)]
        self._rows = _rows_of_cells(labels, modalities)
        self._pool = _pool(self._rows, self._modalities, identities)
        largest = max(int((modalities == modality).sum()) for modality in self._modalities)
        self._batches = batches if batches is not None else max(1, largest // (identities * images))

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose batches come next.

        Args:
            epoch: any number from 0.
        """
        self.epoch = epoch

    def __len__(self) -> int:
        return self._batches

    def __iter__(self) -> Iterator[list[int]]:
        generator = np.random.default_rng([self.seed, self.epoch])
        identities = _deal(self._pool, self.identities, generator)
        rows = {cell: _deal(rows, self.images, generator) for cell, rows in self._rows.items()}
        for _ in range(self._batches):
            hand = next(identities)
            cells = [(identity, modality) for modality in self._modalities for identity in hand]
            yield [row for cell in cells if cell in rows for row in next(rows[cell])]


def _deal(cards: list[int], count: int, generator: np.random.Generator) -> Iterator[list[int]]:
    """Deal hands of `count` cards for ever.

    Every card is dealt once before any is dealt again, and a hand has no card twice unless there are too few.
    """
    waiting: list[int] = []
    while True:
        hand, waiting = waiting[:count], waiting[count:]
        while len(hand) < count:
            # Cards that the hand holds already go to the bottom of the new deck.
            deck = sorted(generator.permutation(cards).tolist(), key=lambda card: card in hand)
            missing = count - len(hand)
            hand, waiting = hand + deck[:missing], deck[missing:]
        yield hand


def _rows_of_cells(labels: NDArray[np.int64], modalities: NDArray[np.int64]) -> dict[tuple[int, int], list[int]]:
    rows: dict[tuple[int, int], list[int]] = {}
    for row, cell in enumerate(zip(labels.tolist(), modalities.tolist(), strict=True)):
        rows.setdefault(cell, []).append(row)
    return rows


def _pool(cells: dict[tuple[int, int], list[int]], modalities: list[int], least: int) -> list[int]:
    known = sorted({identity for identity, _ in cells})
    complete = [identity for identity in known if all((identity, modality) in cells for modality in modalities)]
    if len(known) < least:
        raise ValueError(f"A batch takes {least} identities, but the data has {len(known)}: lower the number.")
    return complete if len(complete) >= least else known


def _check(
    labels: NDArray[np.int64],
    modalities: NDArray[np.int64],
    identities: int,
    images: int,
    batches: int | None,
) -> None:
    if labels.ndim != 1 or labels.shape != modalities.shape:
        raise ValueError(
            f"labels and modalities must have one value per image, but have shapes {labels.shape} and "
            f"{modalities.shape}: pass two vectors of one length."
        )
    for name, number in {"identities": identities, "images": images, "batches": batches}.items():
        if number is not None and number < 1:
            raise ValueError(f"{name} must be at least 1, but is {number}: give a larger number.")

"""Draws training batches of P identities with K images of each in every modality (PK sampling)."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch.utils.data import Sampler

__all__ = ["CrossModalityPKSampler", "Share"]


class Share(NamedTuple):
    """What one process gets of a batch that several draw together."""

    rows: list[int]  # row numbers in the data, as the sampler gives them
    positions: list[int]  # where these rows stand in the whole batch
    total: int  # number of rows of the whole batch


class CrossModalityPKSampler(Sampler[list[int]]):
    """Give batches of row numbers: the P x K rows of the first modality, then those of the next.

    Within an epoch identities are dealt like cards: all are dealt once before any is dealt again, and a
    batch has no identity twice. So are the images of an identity in a modality; where there are fewer than
    K, all of them are drawn and some again. The blocks of a batch hold the same identities in the same
    order.

    Identities that a modality lacks are left out. Only where fewer than P identities are seen in every
    modality are the others dealt too; these give K rows in the modalities they have, and the batch is that
    much smaller.

    Several processes draw the same batch, and each gives its share: whole identities, as many as the others
    give or one more. Only where there are more processes than identities is one parted, by its images.

    Args:
        labels: ``(N,)`` integers, the identity of each image.
        modalities: ``(N,)`` integers, the modality of each image.
        identities: P, identities per batch. Default: the field's 8.
        images: K, images per identity and modality. Default: the field's 4.
        batches: batches per epoch. Default: as many as show about as many images as the largest modality has.
        seed: of every random number. The batches depend on it and on the epoch alone.
        rank: number of this process, from 0.
        world_size: number of processes.

    Raises:
        ValueError: when labels and modalities differ in shape, a number is out of range, or there are fewer
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
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        labels, modalities = np.asarray(labels), np.asarray(modalities)
        _check_data(labels, modalities)
        _check_numbers(identities, images, batches, rank, world_size)
        self.identities = identities
        self.images = images
        self.seed = seed
        self.rank = rank
        self.world_size = world_size
        self.epoch = 0
        self._given = 0
        self._start = 0
        self._modalities = [int(modality) for modality in np.unique(modalities)]
        self._rows = _rows_of_cells(labels, modalities)
        self._pool = _pool(self._rows, self._modalities, identities)
        largest = max(int((modalities == modality).sum()) for modality in self._modalities)
        self._batches = batches if batches is not None else max(1, largest // (identities * images))

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose batches come next; the one under way goes on where it was."""
        if epoch != self.epoch:
            self.epoch, self._given, self._start = epoch, 0, 0

    def state_dict(self) -> dict[str, int]:
        """Tell the epoch, and how many of its batches were given.

        Loaders with workers draw ahead: there, count the batches that arrived and put that number in.
        """
        return {"epoch": self.epoch, "position": self._given}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Let the next iteration, and only that one, go on where another sampler of the same arguments was."""
        if not 0 <= state["position"] <= self._batches:
            raise ValueError(
                f"position must be from 0 to the {self._batches} batches of an epoch, but is {state['position']}: "
                "load the state of a sampler with the same arguments."
            )
        self.epoch = state["epoch"]
        self._given = self._start = state["position"]

    def __len__(self) -> int:
        return self._batches

    def __iter__(self) -> Iterator[list[int]]:
        return (share.rows for share in self.shares())

    def shares(self) -> Iterator[Share]:
        """Give the same batches as the sampler itself, with the places of their rows in the whole batch."""
        self._given, start, self._start = self._start, self._start, 0
        for batch, share in enumerate(self._epoch()):
            if batch >= start:
                self._given = batch + 1
                yield share

    def _epoch(self) -> Iterator[Share]:
        generator = np.random.default_rng([self.seed, self.epoch])
        identities = _deal(self._pool, self.identities, generator)
        rows = {cell: _deal(rows, self.images, generator) for cell, rows in self._rows.items()}
        for _ in range(self._batches):
            hand = next(identities)
            drawn = [
                (row, self._owner(place, number))
                for modality in self._modalities
                for place, identity in enumerate(hand)
                if (identity, modality) in rows
                for number, row in enumerate(next(rows[identity, modality]))
            ]
            positions = [position for position, (_, owner) in enumerate(drawn) if owner == self.rank]
            yield Share([drawn[position][0] for position in positions], positions, len(drawn))

    def _owner(self, place: int, number: int) -> int:
        """Tell which process gets image `number` of the identity that is dealt at a place of the hand."""
        if self.world_size <= self.identities:
            return place * self.world_size // self.identities
        return (place * self.images + number) * self.world_size // (self.identities * self.images)


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


def _check_data(labels: NDArray[np.int64], modalities: NDArray[np.int64]) -> None:
    if labels.ndim != 1 or labels.shape != modalities.shape:
        raise ValueError(
            f"labels and modalities must have one value per image, but have shapes {labels.shape} and "
            f"{modalities.shape}: pass two vectors of one length."
        )


def _check_numbers(identities: int, images: int, batches: int | None, rank: int, world_size: int) -> None:
    numbers = {"identities": identities, "images": images, "batches": batches, "world_size": world_size}
    for name, number in numbers.items():
        if number is not None and number < 1:
            raise ValueError(f"{name} must be at least 1, but is {number}: give a larger number.")
    if not 0 <= rank < world_size:
        raise ValueError(f"rank must be from 0 to {world_size - 1}, but is {rank}: count the processes from 0.")

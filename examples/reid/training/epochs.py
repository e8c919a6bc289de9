"""The means of an epoch's steps, gathered without waiting for the device."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

__all__ = ["Epoch", "EpochMeans"]


class Epoch(NamedTuple):
    """One line of a log; the last epoch may be cut short by the number of steps."""

    epoch: int  # from 1
    step: int  # steps done at its end
    seconds: float  # that its steps took, without evaluations and checkpoints
    learning_rate: float  # mean over its steps, as all that follows
    gradient_norm: float  # before clipping; of steps that fp16 left out there is none
    modality_gap: float  # between the embeddings of a batch, see modinv.diagnostics.modality_gap
    images_per_second: float  # of all processes together
    peak_memory: float
    """Largest number of megabytes that tensors took on the accelerator of the first process; NaN on the CPU."""
    terms: Mapping[str, float]  # of the objective, total first


class EpochMeans:
    """Adds up the values of the steps of an epoch; they are read once, at its end.

    A value that is not finite stays so in the mean, but for those named at construction, which count where
    they are finite.

    Args:
        lenient: names of values that may be infinite now and then.
    """

    def __init__(self, lenient: tuple[str, ...] = ()) -> None:
        self._lenient = lenient
        self.clear()

    def clear(self) -> None:
        """Begin a new epoch."""
        self._sums: dict[str, Tensor] = {}
        self._counts: dict[str, Tensor] = {}
        self.seconds = 0.0
        self.images = 0

    def add(self, values: Mapping[str, Tensor], *, images: int, seconds: float) -> None:
        """Take in one step: scalars by name, the same names at each step, the number of its images, and its time."""
        self.images += images
        self.seconds += seconds
        for name, value in values.items():
            number = value.detach().to(torch.promote_types(value.dtype, torch.float32))
            counts = torch.isfinite(number) if name in self._lenient else torch.ones_like(number, dtype=torch.bool)
            number = torch.where(counts, number, 0.0) if name in self._lenient else number
            self._sums[name] = self._sums.get(name, 0.0) + number
            self._counts[name] = self._counts.get(name, 0) + counts.long()

    def means(self) -> dict[str, float]:
        """Return the mean of each value over the steps since `clear`; this waits for the device."""
        return {name: float(self._sums[name] / self._counts[name]) for name in self._sums}

    def state_dict(self) -> dict[str, Any]:
        """Return what an unfinished epoch has gathered."""
        return {
            "sums": {name: value.cpu() for name, value in self._sums.items()},
            "counts": {name: value.cpu() for name, value in self._counts.items()},
            "seconds": self.seconds,
            "images": self.images,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on with an unfinished epoch."""
        # Scalars on the CPU add up with those of any device.
        self._sums, self._counts = dict(state["sums"]), dict(state["counts"])
        self.seconds, self.images = state["seconds"], state["images"]

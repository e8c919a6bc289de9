"""An even sample of the rows that have passed, of bounded size: those with the smallest random numbers.

Each row gets a number as it passes, and the rows with the smallest ones stay. All rows have the same chance, however
many come, and samples of several ranks join in the same way. While there are fewer rows than places, all are there.
"""

from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["Sample", "joined_samples", "no_sample"]


class Sample(NamedTuple):
    """Rows with what is known of them, and the number of each."""

    rows: Tensor  # (n, D)
    labels: Tensor  # (n,)
    modalities: Tensor  # (n,)
    numbers: Tensor  # (n,) float64


def no_sample(num_features: int, device: torch.device) -> Sample:
    """Return the sample of no row."""
    kind = torch.float32 if device.type == "mps" else torch.float64
    rows, numbers = (torch.zeros(shape, dtype=kind, device=device) for shape in ((0, num_features), (0,)))
    none = torch.zeros(0, dtype=torch.long, device=device)
    return Sample(rows, none, none, numbers)


def joined_samples(first: Sample, second: Sample, size: int) -> Sample:
    """Return the rows with the smallest numbers of both."""
    if len(first.numbers) == size:  # late in a stream hardly any row comes in
        near = second.numbers < first.numbers.amax()
        if not near.any():
            return first
        second = Sample(*(part[near] for part in second))
    both = Sample(*(torch.cat(parts) for parts in zip(first, second, strict=True)))
    if len(both.numbers) <= size:
        return both
    kept = both.numbers.argsort()[:size]
    return Sample(*(part[kept] for part in both))

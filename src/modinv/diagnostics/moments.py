"""Counts, means and scatters of the modalities, which add up over batches and ranks.

A scatter is the sum of (x - mu)(x - mu)^T. Two sets of n and k rows, with delta between their means, make

    mu + k / (n + k) delta,    scatter + scatter' + n k / (n + k) delta delta^T,

the pairwise update of Chan, Golub and LeVeque ("Algorithms for computing the sample variance", 1983, eq. 2.1). Unlike
sums of squares it keeps its digits where the mean is large.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from modinv import groups
from modinv.diagnostics.gap import ModalityGap, gap_of
from modinv.diagnostics.spectrum import rank_of

__all__ = ["Moments", "gap_of_moments", "no_moments", "over_ranks", "ranks_of_moments", "with_rows"]


class Moments(NamedTuple):
    """What is known of the rows of each modality."""

    counts: Tensor  # (M,)
    means: Tensor  # (M, D), zero for a modality without rows
    scatters: Tensor  # (M, D, D)


def no_moments(num_features: int, num_modalities: int, device: torch.device) -> Moments:
    """Return the moments of no row."""
    kind = torch.float32 if device.type == "mps" else torch.float64
    shapes = (num_modalities,), (num_modalities, num_features), (num_modalities, num_features, num_features)
    return Moments(*(torch.zeros(shape, dtype=kind, device=device) for shape in shapes))


def with_rows(moments: Moments, rows: Tensor, modalities: Tensor) -> Moments:
    """Return the moments with those of a batch of rows (n, D) joined to them.

    The scatters are added to where they are: a copy of them would cost as much as the batch.
    """
    counts, means = [], []
    for member, *known in zip(groups.membership(modalities, len(moments.counts)).T, *moments, strict=True):
        count, mean = _join(rows[member], *known)
        counts.append(count)
        means.append(mean)
    return Moments(torch.stack(counts), torch.stack(means), moments.scatters)


def _join(rows: Tensor, count: Tensor, mean: Tensor, scatter: Tensor) -> tuple[Tensor, Tensor]:
    """Join rows (k, D) of one modality to n rows: add to their scatter, and return the count and the mean of all."""
    if not len(rows):
        return count, mean
    step = rows.mean(0) - mean
    share = len(rows) / (count + len(rows))
    # As the rows around their own mean sum to zero, the row for delta can stand beside them.
    factor = torch.cat([rows - mean - step, (count * share).sqrt() * step[None]])  # (k + 1, D)
    scatter.addmm_(factor.T, factor)
    return count + len(rows), mean + share * step


def over_ranks(moments: Moments, total: Callable[[Tensor], Tensor]) -> Moments:
    """Return the moments of the rows of all ranks; ``total`` adds a tensor up over them."""
    counts = total(moments.counts)
    means = total(moments.counts[:, None] * moments.means) / counts.clamp(min=1)[:, None]
    steps = moments.counts.sqrt()[:, None] * (moments.means - means)  # (M, D)
    return Moments(counts, means, total(moments.scatters + steps[:, :, None] * steps[:, None]))


def gap_of_moments(moments: Moments) -> ModalityGap:
    """Return the gap between the modalities."""
    scatter = moments.scatters.diagonal(dim1=1, dim2=2).sum(1)  # (M,)
    squares = (scatter + moments.counts * moments.means.square().sum(1)).sum() / moments.counts.sum().clamp(min=1)
    floor = 16 * torch.finfo(squares.dtype).eps * squares.sqrt()
    return gap_of(moments.counts, moments.means, scatter, floor)


def ranks_of_moments(moments: Moments) -> Tensor:
    """Return the effective rank of each modality, (M,)."""
    scatter = moments.scatters.diagonal(dim1=1, dim2=2).sum(1)  # (M,)
    squares = scatter + moments.counts * moments.means.square().sum(1)  # (M,): sum of |x|^2
    floors = (16 * torch.finfo(squares.dtype).eps) ** 2 * squares
    return torch.stack([rank_of(*parts) for parts in zip(moments.scatters, floors, strict=True)])

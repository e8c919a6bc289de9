"""Features to rows in float64, rows on the unit sphere, and their pairs in chunks.

Sums are float64 (float32 on Apple's GPUs), which neither autocast nor TF32 rounds.
"""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from modinv._checks import check_batch, check_floating
from modinv.statistics import Statistics, statistics_of

__all__ = [
    "CHUNK_PAIRS",
    "PairChunk",
    "drop_rounding",
    "finite_rows",
    "mean_of",
    "or_one",
    "pair_chunks",
    "precise",
    "rounding",
    "statistics_of_modalities",
    "unit_rows",
]

# Pairs of rows compared at a time: a few buffers of sixteen megabytes.
CHUNK_PAIRS = 1 << 21


class PairChunk(NamedTuple):
    """Some of the pairs of rows."""

    first: slice  # the rows of the chunk, n
    second: slice  # the rows they are compared with, k
    distances: Tensor  # (n, k): 1 - cosine
    chosen: Tensor  # (n, k) bool: each pair once over all chunks, no row with itself


def pair_chunks(rows: Tensor) -> Iterator[PairChunk]:
    """Yield the cosine distances of all pairs of unit rows (N, D), each pair once, in bounded memory."""
    step = max(1, CHUNK_PAIRS // max(1, len(rows)))
    for start in range(0, len(rows), step):
        first, second = slice(start, start + step), slice(start, None)
        distances = 1 - rows[first] @ rows[second].T
        yield PairChunk(first, second, distances, torch.ones_like(distances, dtype=torch.bool).triu(1))


def statistics_of_modalities(features: Tensor, modalities: Tensor, num_modalities: int | None) -> Statistics:
    """Check features and modalities and make their statistics; nobody's identity is asked."""
    check_floating("features", features, shape="(N, D)")
    labels = torch.zeros(features.shape[:1], dtype=torch.int64, device=features.device)
    check_batch(features, labels, modalities, num_modalities)
    return statistics_of(precise(features), labels, modalities, num_modalities)


def finite_rows(features: Tensor) -> Tensor:
    """Return the rows in float64; refuse what is not finite, since it has no distance. Waits for the device."""
    if not features.isfinite().all():
        raise ValueError("features must be finite to have distances, got inf or NaN; look for a diverged model")
    return precise(features)


def precise(features: Tensor) -> Tensor:
    """Return the rows without their gradient, in the type of sums."""
    return features.detach().to(torch.float32 if features.device.type == "mps" else torch.float64)


def rounding(features: Tensor) -> Tensor:
    """Return the length below which a difference of means or rows is rounding, (); equal rows must come out at 0."""
    rows = precise(features)
    eps: float = torch.finfo(rows.dtype).eps
    return 16 * eps * torch.cat([rows.square().sum(1), rows.new_zeros(1)]).amax().sqrt()


def drop_rounding(lengths: Tensor, floor: Tensor) -> Tensor:
    """Return the lengths with 0 for what is rounding; a NaN is not below the floor and stays."""
    return lengths.masked_fill(lengths <= floor, 0)


def unit_rows(rows: Tensor) -> Tensor:
    """Return the rows at length 1; a row of zeros stays one."""
    rows = rows / or_one(rows.abs().amax(1, keepdim=True))  # first, so that no square over- or underflows
    return rows / or_one(rows.square().sum(1, keepdim=True).sqrt())


def or_one(lengths: Tensor) -> Tensor:
    """Return the lengths with 1 in the place of 0, to divide by."""
    return lengths.masked_fill(lengths == 0, 1)


def mean_of(values: Tensor, chosen: Tensor) -> Tensor:
    """Return the mean of the chosen values, (); 0 without any."""
    return values.masked_fill(~chosen, 0).sum() / chosen.sum().clamp(min=1)

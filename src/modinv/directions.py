"""Rows around the origin: their directions, the angles between them, and their inner products."""

import torch
from torch import Tensor

from modinv.distances import safe_sqrt
from modinv.statistics import Statistics

__all__ = ["cosine_distances", "directions", "inner_products"]


def directions(statistics: Statistics) -> Statistics:
    """Return the statistics of the rows scaled to length one; a row of zeros stays one and receives no gradient.

    ``statistics.kept(directions)`` shares them with other losses.
    """
    features = statistics.features
    largest = features.detach().abs().amax(1, keepdim=True)  # no square overflows, none is lost
    rows = features / largest.masked_fill(largest == 0, 1)
    lengths = safe_sqrt(rows.square().sum(1, keepdim=True))
    return statistics.of(rows / lengths.masked_fill(lengths == 0, torch.inf))


def cosine_distances(statistics: Statistics) -> Tensor:
    """Return one minus the cosine of the angle between all rows, (N, N)."""
    return statistics.kept(directions).squared_row_distances / 2


def inner_products(statistics: Statistics) -> Tensor:
    """Return the inner products x_i . x_j of the features as they are, (N, N)."""
    features, dtype = statistics.features, statistics.dtype
    shift = features.detach().to(statistics.kind).mean(0).to(dtype)
    along = features.to(dtype) @ shift  # (N,)
    return statistics.row_gram + along[:, None] + along - shift @ shift

"""How far apart the images of one identity are, within a modality and across modalities, from sums over the cells."""

from typing import NamedTuple

import torch
from torch import Tensor

from modinv._checks import check_batch
from modinv.diagnostics.rows import finite_rows, or_one, unit_rows

__all__ = [
    "CellSums",
    "IdentityDistances",
    "alignment",
    "alignment_of",
    "cells_of",
    "distances_of",
    "identity_distances",
    "merged",
]


class IdentityDistances(NamedTuple):
    """Mean cosine distances between the images of each identity; NaN where there is no such pair."""

    labels: Tensor  # (K,) int64, in ascending order
    within: Tensor  # (K,): over the pairs of images in one modality
    cross: Tensor  # (K,): over the pairs of images in two modalities, those that retrieval must find


class CellSums(NamedTuple):
    """What the cells of identity and modality are, as far as cosine distances depend on it; C cells."""

    labels: Tensor  # (C,)
    modalities: Tensor  # (C,)
    counts: Tensor  # (C,)
    squares: Tensor  # (C,): sum of |u|^2 over the unit rows u of the cell, which counts those that are not zero
    sums: Tensor  # (C, D): sum of the unit rows


@torch.no_grad()
def identity_distances(features: Tensor, labels: Tensor, modalities: Tensor) -> IdentityDistances:
    """Measure how far apart the images of each identity are, within a modality and across modalities.

    The mean of 1 - x_i . x_j / (|x_i| |x_j|) over the pairs of rows of one identity, in one modality and in two. A row
    of zeros is at 1 from every other. Where ``cross`` is far above ``within``, the modality separates images of one
    identity. Identities with the largest ``cross`` are those to look at.

    Costs O(N D): the means come out of the sum of the unit rows of each cell. Waits for the device.

    Args:
        features: (N, D), any floating type.
        labels: identity of each row, integers (N,).
        modalities: 0 visible, 1 infrared, …, integers (N,).

    Returns:
        The distances of each identity, K of them.

    Raises:
        TypeError, ValueError: one sentence, when the batch breaks the data contract or a feature is not finite.

    Example:
        >>> import torch
        >>> features = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
        >>> distances = identity_distances(features, torch.tensor([5, 5, 5, 9]), torch.tensor([0, 0, 1, 1]))
        >>> distances.labels.tolist(), distances.within.tolist(), distances.cross.tolist()
        ([5, 9], [0.0, nan], [1.0, nan])
    """
    return distances_of(cells_of(features, labels, modalities))


@torch.no_grad()
def alignment(features: Tensor, labels: Tensor, modalities: Tensor) -> Tensor:
    """Measure how far apart the images of one identity in two modalities are, on the unit sphere.

    The mean of |u_i - u_j|^2 over all pairs of rows of one identity in two modalities, with u = x / |x|. It is twice
    their mean cosine distance: 0 where they coincide, about 2 where they know nothing of each other. See `uniformity`
    for its counterpart. Each pair counts once, so an identity with many images counts for more.

    Costs O(N D). Waits for the device.

    Args:
        features: (N, D), any floating type.
        labels: identity of each row, integers (N,).
        modalities: 0 visible, 1 infrared, …, integers (N,).

    Returns:
        The alignment, (); NaN where no identity is in two modalities.

    Raises:
        TypeError, ValueError: one sentence, when the batch breaks the data contract or a feature is not finite.

    Example:
        >>> import torch
        >>> features = torch.tensor([[3.0, 0.0], [0.0, 2.0], [1.0, 0.0]])
        >>> float(alignment(features, torch.tensor([5, 5, 5]), torch.tensor([0, 1, 1])))
        1.0

    Reference:
        T. Wang and P. Isola, Understanding Contrastive Representation Learning through Alignment and Uniformity on the
        Hypersphere, ICML 2020, section 4, with alpha = 2. Positives across modalities are our choice.
    """
    return alignment_of(cells_of(features, labels, modalities))


def cells_of(features: Tensor, labels: Tensor, modalities: Tensor) -> CellSums:
    """Check a batch and add up the unit rows of each of its cells."""
    check_batch(features, labels, modalities, None)
    rows = unit_rows(finite_rows(features))
    return merged(CellSums(labels.long(), modalities.long(), torch.ones_like(rows[:, 0]), rows.square().sum(1), rows))


def merged(cells: CellSums) -> CellSums:
    """Add up the entries of the same cell."""
    keys = torch.stack([cells.labels, cells.modalities], dim=1)
    keys, places = torch.unique(keys, dim=0, return_inverse=True)  # (C, 2), (entries,)
    counts, squares, sums = (
        part.new_zeros(len(keys), *part.shape[1:]).index_add_(0, places, part) for part in cells[2:]
    )
    return CellSums(keys[:, 0], keys[:, 1], counts, squares, sums)


class _Products(NamedTuple):
    """Of each identity, how many pairs of rows there are and the sum of their cosines, (K,) each."""

    labels: Tensor
    within_pairs: Tensor
    within_cosines: Tensor
    cross_pairs: Tensor
    cross_cosines: Tensor


def _products_of(cells: CellSums) -> _Products:
    """Take |sum of u|^2 = sum of |u|^2 + 2 (sum of u_i . u_j over the pairs), of the cells and of the identities."""
    labels, places = torch.unique(cells.labels, return_inverse=True)

    def per_identity(values: Tensor) -> Tensor:
        return values.new_zeros(len(labels), *values.shape[1:]).index_add_(0, places, values)

    counts, lengths = cells.counts, cells.sums.square().sum(1)  # (C,)
    cell_counts, cell_lengths = per_identity(counts.square()), per_identity(lengths)  # (K,)
    return _Products(
        labels,
        per_identity(counts * (counts - 1)) / 2,
        (cell_lengths - per_identity(cells.squares)) / 2,
        (per_identity(counts).square() - cell_counts) / 2,
        (per_identity(cells.sums).square().sum(1) - cell_lengths) / 2,
    )


def distances_of(cells: CellSums) -> IdentityDistances:
    """Return the mean cosine distances of each identity."""
    labels, *sums = _products_of(cells)
    within, cross = (
        ((pairs - cosines) / or_one(pairs)).clamp(min=0).masked_fill(pairs == 0, torch.nan)
        for pairs, cosines in (sums[:2], sums[2:])
    )
    return IdentityDistances(labels, within, cross)


def alignment_of(cells: CellSums) -> Tensor:
    """Return the mean squared distance of unit rows of one identity in two modalities, ()."""
    products = _products_of(cells)
    pairs = products.cross_pairs.sum()
    return (2 * (pairs - products.cross_cosines.sum()) / pairs).clamp(min=0)  # no pair: 0 / 0

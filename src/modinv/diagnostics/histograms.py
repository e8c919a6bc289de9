"""Which distances lie between images of the same and of different identities, within and across modalities."""

from typing import NamedTuple

import torch
from torch import Tensor

from modinv import groups
from modinv._checks import check_batch, check_count
from modinv.diagnostics.rows import PairChunk, finite_rows, pair_chunks, unit_rows

__all__ = ["DistanceHistograms", "distance_histograms"]


class DistanceHistograms(NamedTuple):
    """How many pairs of rows lie at which cosine distance; each unordered pair counts once."""

    edges: Tensor  # (bins + 1,) float64: from 0, the same direction, to 2, opposite ones
    intra_same: Tensor  # (bins,) int64: two images of one identity in one modality
    intra_different: Tensor  # (bins,): two identities, one modality
    cross_same: Tensor  # (bins,): one identity, two modalities; the pairs that retrieval must find
    cross_different: Tensor  # (bins,): two identities, two modalities


@torch.no_grad()
def distance_histograms(features: Tensor, labels: Tensor, modalities: Tensor, *, bins: int = 50) -> DistanceHistograms:
    """Count the pairs of rows by their cosine distance, within and across modalities, of same and different identity.

    The distance of rows i and j is 1 - x_i . x_j / (|x_i| |x_j|), from 0 to 2. A row of zeros is at 1 from every
    other. Bins have equal width. Each holds its lower edge, and the last one both.

    Costs O(N^2 D) in time. Memory is a float64 copy of the features and a constant, since pairs are counted in chunks.

    Args:
        features: (N, D), any floating type.
        labels: identity of each row, integers (N,).
        modalities: 0 visible, 1 infrared, …, integers (N,).
        bins: how many. Default 50, our choice: 0.04 wide each.

    Returns:
        The edges and the four histograms. Together they hold all N (N - 1) / 2 pairs.

    Raises:
        TypeError, ValueError: one sentence, when the batch breaks the data contract or a feature is not finite.

    Example:
        >>> import torch
        >>> features = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])
        >>> counted = distance_histograms(features, torch.tensor([5, 5, 6]), torch.tensor([0, 1, 1]), bins=2)
        >>> counted.cross_same.tolist(), counted.cross_different.tolist(), counted.intra_different.tolist()
        ([0, 1], [0, 1], [0, 1])
    """
    check_batch(features, labels, modalities, None)
    bins = check_count("bins", bins)
    rows = unit_rows(finite_rows(features))
    counts = torch.zeros(4 * bins, dtype=torch.int64, device=features.device)
    for chunk in pair_chunks(rows):
        counts += _count_pairs(chunk, labels, modalities, bins)
    edges = torch.arange(bins + 1, dtype=rows.dtype, device=rows.device) * 2 / bins
    return DistanceHistograms(edges, *counts.reshape(4, bins).unbind())


def _count_pairs(chunk: PairChunk, labels: Tensor, modalities: Tensor, bins: int) -> Tensor:
    """Count the pairs of a chunk by kind and distance, (4 * bins,)."""
    places = (chunk.distances * (bins / 2)).long().clamp(0, bins - 1)
    different = ~groups.same_identity(labels[chunk.first], labels[chunk.second])
    cross = ~groups.same_modality(modalities[chunk.first], modalities[chunk.second])
    kinds = 2 * cross.long() + different
    return torch.bincount((kinds * bins + places)[chunk.chosen], minlength=4 * bins)

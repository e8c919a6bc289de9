"""Features to numbers that people look at: how far apart are the modalities, and which distances lie between images.

There are no gradients here. Sums are float64 (float32 on Apple's GPUs), which neither autocast nor TF32 rounds.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from modinv import groups
from modinv._checks import check_batch, check_count, check_floating
from modinv.statistics import Statistics, statistics_of

__all__ = ["DistanceHistograms", "ModalityGap", "distance_histograms", "modality_accuracy", "modality_gap"]

# Pairs of rows compared at a time: a few buffers of sixteen megabytes.
_CHUNK_PAIRS = 1 << 21


class ModalityGap(NamedTuple):
    """How far apart modalities are; each field is (), the mean over the pairs of modalities."""

    relative: Tensor
    """Distance divided by spread: 0 where the means coincide, whatever the scale of the features."""
    distance: Tensor
    """Euclidean distance of the two means, in the unit of the features."""
    spread: Tensor
    """Root mean squared distance of a row to the mean of its modality, in the unit of the features."""
    chance: Tensor
    """The relative gap (root mean square) of two samples of this size from one distribution."""


class DistanceHistograms(NamedTuple):
    """How many pairs of rows lie at which cosine distance; each unordered pair counts once."""

    edges: Tensor  # (bins + 1,) float64: from 0, the same direction, to 2, opposite ones
    intra_same: Tensor  # (bins,) int64: two images of one identity in one modality
    intra_different: Tensor  # (bins,): two identities, one modality
    cross_same: Tensor  # (bins,): one identity, two modalities; the pairs that retrieval must find
    cross_different: Tensor  # (bins,): two identities, two modalities


@torch.no_grad()
def modality_gap(features: Tensor, modalities: Tensor, *, num_modalities: int | None = None) -> ModalityGap:
    """Measure how far apart the means of the modalities are, in units of the spread around them.

    For modalities a and b with n_a and n_b rows::

        distance = |mu_a - mu_b|
        spread^2 = (sum_a |x_i - mu_a|^2 + sum_b |x_i - mu_b|^2) / (n_a + n_b - 2)
        relative = distance / spread,   chance = sqrt(1 / n_a + 1 / n_b)

    ``relative`` is Cohen's d for vectors. Its square is, up to a constant factor, the trace criterion of discriminant
    analysis with the modalities as classes. Scaling, shifting and rotating the features do not change it. Where
    retrieval compares by cosine, give rows of length 1. Even equal distributions give about ``chance``, not 0. Rows
    that share identities across the modalities, as in PK sampling, give somewhat less.

    Costs O(N D). Does not wait for the device, so a training loop can keep the result.

    Args:
        features: (N, D), any floating type.
        modalities: 0 visible, 1 infrared, …, integers (N,).
        num_modalities: M. Default: as many as the batch shows on a CPU, and 2 on an accelerator, which is not read.
            There a modality of M or more makes every field NaN.

    Returns:
        The gap. With more than two modalities, each field is the mean over the pairs that have rows in both, at least
        three together. Without such a pair all fields are 0. Where rows do not spread but the means differ,
        ``relative`` is infinite. A feature that is not finite makes the gap NaN.

    Raises:
        TypeError, ValueError: one sentence, when features or modalities break the data contract.

    Example:
        >>> import torch
        >>> features = torch.tensor([[-1.0, 0.0], [1.0, 0.0], [-1.0, 4.0], [1.0, 4.0]])
        >>> gap = modality_gap(features, torch.tensor([0, 0, 1, 1]))
        >>> round(float(gap.distance), 3), round(float(gap.spread), 3), round(float(gap.relative), 3)
        (4.0, 1.414, 2.828)

    Reference:
        The distance of the means: W. Liang et al., Mind the Gap: Understanding the Modality Gap in Multi-modal
        Contrastive Representation Learning, NeurIPS 2022. The trace criterion tr S_b / tr S_w: K. Fukunaga,
        Introduction to Statistical Pattern Recognition, 2nd edition 1990, section 10.2. Pooling and the root are our
        choice.
    """
    statistics = _statistics(features, modalities, num_modalities)
    rows, means = statistics.centered
    floor = _rounding(features)
    counts = statistics.counts
    scatter = statistics.membership.T @ rows.square().sum(1)  # (M,)
    freedom = (counts[:, None] + counts - 2).clamp(min=1)  # (M, M)
    distance = _drop_rounding((means[:, None] - means).square().sum(2).sqrt(), floor)  # (M, M)
    spread = _drop_rounding(((scatter[:, None] + scatter) / freedom).sqrt(), floor)  # (M, M)
    relative = (distance / spread).masked_fill(distance == 0, 0)
    chance = (1 / counts[:, None] + 1 / counts).sqrt()
    there = (counts[:, None] > 0) & (counts > 0) & (counts[:, None] + counts > 2)
    pairs = there.triu(1)
    broken = 0 * scatter.sum()  # NaN where a feature is not finite, even if there is no pair
    return ModalityGap(*(_mean(values, pairs) + broken for values in (relative, distance, spread, chance)))


@torch.no_grad()
def modality_accuracy(features: Tensor, modalities: Tensor, *, num_modalities: int | None = None) -> Tensor:
    """Measure how often the nearest mean, learned from all other rows, tells the modality of a row.

    Each row is left out of its own modality's mean: with z_i = x_i - mu_m(i), the distance to it is
    |z_i| n_m / (n_m - 1). Modalities count alike, whatever their sizes. A tie counts as a guess. Features that do not
    show their modality give 1 / M. Close copies in the other modality make it a little less.

    Costs O(N D M). Does not wait for the device.

    Args:
        features: (N, D), any floating type.
        modalities: 0 visible, 1 infrared, …, integers (N,).
        num_modalities: M. Default: see `modality_gap`.

    Returns:
        Share of the rows, (), the mean over the modalities with at least two rows. With fewer than two such
        modalities it is 0. A feature that is not finite makes it NaN.

    Raises:
        TypeError, ValueError: one sentence, when features or modalities break the data contract.

    Example:
        >>> import torch
        >>> features = torch.tensor([[0.0], [1.0], [9.0], [8.0]])
        >>> float(modality_accuracy(features, torch.tensor([0, 0, 1, 1])))
        1.0

    Reference:
        Nearest-mean classification, leaving one out. A classifier's accuracy as the distance of two domains is the
        idea of the proxy A-distance: S. Ben-David et al., Analysis of Representations for Domain Adaptation, NIPS
        2006. The classifier is our choice: it needs no training.
    """
    statistics = _statistics(features, modalities, num_modalities)
    counts = statistics.counts
    usable = counts > 1  # (M,)
    own = groups.membership(modalities, len(counts)) & usable  # (N, M)
    distances = _distances_to_means(statistics).masked_fill(~usable, torch.inf)  # (N, M)
    nearest = distances - distances.amin(1, keepdim=True) <= _rounding(features)  # (N, M)
    right = (own & nearest).sum(1) / nearest.sum(1).clamp(min=1)  # (N,)
    shares = (own.to(right.dtype).T @ right) / counts.clamp(min=1)  # (M,)
    broken = 0 * statistics.centered.rows.sum() + 0 * counts.sum()
    return _mean(shares, usable & (usable.sum() > 1)) + broken


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
    if not features.isfinite().all():
        raise ValueError("features must be finite to have distances, got inf or NaN; look for a diverged model")
    rows = _unit_rows(_precise(features))
    counts = torch.zeros(4 * bins, dtype=torch.int64, device=features.device)
    step = max(1, _CHUNK_PAIRS // max(1, len(rows)))
    for start in range(0, len(rows), step):
        counts += _count_pairs(rows[start:], labels[start:], modalities[start:], step, bins)
    edges = torch.arange(bins + 1, dtype=rows.dtype, device=rows.device) * 2 / bins
    return DistanceHistograms(edges, *counts.reshape(4, bins).unbind())


def _count_pairs(rows: Tensor, labels: Tensor, modalities: Tensor, step: int, bins: int) -> Tensor:
    """Count the pairs of the first ``step`` rows with all rows after them, (4 * bins,)."""
    distances = 1 - rows[:step] @ rows.T  # (step, N)
    places = (distances * (bins / 2)).long().clamp(0, bins - 1)
    different = ~groups.same_identity(labels[:step], labels)
    cross = ~groups.same_modality(modalities[:step], modalities)
    kinds = 2 * cross.long() + different
    later = torch.ones_like(cross).triu(1)  # each pair once, no row with itself
    return torch.bincount((kinds * bins + places)[later], minlength=4 * bins)


def _distances_to_means(statistics: Statistics) -> Tensor:
    """Return how far each row is from the mean of each modality, without itself in its own, (N, M)."""
    (rows, means), counts = statistics.centered, statistics.counts
    positions = rows + statistics.membership @ means  # (N, D)
    others = torch.stack([(positions - mean).square().sum(1).sqrt() for mean in means], dim=1)  # (N, M)
    leaving_out = (counts / (counts - 1).clamp(min=1)) * statistics.membership  # (N, M)
    return others * leaving_out.where(statistics.membership > 0, 1)


def _statistics(features: Tensor, modalities: Tensor, num_modalities: int | None) -> Statistics:
    check_floating("features", features, shape="(N, D)")
    labels = torch.zeros(features.shape[:1], dtype=torch.int64, device=features.device)  # nobody's identity is asked
    check_batch(features, labels, modalities, num_modalities)
    return statistics_of(_precise(features), labels, modalities, num_modalities)


def _precise(features: Tensor) -> Tensor:
    return features.detach().to(torch.float32 if features.device.type == "mps" else torch.float64)


def _rounding(features: Tensor) -> Tensor:
    """Return the length below which a difference of means or rows is rounding, (); equal rows must come out at 0."""
    rows = _precise(features)
    eps: float = torch.finfo(rows.dtype).eps
    return 16 * eps * torch.cat([rows.square().sum(1), rows.new_zeros(1)]).amax().sqrt()


def _drop_rounding(lengths: Tensor, floor: Tensor) -> Tensor:
    return lengths.masked_fill(lengths <= floor, 0)  # a NaN is not below the floor and stays


def _unit_rows(rows: Tensor) -> Tensor:
    rows = rows / _or_one(rows.abs().amax(1, keepdim=True))  # first, so that no square over- or underflows
    return rows / _or_one(rows.square().sum(1, keepdim=True).sqrt())


def _or_one(lengths: Tensor) -> Tensor:
    return lengths.masked_fill(lengths == 0, 1)


def _mean(values: Tensor, chosen: Tensor) -> Tensor:
    return values.masked_fill(~chosen, 0).sum() / chosen.sum().clamp(min=1)

"""How far apart the means of the modalities are, in units of the spread around them."""

from typing import NamedTuple

import torch
from torch import Tensor

from modinv.diagnostics.rows import drop_rounding, mean_of, rounding, statistics_of_modalities

__all__ = ["ModalityGap", "gap_of", "modality_gap"]


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
    statistics = statistics_of_modalities(features, modalities, num_modalities)
    rows, means = statistics.centered
    scatter = statistics.membership.T @ rows.square().sum(1)  # (M,)
    return gap_of(statistics.counts, means, scatter, rounding(features))


def gap_of(counts: Tensor, means: Tensor, scatter: Tensor, floor: Tensor) -> ModalityGap:
    """Return the gap from what is known of each modality.

    Args:
        counts: rows, (M,).
        means: around any common point, (M, D).
        scatter: sum of the squared distances to the mean, (M,).
        floor: length below which a distance is rounding, ().
    """
    freedom = (counts[:, None] + counts - 2).clamp(min=1)  # (M, M)
    distance = drop_rounding((means[:, None] - means).square().sum(2).sqrt(), floor)  # (M, M)
    spread = drop_rounding(((scatter[:, None] + scatter) / freedom).sqrt(), floor)  # (M, M)
    relative = (distance / spread).masked_fill(distance == 0, 0)
    chance = (1 / counts[:, None] + 1 / counts).sqrt()
    there = (counts[:, None] > 0) & (counts > 0) & (counts[:, None] + counts > 2)
    pairs = there.triu(1)
    broken = 0 * scatter.sum()  # NaN where a feature is not finite, even if there is no pair
    return ModalityGap(*(mean_of(values, pairs) + broken for values in (relative, distance, spread, chance)))

"""Intra-modality enhancing: compact identities, far from each other, inside each modality.

The abstract: independent branches "further enhance the intra-class compactness and inter-class discrepancy within each
modality". The paper's formula is not public; this one is our choice: rows against their own center, and each center
against the nearest one of another identity, both within one modality and in units of that modality's own spread.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from typing_extensions import override

from modinv._checks import check_number
from modinv.distances import center_distances, diagonal, nearest, squared_distances_to_centers, squared_norms
from modinv.groups import same_modality
from modinv.losses.loss import Loss
from modinv.statistics import Statistics

__all__ = ["IntraModalityLoss", "IntraModalityTerms", "intra_modality"]


class IntraModalityTerms(NamedTuple):
    """The intra-modality loss: ``total = compactness + discrepancy``."""

    total: Tensor  # ()
    compactness: Tensor  # (): share of the modality's variance that lies within identities
    discrepancy: Tensor  # (): what the nearest centers lack to the margin


def intra_modality(
    features: Tensor,
    labels: Tensor,
    modalities: Tensor,
    *,
    margin: float = 1.0,
    num_modalities: int | None = None,
) -> Tensor:
    """Return :class:`IntraModalityLoss` of one batch, (); see there for the arguments.

    Example:
        >>> import torch
        >>> features = torch.tensor([[0.0], [2.0], [6.0], [8.0]])  # one modality, two identities
        >>> labels, modalities = torch.tensor([0, 0, 1, 1]), torch.tensor([0, 0, 0, 0])
        >>> intra_modality(features, labels, modalities)  # 1 / 10 within identities; 6 / sqrt(10) is past the margin
        tensor(0.1000)
    """
    loss = IntraModalityLoss(margin=margin, num_modalities=num_modalities)
    total: Tensor = loss(features, labels, modalities)
    return total


class IntraModalityLoss(Loss):
    """Make the identities of each modality compact and keep their centers apart; modalities never meet.

    With c(i) the center of row i's identity in its modality m, and u_m^2 the mean squared distance of the rows of m
    to their mean, the mean over the modalities of

        compactness = mean over rows i of   |x_i - c(i)|^2 / u_m^2
        discrepancy = mean over centers c of max(0, margin - min_{c' of another identity} |c - c'| / u_m).

    Dividing by the spread makes both free of units, so that margin and weight carry over between embedding sizes and
    scales, and no gradient shrinks or blows up the features as a whole. The compactness is the share of the modality's
    variance that lies within identities, Fisher's criterion.

    Cost: the shared Gram matrix and four N x N x N products.

    Args:
        margin: in units of the modality's spread; default 1.0, our choice: centers that differ in every direction
            are about 1.4 apart.
        num_modalities: see :class:`modinv.losses.Loss`.

    Raises:
        TypeError, ValueError: at construction on an impossible option, at call on a malformed batch.

    Reference: Zhang et al., 2025 (see :class:`modinv.GaussianDistributionConsistencyLoss`); the formula is not given in
    the abstract, this one is our choice.
    """

    def __init__(self, *, margin: float = 1.0, num_modalities: int | None = None) -> None:
        super().__init__(num_modalities=num_modalities)
        self.margin = check_number("margin", margin, least=0)

    @override
    def read(self, statistics: Statistics) -> IntraModalityTerms:
        membership, counts = statistics.membership, statistics.counts
        spread = _spread(statistics)  # (N,)
        present = (counts > 0).sum().clamp(min=1)
        share = (membership / counts.clamp(min=1)).sum(1) / present  # (N,)
        compactness = (share * squared_distances_to_centers(statistics) / spread).sum()

        rivals = same_modality(statistics.modalities) & ~statistics.same_identity  # (N, N)
        lack = torch.relu(self.margin - nearest(center_distances(statistics), rivals) / spread.sqrt())  # (N,)
        votes = rivals.any(1) / statistics.cell_sizes  # (N,): a cell's rows share one vote
        centers = membership.T @ votes  # (M,)
        weights = votes * (membership / centers.clamp(min=1)).sum(1) / (centers > 0).sum().clamp(min=1)
        discrepancy = (weights * lack).sum()
        return IntraModalityTerms(compactness + discrepancy + statistics.zero, compactness, discrepancy)

    @override
    def extra_repr(self) -> str:
        return f"margin={self.margin}"


def _spread(statistics: Statistics) -> Tensor:
    """Return u_m(i)^2 for each row, (N,); 1 for a modality whose rows are equal up to the rounding of their mean."""
    num_rows = len(statistics.features)
    spread = (statistics.membership.T @ squared_norms(statistics)) / statistics.counts.clamp(min=1)  # (M,)
    means = diagonal(statistics.gram[num_rows:, num_rows:])  # (M,): |mu_m|^2
    noise = 16 * torch.finfo(statistics.features.dtype).eps ** 2 * (spread + means)
    return statistics.membership @ spread.masked_fill(spread <= noise, 1)

"""Intra-modality enhancing: compact identities, far from each other, inside each modality.

The abstract: independent branches "further enhance the intra-class compactness and inter-class discrepancy within each
modality". The paper's formula is not public. This one is our choice: rows against their own center, and each center
against the nearest one of another identity, both within one modality and in units of that modality's own spread.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from typing_extensions import override

from modinv._checks import check_number
from modinv.centers import RowsToCenters
from modinv.distances import diagonal
from modinv.losses.loss import Loss, nearest
from modinv.statistics import Statistics

__all__ = ["IntraModalityLoss", "IntraModalityTerms", "intra_modality"]


class IntraModalityTerms(NamedTuple):
    """The intra-modality loss: ``total = compactness + discrepancy``."""

    total: Tensor  # ()
    compactness: Tensor  # (): share of the modality's variance that lies within identities
    discrepancy: Tensor  # (): what the nearest centers lack to the margin


def intra_modality(statistics: Statistics, *, margin: float) -> IntraModalityTerms:
    """Make the identities of each modality compact and keep their centers apart; modalities never meet.

    With c(i) the center of row i's identity in its modality m, and u_m^2 the mean squared distance of the rows of m
    to their mean, the mean over the modalities of

        compactness = mean over rows i of   |x_i - c(i)|^2 / u_m^2
        discrepancy = mean over centers c of max(0, margin - min_{c' of another identity} |c - c'| / u_m).

    Dividing by the spread makes both free of units. Margin and weight carry over between embedding sizes and scales
    that way, and no gradient shrinks or blows up the features as a whole. The compactness is the share of the
    modality's variance that lies within identities, Fisher's criterion.

    Cost: the shared Gram matrix and N x N terms.

    Args:
        statistics: of the batch.
        margin: in units of the modality's spread.

    Example:
        >>> import torch
        >>> from modinv.statistics import statistics_of
        >>> features = torch.tensor([[0.0], [2.0], [6.0], [8.0]])  # one modality, two identities
        >>> labels, modalities = torch.tensor([0, 0, 1, 1]), torch.tensor([0, 0, 0, 0])
        >>> terms = intra_modality(statistics_of(features, labels, modalities), margin=1.0)
        >>> terms.total  # 1 / 10 within identities; 6 / sqrt(10) is past the margin
        tensor(0.1000, dtype=torch.float64)

    Reference: Zhang et al., 2025 (see :class:`modinv.GaussianDistributionConsistencyLoss`); the formula is not given in
    the abstract, this one is our choice.
    """
    membership, counts = statistics.membership, statistics.counts
    spread = _spread(statistics)  # (N,)
    present = (counts > 0).sum().clamp(min=1)
    share = (membership / counts.clamp(min=1)).sum(1) / present  # (N,)
    compactness = (share * statistics.kept(RowsToCenters).squared_of_own_cell / spread).sum()

    rivals = statistics.same_modality & ~statistics.same_identity  # (N, N)
    lack = torch.relu(margin - nearest(statistics.kept(RowsToCenters).between_cells, rivals) / spread.sqrt())  # (N,)
    votes = rivals.any(1) / statistics.cell_sizes  # (N,): a cell's rows share one vote
    centers = membership.T @ votes  # (M,)
    weights = votes * (membership / centers.clamp(min=1)).sum(1) / (centers > 0).sum().clamp(min=1)
    discrepancy = (weights * lack).sum()
    return IntraModalityTerms(compactness + discrepancy + statistics.zero, compactness, discrepancy)


class IntraModalityLoss(Loss[IntraModalityTerms]):
    """The loss of :func:`modinv.losses.intra_modality`.

    Args:
        margin: in units of the modality's spread; default 1.0, our choice: centers that differ in every direction
            are about 1.4 apart.
        num_modalities: see :class:`modinv.losses.Loss`.

    Raises:
        TypeError, ValueError: at construction on an impossible option, at call on a malformed batch.
    """

    reads_gram = True

    def __init__(self, *, margin: float = 1.0, num_modalities: int | None = None) -> None:
        super().__init__(num_modalities=num_modalities)
        self.margin = check_number("margin", margin, least=0)

    @override
    def read(self, statistics: Statistics) -> IntraModalityTerms:
        return intra_modality(statistics, margin=self.margin)

    @override
    def extra_repr(self) -> str:
        return f"margin={self.margin}"


def _spread(statistics: Statistics) -> Tensor:
    """Return u_m(i)^2 for each row, (N,); 1 for a modality whose rows are equal up to the rounding of their mean."""
    squares = diagonal(statistics.gram)  # (N + M,): |z_i|^2, |mu_m|^2
    rows, means = squares[: len(statistics.features)], squares[len(statistics.features) :]
    spread = (statistics.membership.T @ rows) / statistics.counts.clamp(min=1)  # (M,)
    noise = 16 * statistics.eps**2 * (spread + means)
    return statistics.membership @ spread.masked_fill(spread <= noise, 1)

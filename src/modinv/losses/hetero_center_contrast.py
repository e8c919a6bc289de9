"""Rows near their identity's center in the other modality, and away from the centers of other identities."""

from typing import NamedTuple

import torch
from torch import Tensor
from typing_extensions import override

from modinv._checks import check_number
from modinv.centers import RowsToCenters
from modinv.losses.loss import Loss
from modinv.statistics import Statistics

__all__ = [
    "HeteroCenterContrastLoss",
    "HeteroCenterContrastTerms",
    "contrast",
    "hetero_center_contrast",
    "pull_to_partners",
    "push_from_rivals",
]


class HeteroCenterContrastTerms(NamedTuple):
    """The sum of a pull and a push: ``total = pull + push``."""

    total: Tensor  # ()
    pull: Tensor  # (): rows to their identity's centers in other modalities
    push: Tensor  # (): what rows lack to the margin from the centers of other identities


def hetero_center_contrast(statistics: Statistics, *, margin: float) -> HeteroCenterContrastTerms:
    """Draw rows to their identity's center in the other modality, and keep them from other identities' centers.

    With the centers of each identity in each modality,

        pull = mean over the rows i of      the mean over their identity's centers c in other modalities of |x_i - c|
        push = mean over all pairs of a row i and a center c of another identity of max(0, margin - |x_i - c|).

    A row whose identity is in one modality only has no pull. Every row and every center counts once.

    Cost: the shared Gram matrix and N x N terms. In float32 a distance below about 3e-4 of the features'
    norm is noise.

    Args:
        statistics: of the batch.
        margin: in units of the features. A row further than that from a center is not pushed by it.

    Example:
        >>> import torch
        >>> from modinv.statistics import statistics_of
        >>> features = torch.tensor([[0.0], [1.0], [3.0], [6.0]])
        >>> labels, modalities = torch.tensor([0, 0, 1, 1]), torch.tensor([0, 1, 0, 1])
        >>> terms = hetero_center_contrast(statistics_of(features, labels, modalities), margin=4.0)
        >>> terms.pull, terms.push  # of 1, 1, 3, 3; of 1 and 2, 4 - 3 and 4 - 2, from both sides, and of zeros
        (tensor(2., dtype=torch.float64), tensor(0.7500, dtype=torch.float64))

    Reference: Cui, Zhou and Peng, "DMA: dual modality-aware alignment for visible-infrared person re-identification",
    2024, as its code has it under the name ``hcc``; the name here is ours.
    """
    pull, push = contrast(statistics, statistics.kept(RowsToCenters).of_cells, margin)
    return HeteroCenterContrastTerms(pull + push + statistics.zero, pull, push)


class HeteroCenterContrastLoss(Loss[HeteroCenterContrastTerms]):
    """The loss of :func:`modinv.losses.hetero_center_contrast`.

    Args:
        margin: in units of the features; default 0.6, that of DMA's code.
        num_modalities: see :class:`modinv.losses.Loss`.

    Raises:
        TypeError, ValueError: at construction on an impossible option, at call on a malformed batch.
    """

    def __init__(self, *, margin: float = 0.6, num_modalities: int | None = None) -> None:
        super().__init__(num_modalities=num_modalities)
        self.margin = check_number("margin", margin, least=0)

    @override
    def read(self, statistics: Statistics) -> HeteroCenterContrastTerms:
        return hetero_center_contrast(statistics, margin=self.margin)

    @override
    def extra_repr(self) -> str:
        return f"margin={self.margin}"


def contrast(statistics: Statistics, distances: Tensor, margin: float) -> tuple[Tensor, Tensor]:
    """Return pull and push from the distances of all rows to the centers of the cells of all rows, (N, N)."""
    push = push_from_rivals(statistics, distances, statistics.cell_sizes, margin)
    return pull_to_partners(statistics, distances), push


def pull_to_partners(statistics: Statistics, distances: Tensor) -> Tensor:
    """Return the mean distance of the rows to their identity's centers in other modalities, ()."""
    partners = statistics.same_identity & ~statistics.same_cell  # (N, N)
    votes = partners / statistics.cell_sizes  # the rows of a cell share one vote
    weights = votes / votes.sum(1, keepdim=True).clamp(min=1)  # a row with several partners shares its own
    return (weights * distances).sum() / partners.any(1).sum().clamp(min=1)


def push_from_rivals(statistics: Statistics, distances: Tensor, sizes: Tensor, margin: float) -> Tensor:
    """Return what rows lack to the margin from centers of other identities; ``sizes``: rows in the center of each."""
    rivals = ~statistics.same_identity / sizes  # (N, N): the rows of a center share one vote
    return (rivals * torch.relu(margin - distances)).sum() / rivals.sum().clamp(min=1)

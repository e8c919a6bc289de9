"""The discriminative center loss: rows near their identity's center, in relation to the nearer rows of others."""

from typing import NamedTuple

import torch
from torch import Tensor
from typing_extensions import override

from modinv.centers import RowsToCenters
from modinv.distances import diagonal
from modinv.losses.loss import Loss, row_means
from modinv.statistics import Statistics

__all__ = ["DiscriminativeCenterLoss", "DiscriminativeCenterTerms", "discriminative_center"]


class DiscriminativeCenterTerms(NamedTuple):
    """The discriminative center loss, ``total = positive / negative``."""

    total: Tensor  # ()
    positive: Tensor  # (): mean distance of the rows to the center of their identity
    negative: Tensor  # (): mean distance of the centers to the nearer rows of other identities


def discriminative_center(statistics: Statistics) -> DiscriminativeCenterTerms:
    """Draw rows to the center of their identity, and the nearer rows of other identities away from it.

    With c the center of all rows of an identity, in whatever modality, and d(c, x) its distance to row x,

        positive = mean over the rows x of       d(c of x's identity, x)
        negative = mean over the identities c of mean of d(c, x) over the x in H(c)
        total    = positive / negative,

    where H(c) holds the rows of other identities that are nearer to c than these are on the average; all of them, if
    none is. A ratio has no unit: the scale of the features does not matter. Modalities are not read. It is 0 with one
    identity.

    Where the nearer rows coincide with the centers up to rounding, the ratio has no limit. The denominator is at least
    4 sqrt(eps) of the root mean square distance of the rows to the mean of the batch: 1.4e-3 of it for float32.

    Cost: the shared Gram matrix and N x N terms.

    Args:
        statistics: of the batch.

    Example:
        >>> import torch
        >>> from modinv.statistics import statistics_of
        >>> features = torch.tensor([[0.0], [2.0], [6.0], [10.0]])  # centers at 1 and 8
        >>> labels, modalities = torch.tensor([0, 0, 1, 1]), torch.tensor([0, 1, 0, 1])
        >>> terms = discriminative_center(statistics_of(features, labels, modalities))
        >>> float(terms.positive), float(terms.negative)  # 6 is nearer to 1 than 10 is, and 2 is nearer to 8 than 0 is
        (1.5, 5.5)

    Reference: Lu, Zou and Zhang, "Learning progressive modality-shared transformers for effective visible-infrared
    person re-identification", 2023, DCL; the floor of the denominator is our choice.
    """
    distances = statistics.kept(RowsToCenters).of_identities.T  # (N, N): of the center of row i to row j
    rivals = ~statistics.same_identity
    anchors = rivals.any(1).to(distances.dtype)  # (N,): all rows, or none with one identity
    positive = (anchors * diagonal(distances)).sum() / anchors.sum().clamp(min=1)
    nearer = rivals & (distances < row_means(distances, rivals)[:, None])
    nearer = nearer | (rivals & ~nearer.any(1, keepdim=True))
    votes = anchors / statistics.same_identity.sum(1)  # (N,): an identity's rows share one vote
    votes = votes / votes.sum().clamp(min=1)
    negative = (votes * row_means(distances, nearer)).sum()
    total = positive / torch.maximum(negative, _floor(statistics))
    return DiscriminativeCenterTerms(total + statistics.zero, positive, negative)


class DiscriminativeCenterLoss(Loss[DiscriminativeCenterTerms]):
    """The loss of :func:`modinv.losses.discriminative_center`.

    Args:
        num_modalities: see :class:`modinv.losses.Loss`.

    Raises:
        TypeError, ValueError: at call on a malformed batch.
    """

    @override
    def read(self, statistics: Statistics) -> DiscriminativeCenterTerms:
        return discriminative_center(statistics)


def _floor(statistics: Statistics) -> Tensor:
    """Return the least denominator, (): what is left of a distance between equal points; 1 where all rows are equal."""
    spread = diagonal(statistics.row_gram).detach().sum() / statistics.counts.sum().clamp(min=1)
    return torch.where(spread == 0, 1.0, 4 * (statistics.eps * spread).sqrt())

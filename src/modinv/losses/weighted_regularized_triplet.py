"""The weighted regularised triplet loss of AGW, with a real softmax on both sides."""

from typing import NamedTuple

import torch
from torch import Tensor
from typing_extensions import override

from modinv.losses.loss import Loss
from modinv.statistics import Statistics

__all__ = [
    "WeightedRegularizedTripletLoss",
    "WeightedRegularizedTripletTerms",
    "weighted_regularized_triplet",
]


class WeightedRegularizedTripletTerms(NamedTuple):
    """The weighted regularised triplet loss and the two weighted distances, averaged over the anchors."""

    total: Tensor  # ()
    positive: Tensor  # ()
    negative: Tensor  # ()


def weighted_regularized_triplet(statistics: Statistics) -> WeightedRegularizedTripletTerms:
    """Compare a soft farthest positive with a soft nearest negative, without a margin and blind to modality.

    With d the distances of anchor i, the mean over the anchors of

        softplus(sum_j w+_j d_ij - sum_k w-_k d_ik),   w+ = softmax(d_ij) over the rows j of i's identity, i included,
                                                       w- = softmax(-d_ik) over the rows k of other identities.

    The weights are differentiated. An anchor without a row of another identity is left out.

    The published code computes w- without subtracting the maximum and adds 1e-6 to the sum. Beyond distances of about
    13 its weights no longer sum to one: a well separated batch gets a large loss and no gradient from its negatives.
    Here both sides are true softmaxes; the values agree while the published one is in range.

    Cost: the shared Gram matrix and N x N terms.

    Args:
        statistics: of the batch.

    Example:
        >>> import torch
        >>> from modinv.statistics import statistics_of
        >>> features = torch.tensor([[0.0], [0.0], [30.0], [30.0]])
        >>> labels, modalities = torch.tensor([0, 0, 1, 1]), torch.tensor([0, 1, 0, 1])
        >>> bool(weighted_regularized_triplet(statistics_of(features, labels, modalities)).total < 1e-12)
        True

    Reference: Ye, Shen, Lin, Xiang, Shao and Hoi, "Deep learning for person re-identification: a survey and outlook",
    2021, eq. 10 and 11.
    """
    same_identity, distances = statistics.same_identity, statistics.row_distances  # (N, N)
    anchors = ~same_identity.all(1)  # (N,)
    positive = _weighted(distances, distances, same_identity)
    # The whole row stands in where there is no negative: finite, and left out below.
    negative = _weighted(distances, -distances, ~same_identity | ~anchors[:, None])
    weights = anchors.to(distances.dtype) / anchors.sum().clamp(min=1)  # (N,)
    hinge = torch.nn.functional.softplus(positive - negative)
    total, positive, negative = ((weights * term).sum() for term in (hinge, positive, negative))
    return WeightedRegularizedTripletTerms(total + statistics.zero, positive, negative)


class WeightedRegularizedTripletLoss(Loss):
    """The loss of :func:`modinv.losses.weighted_regularized_triplet`.

    Args:
        num_modalities: see :class:`modinv.losses.Loss`.

    Raises:
        TypeError, ValueError: at call on a malformed batch.
    """

    @override
    def read(self, statistics: Statistics) -> WeightedRegularizedTripletTerms:
        return weighted_regularized_triplet(statistics)


def _weighted(distances: Tensor, scores: Tensor, mask: Tensor) -> Tensor:
    """Average each row's distances with the softmax of the scores over the mask, (N,)."""
    return (scores.masked_fill(~mask, -torch.inf).softmax(1) * distances).sum(1)

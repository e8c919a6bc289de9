"""The weighted regularised triplet loss of AGW, with a real softmax on both sides."""

from typing import Literal, NamedTuple

import torch
from torch import Tensor
from typing_extensions import override

from modinv._checks import check_choice, check_flag, check_number
from modinv.losses.loss import Loss, farthest
from modinv.statistics import Statistics

__all__ = [
    "WeightedRegularizedTripletLoss",
    "WeightedRegularizedTripletTerms",
    "weighted_regularized_triplet",
]

Weights = Literal["softmax", "published"]

_PUBLISHED_EPS = 1e-6  # what the published code adds to its sums, and its least distance


class WeightedRegularizedTripletTerms(NamedTuple):
    """The weighted regularised triplet loss and the two weighted distances, averaged over the anchors."""

    total: Tensor  # ()
    positive: Tensor  # ()
    negative: Tensor  # ()


def weighted_regularized_triplet(
    statistics: Statistics,
    *,
    weights: Weights = "softmax",
    alpha: float = 1.0,
    gamma: float = 1.0,
    squared: bool = False,
) -> WeightedRegularizedTripletTerms:
    """Compare a soft farthest positive with a soft nearest negative, without a margin and blind to modality.

    With d the distances of anchor i, the mean over the anchors of

        softplus(gamma g),   g = sum_j w+_j d_ij - sum_k w-_k d_ik,
        w+ = softmax(alpha d_ij) over the rows j of i's identity, i included,
        w- = softmax(-alpha d_ik) over the rows k of other identities.

    The weights are differentiated. An anchor without a row of another identity is left out. ``squared`` puts g |g| in
    the place of g: beyond a gap of 1/2 it pulls harder the wider the gap is. Its gradient vanishes at g = 0.

    The published code computes w- without subtracting the maximum and adds 1e-6 to the sum. Beyond distances of about
    13 its weights no longer sum to one: a well separated batch gets a large loss and no gradient from its negatives.
    By default both sides are true softmaxes; the values agree while the published one is in range.
    ``weights="published"`` is for who must reproduce a baseline: the published weights, with the 1e-6 in both sums, and
    distances of at least 1e-6. The published clamp of gamma g |g| at 88 is not here: it leaves no gradient above.

    Cost: the shared Gram matrix and N x N terms.

    Args:
        statistics: of the batch.
        weights: ``"softmax"`` or ``"published"``.
        alpha: how much the weights favour the farthest positive and the nearest negative.
        gamma: factor of the gap.
        squared: whether the gap enters as g |g|.

    Example:
        >>> import torch
        >>> from modinv.statistics import statistics_of
        >>> features = torch.tensor([[0.0], [0.0], [30.0], [30.0]])
        >>> labels, modalities = torch.tensor([0, 0, 1, 1]), torch.tensor([0, 1, 0, 1])
        >>> statistics = statistics_of(features, labels, modalities)
        >>> bool(weighted_regularized_triplet(statistics).total < 1e-12)
        True
        >>> weighted_regularized_triplet(statistics, weights="published").negative < 1e-3  # of 30
        tensor(True)

    Reference: Ye, Shen, Lin, Xiang, Shao and Hoi, "Deep learning for person re-identification: a survey and outlook",
    2021, eq. 10 and 11; squared, alpha and gamma: Ye, Ruan, Du and Shou, "Channel augmented joint learning for
    visible-infrared recognition", 2021, there the enhanced squared difference.
    """
    same_identity, distances = statistics.same_identity, statistics.row_distances  # (N, N)
    anchors = ~same_identity.all(1)  # (N,)
    # The whole row stands in where there is no negative: finite, and left out below.
    others = ~same_identity | ~anchors[:, None]
    if weights == "softmax":
        positive = _weighted(distances, alpha * distances, same_identity)
        negative = _weighted(distances, -alpha * distances, others)
    else:
        distances = distances.clamp(min=_PUBLISHED_EPS)
        shift = farthest(alpha * distances, same_identity)[:, None]  # the published one of the negatives is 0
        positive = _as_published(distances, alpha * distances - shift, same_identity)
        negative = _as_published(distances, -alpha * distances, others)
    shares = anchors.to(distances.dtype) / anchors.sum().clamp(min=1)  # (N,)
    gap = positive - negative
    losses = torch.nn.functional.softplus(gamma * gap * gap.abs() if squared else gamma * gap)
    total, positive, negative = (shares @ term for term in (losses, positive, negative))
    return WeightedRegularizedTripletTerms(total + statistics.zero, positive, negative)


class WeightedRegularizedTripletLoss(Loss[WeightedRegularizedTripletTerms]):
    """The loss of :func:`modinv.losses.weighted_regularized_triplet`.

    Args:
        weights: ``"softmax"`` (default), or ``"published"`` to reproduce AGW's and CAJ's code: weights that sum to
            less than one beyond a distance of about 13.
        alpha: factor of the distances in the weights; default 1.0, from both sources.
        gamma: factor of the gap; default 1.0, from both sources.
        squared: whether the gap enters as gap times |gap|, as in CAJ; default False, as in AGW.
        num_modalities: see :class:`modinv.losses.Loss`.

    Raises:
        TypeError, ValueError: at construction on an impossible option, at call on a malformed batch.
    """

    def __init__(
        self,
        *,
        weights: Weights = "softmax",
        alpha: float = 1.0,
        gamma: float = 1.0,
        squared: bool = False,
        num_modalities: int | None = None,
    ) -> None:
        super().__init__(num_modalities=num_modalities)
        check_choice("weights", weights, ("softmax", "published"))
        self.weights, self.squared = weights, check_flag("squared", squared)
        self.alpha = check_number("alpha", alpha, least=0)
        self.gamma = check_number("gamma", gamma, least=0, open_least=True)

    @override
    def read(self, statistics: Statistics) -> WeightedRegularizedTripletTerms:
        return weighted_regularized_triplet(
            statistics, weights=self.weights, alpha=self.alpha, gamma=self.gamma, squared=self.squared
        )

    @override
    def extra_repr(self) -> str:
        return f"weights={self.weights!r}, alpha={self.alpha}, gamma={self.gamma}, squared={self.squared}"


def _weighted(distances: Tensor, scores: Tensor, mask: Tensor) -> Tensor:
    """Average each row's distances with the softmax of the scores over the mask, (N,)."""
    return (scores.masked_fill(~mask, -torch.inf).softmax(1) * distances).sum(1)


def _as_published(distances: Tensor, scores: Tensor, mask: Tensor) -> Tensor:
    """Average each row's distances with the published weights over the mask, (N,)."""
    weights = scores.masked_fill(~mask, -torch.inf).exp()
    return (weights * distances).sum(1) / (weights.sum(1) + _PUBLISHED_EPS)

"""The batch-hard triplet loss, with a choice of the modalities in which positives and negatives are looked for."""

from typing import Literal, NamedTuple

import torch
from torch import Tensor
from typing_extensions import override

from modinv._checks import check_choice, check_margin
from modinv.distances import safe_sqrt
from modinv.losses.loss import Loss, farthest, hinge, nearest
from modinv.statistics import Statistics

__all__ = ["BatchHardTripletLoss", "BatchHardTripletTerms", "batch_hard_triplet"]

Pairs = Literal["all", "intra", "cross", "four_way"]
Reduction = Literal["mean", "sum"]


class BatchHardTripletTerms(NamedTuple):
    """The batch-hard triplet loss and the two distances that it compares, averaged over the anchors."""

    total: Tensor  # ()
    positive: Tensor  # (): to the farthest row of the same identity
    negative: Tensor  # (): to the nearest row of another identity


def batch_hard_triplet(
    statistics: Statistics, *, margin: float | None, pairs: Pairs = "all", reduction: Reduction = "mean"
) -> BatchHardTripletTerms:
    """Compare the farthest positive of each row with its nearest negative.

    With d the distances of anchor i, the mean over the anchors of

        max(0, margin + max_{j of i's identity} d_ij - min_{k of another identity} d_ik),

    j and k among the rows that ``pairs`` names, j not i itself. An anchor needs a positive and a negative there.

    * ``"all"``: all rows. The nearest negative is often one of the anchor's own modality;
    * ``"intra"``: the rows of the anchor's modality;
    * ``"cross"``: the rows of the other modalities;
    * ``"four_way"``: anchors of modality a and the rows of modality b, for all ordered pairs (a, b) with anchors, a = b
      included. Each pair has a mean over its anchors. The loss is the mean of these means, four with two modalities.

    Cost: the shared Gram matrix and N x N terms, M times as many for ``"four_way"``. In float32 a distance below about
    3e-4 of the features' norm is noise.

    Args:
        statistics: of the batch.
        margin: in units of the features; None: the soft margin, log(1 + exp(positive - negative)).
        pairs: where positives and negatives are looked for.
        reduction: ``"mean"``, or ``"sum"`` over the anchors, those of all ordered pairs with ``"four_way"``.

    Example:
        >>> import torch
        >>> from modinv.statistics import statistics_of
        >>> features = torch.tensor([[0.0], [1.0], [10.0], [13.0]])
        >>> labels, modalities = torch.tensor([0, 0, 1, 1]), torch.tensor([0, 1, 0, 1])
        >>> statistics = statistics_of(features, labels, modalities)
        >>> batch_hard_triplet(statistics, margin=9.0).total  # of 0, 1, 3 and 0
        tensor(1., dtype=torch.float64)
        >>> batch_hard_triplet(statistics, margin=9.0, pairs="cross").total  # of 0, 1, 3 and 0
        tensor(1., dtype=torch.float64)

    Reference: Hermans, Beyer and Leibe, "In defense of the triplet loss for person re-identification", 2017, eq. 5;
    ``"four_way"``: Fu, Hu, Wu, Shi, Mei and He, "CM-NAS", 2021, there for two modalities.
    """
    positives, negatives = _candidates(statistics, pairs)  # (N, N), or (M, N, N)
    anchors = (positives.any(-1) & negatives.any(-1)).to(statistics.dtype)  # (N,), or (M, N)
    squares = statistics.squared_row_distances
    chosen = torch.stack([farthest(squares, positives), nearest(squares, negatives)]).flatten(1)
    distances = safe_sqrt(chosen)  # (2, N), or (2, M N): not N x N roots
    weights = _weights(statistics, anchors, pairs).flatten()
    positive, negative = distances
    total = (weights if reduction == "mean" else anchors.flatten()) @ hinge(positive - negative, margin)
    return BatchHardTripletTerms(total + statistics.zero, *(distances @ weights))


class BatchHardTripletLoss(Loss[BatchHardTripletTerms]):
    """The loss of :func:`modinv.losses.batch_hard_triplet`.

    Args:
        margin: in units of the features, or None for the soft margin; default 0.3, that of AGW's code.
        pairs: ``"all"`` (default, blind to modality), ``"intra"``, ``"cross"`` or ``"four_way"``.
        reduction: ``"mean"`` (default) or ``"sum"`` over the anchors.
        num_modalities: see :class:`modinv.losses.Loss`.

    Raises:
        TypeError, ValueError: at construction on an impossible option, at call on a malformed batch.
    """

    def __init__(
        self,
        *,
        margin: float | None = 0.3,
        pairs: Pairs = "all",
        reduction: Reduction = "mean",
        num_modalities: int | None = None,
    ) -> None:
        super().__init__(num_modalities=num_modalities)
        check_choice("pairs", pairs, ("all", "intra", "cross", "four_way"))
        check_choice("reduction", reduction, ("mean", "sum"))
        self.margin, self.pairs, self.reduction = check_margin(margin), pairs, reduction
        self.needs = "identities" if pairs == "cross" else None

    @override
    def read(self, statistics: Statistics) -> BatchHardTripletTerms:
        return batch_hard_triplet(statistics, margin=self.margin, pairs=self.pairs, reduction=self.reduction)

    @override
    def extra_repr(self) -> str:
        return f"margin={self.margin}, pairs={self.pairs!r}, reduction={self.reduction!r}"


def _candidates(statistics: Statistics, pairs: Pairs) -> tuple[Tensor, Tensor]:
    """Return which rows may be a positive and a negative of each row: (N, N), or for each modality (M, N, N)."""
    same = statistics.same_identity
    myself = torch.eye(len(same), dtype=torch.bool, device=same.device)
    positives, negatives = same & ~myself, ~same
    if pairs == "all":
        return positives, negatives
    if pairs == "four_way":
        others = statistics.membership.T[:, None] > 0  # (M, 1, N)
    else:
        others = statistics.same_modality if pairs == "intra" else ~statistics.same_modality
    return positives & others, negatives & others


def _weights(statistics: Statistics, anchors: Tensor, pairs: Pairs) -> Tensor:
    """Return what each anchor counts in the mean, like ``anchors``."""
    if pairs != "four_way":
        return anchors / anchors.sum().clamp(min=1)
    counts = anchors @ statistics.membership  # (M, M): anchors of modality a that look at modality b, at [b, a]
    pairs_met = (counts > 0).sum().clamp(min=1)
    return anchors * ((1 / counts.clamp(min=1)) @ statistics.membership.T) / pairs_met

"""The cross-modality ranked list loss: positives inside a radius, negatives outside, for each kind of pair its own."""

from typing import NamedTuple

import torch
from torch import Tensor
from typing_extensions import override

from modinv._checks import check_flag, check_number
from modinv.directions import directions
from modinv.losses.loss import Loss, row_means
from modinv.statistics import Statistics

__all__ = ["CrossModalityRankedListLoss", "CrossModalityRankedListTerms", "cross_modality_ranked_list"]


class CrossModalityRankedListTerms(NamedTuple):
    """The cross-modality ranked list loss: ``total = pull + push``."""

    total: Tensor  # ()
    pull: Tensor  # (): what positives are outside of their radius
    push: Tensor  # (): what the negatives lack to theirs


def cross_modality_ranked_list(
    statistics: Statistics,
    *,
    alpha_intra: float = 2.2,
    margin_intra: float = 0.9,
    alpha_cross: float = 2.0,
    margin_cross: float = 1.0,
    temperature: float = 1.0,
    normalized: bool = True,
) -> CrossModalityRankedListTerms:
    """Keep an anchor's positives within alpha - margin of it and its negatives beyond alpha.

    With d the distances of anchor i, the mean over all rows i of the sum over the two kinds of pairs, those within a
    modality and those across, of

        pull = mean over the positives j, not i, of   max(0, d_ij - (alpha - margin))
        push = sum over the negatives k with d_ik < alpha of   w_ik (alpha - d_ik),   w_i = softmax(-temperature d_ik).

    Each kind has its own alpha and margin. What has no pair is 0. The weights are differentiated. At d_ik = alpha a
    negative enters the softmax with a weight above zero, so the value jumps there: the published formula. A distance
    equal to alpha up to rounding is outside.

    Cost: a Gram matrix, that of the directions by default, else the shared one, and N x N terms.

    Args:
        statistics: of the batch.
        alpha_intra: least distance of negatives of the anchor's modality.
        margin_intra: how much nearer its positives of that modality shall be.
        alpha_cross: the same for the rows of other modalities.
        margin_cross: the same for the rows of other modalities.
        temperature: the larger, the more the nearest negative counts.
        normalized: whether distances are those of the features scaled to length one.

    Example:
        >>> import torch
        >>> from modinv.statistics import statistics_of
        >>> features = torch.tensor([[0.0], [3.0], [4.0]])
        >>> labels, modalities = torch.tensor([0, 0, 1]), torch.tensor([0, 1, 1])
        >>> radii = {"alpha_intra": 4.0, "margin_intra": 1.0, "alpha_cross": 4.5, "margin_cross": 2.0}
        >>> terms = cross_modality_ranked_list(statistics_of(features, labels, modalities), **radii, normalized=False)
        >>> terms.pull  # 0.5 for two rows of three
        tensor(0.3333, dtype=torch.float64)
        >>> terms.push  # 0.5 across for the first row and the last, 3 within for the last two
        tensor(2.3333, dtype=torch.float64)

    Reference: Tian, Zhang, Lin, Qu, Xie and Ma, "Farewell to mutual information: variational distillation for
    cross-modal person re-identification", 2021, from its code; the list without modalities: Wang, Hua, Kodirov, Hu,
    Garnier and Robertson, "Ranked list loss for deep metric learning", 2019.
    """
    read = statistics.kept(directions) if normalized else statistics
    myself = torch.eye(len(read.labels), dtype=torch.bool, device=read.labels.device)
    positives, negatives = statistics.same_identity & ~myself, ~statistics.same_identity
    intra, cross = statistics.same_modality, ~statistics.same_modality
    kinds = ((intra, alpha_intra, margin_intra), (cross, alpha_cross, margin_cross))
    outside = (torch.relu(read.row_distances - (alpha - margin)) for _, alpha, margin in kinds)
    pulls = [row_means(excess, positives & kind) for excess, (kind, *_) in zip(outside, kinds, strict=True)]
    pushes = [_push(read, negatives & kind, alpha, temperature) for kind, alpha, _ in kinds]
    rows = statistics.counts.sum().clamp(min=1)
    pull, push = (torch.add(*terms).sum() / rows for terms in (pulls, pushes))
    return CrossModalityRankedListTerms(pull + push + read.zero, pull, push)


class CrossModalityRankedListLoss(Loss[CrossModalityRankedListTerms]):
    """The loss of :func:`modinv.losses.cross_modality_ranked_list`.

    Args:
        alpha_intra: default 2.2. No two directions are further apart than 2: their negatives are always pushed.
        margin_intra: at most alpha_intra, default 0.9.
        alpha_cross: default 2.0.
        margin_cross: at most alpha_cross, default 1.0.
        temperature: default 1.0. All defaults are those of the reference's training.
        normalized: default True; the other defaults are for directions.
        num_modalities: see :class:`modinv.losses.Loss`.

    Raises:
        TypeError, ValueError: at construction on an impossible option, at call on a malformed batch.
    """

    def __init__(
        self,
        *,
        alpha_intra: float = 2.2,
        margin_intra: float = 0.9,
        alpha_cross: float = 2.0,
        margin_cross: float = 1.0,
        temperature: float = 1.0,
        normalized: bool = True,
        num_modalities: int | None = None,
    ) -> None:
        super().__init__(num_modalities=num_modalities)
        self.alpha_intra = check_number("alpha_intra", alpha_intra, least=0)
        self.margin_intra = check_number("margin_intra", margin_intra, least=0, most=self.alpha_intra)
        self.alpha_cross = check_number("alpha_cross", alpha_cross, least=0)
        self.margin_cross = check_number("margin_cross", margin_cross, least=0, most=self.alpha_cross)
        self.temperature = check_number("temperature", temperature, least=0)
        self.normalized = check_flag("normalized", normalized)

    @override
    def read(self, statistics: Statistics) -> CrossModalityRankedListTerms:
        return cross_modality_ranked_list(
            statistics,
            alpha_intra=self.alpha_intra,
            margin_intra=self.margin_intra,
            alpha_cross=self.alpha_cross,
            margin_cross=self.margin_cross,
            temperature=self.temperature,
            normalized=self.normalized,
        )

    @override
    def extra_repr(self) -> str:
        names = ("alpha_intra", "margin_intra", "alpha_cross", "margin_cross", "temperature", "normalized")
        return ", ".join(f"{name}={getattr(self, name)}" for name in names)


def _push(read: Statistics, negatives: Tensor, radius: float, temperature: float) -> Tensor:
    """Return what the negatives (N, N) inside the radius lack to it, the nearest with most weight, (N,)."""
    distances = read.row_distances
    # At the radius up to rounding is outside: opposite directions are 2 apart, the default across modalities.
    inside = negatives & (distances < radius * (1 - 16 * read.eps))
    some = inside.any(1, keepdim=True)
    # The whole row stands in where there is none: finite, and left out below.
    weights = (-temperature * distances).masked_fill(~inside & some, -torch.inf).softmax(1)
    return (weights * (radius - distances)).sum(1) * some.squeeze(1)

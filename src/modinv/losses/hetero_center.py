"""The hetero-center loss: the centers of one identity meet across modalities; no identity repels another."""

from typing import Literal, NamedTuple

import torch
from torch import Tensor
from typing_extensions import override

from modinv._checks import check_choice, check_number
from modinv.centers import CellCenters
from modinv.losses.loss import Loss
from modinv.statistics import Statistics

__all__ = ["HeteroCenterLoss", "HeteroCenterTerms", "hetero_center"]

Distance = Literal["squared", "euclidean", "cosine"]
Reduction = Literal["mean", "sum"]


class HeteroCenterTerms(NamedTuple):
    """The hetero-center loss, and the distance that it shrinks."""

    total: Tensor  # ()
    distance: Tensor  # (): averaged over the pairs of centers, before the margin


def hetero_center(
    statistics: Statistics, *, margin: float, distance: Distance = "squared", reduction: Reduction = "mean"
) -> HeteroCenterTerms:
    """Draw the centers of one identity in two modalities together, as far as a margin.

    With c and c' the centers of one identity's rows in two modalities, the mean or the sum over all such pairs of

        max(0, d(c, c') - margin),

    with d the squared distance, the distance, or one minus the cosine. With two modalities an identity has one pair.
    Every center counts once, however many rows it has.

    Cost: on the CPU in eager mode one pass over the features, and a Gram matrix of the centers. Elsewhere the shared
    Gram matrix and N x N terms; ``"cosine"`` makes a Gram matrix of its own. In float32 a distance below
    about 3e-4 of the centers' norm is noise. The squared distance grows with the square of the features' scale, and
    so does the weight that the loss has in a sum.

    Args:
        statistics: of the batch.
        margin: in units of the distance.
        distance: ``"squared"``, ``"euclidean"`` or ``"cosine"``, which alone depends on where the origin is.
        reduction: ``"mean"`` or ``"sum"`` over the pairs.

    Example:
        >>> import torch
        >>> from modinv.statistics import statistics_of
        >>> features = torch.tensor([[0.0], [1.0], [10.0], [12.0]])
        >>> labels, modalities = torch.tensor([0, 0, 1, 1]), torch.tensor([0, 1, 0, 1])
        >>> hetero_center(statistics_of(features, labels, modalities), margin=0.5).total  # of 0.5 and 3.5
        tensor(2., dtype=torch.float64)

    Reference: Zhu, Yang, Wang, Zhao, Hu and Tao, "Hetero-center loss for cross-modality person re-identification",
    2020; the margin, and the form for more than two modalities, are not in its formula: the first is that of the
    authors' code, the second our choice.
    """
    centers, cosine = statistics.kept(CellCenters), distance == "cosine"
    distances = centers.cosine_distances if cosine else centers.distances
    pairs = centers.same_identity & ~centers.same_modality  # (C, C)
    weights = pairs / centers.times.outer(centers.times)
    count = weights.sum().clamp(min=1)  # each pair twice
    distances = distances.square() if distance == "squared" else distances
    excess, gap = ((weights * term).sum() for term in (torch.relu(distances - margin), distances))
    total = excess / 2 if reduction == "sum" else excess / count
    return HeteroCenterTerms(total, gap / count)


class HeteroCenterLoss(Loss[HeteroCenterTerms]):
    """The loss of :func:`modinv.losses.hetero_center`.

    Args:
        distance: ``"squared"`` (default, that of the reference), ``"euclidean"`` or ``"cosine"``.
        margin: in units of the distance; default 0.1, that of the authors' code.
        reduction: ``"mean"`` (default) or ``"sum"`` over the pairs of centers. The published form is the sum.
        num_modalities: see :class:`modinv.losses.Loss`.

    Raises:
        TypeError, ValueError: at construction on an impossible option, at call on a malformed batch.
    """

    needs = "identities"

    def __init__(
        self,
        *,
        distance: Distance = "squared",
        margin: float = 0.1,
        reduction: Reduction = "mean",
        num_modalities: int | None = None,
    ) -> None:
        super().__init__(num_modalities=num_modalities)
        check_choice("distance", distance, ("squared", "euclidean", "cosine"))
        check_choice("reduction", reduction, ("mean", "sum"))
        self.distance, self.margin, self.reduction = distance, check_number("margin", margin, least=0), reduction

    @override
    def read(self, statistics: Statistics) -> HeteroCenterTerms:
        return hetero_center(statistics, margin=self.margin, distance=self.distance, reduction=self.reduction)

    @override
    def extra_repr(self) -> str:
        return f"distance={self.distance!r}, margin={self.margin}, reduction={self.reduction!r}"

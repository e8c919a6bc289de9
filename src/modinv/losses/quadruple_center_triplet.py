"""The quadruple-center triplet loss: rows near their identity in the other modalities, away from other identities."""

from typing import NamedTuple

from torch import Tensor
from typing_extensions import override

from modinv._checks import check_number
from modinv.centers import RowsToCenters
from modinv.losses.hetero_center_contrast import pull_to_partners, push_from_rivals
from modinv.losses.loss import Loss
from modinv.statistics import Statistics

__all__ = ["QuadrupleCenterTripletLoss", "QuadrupleCenterTripletTerms", "quadruple_center_triplet"]


class QuadrupleCenterTripletTerms(NamedTuple):
    """The quadruple-center triplet loss: ``total = (pull + push) / 2``."""

    total: Tensor  # ()
    pull: Tensor  # (): rows to their identity's centers in other modalities
    push: Tensor  # (): what rows lack to the margin from the centers of other identities


def quadruple_center_triplet(statistics: Statistics, *, margin: float) -> QuadrupleCenterTripletTerms:
    """Draw rows to their identity's centers in other modalities, and keep them from other identities as a whole.

    With the centers c of each identity in each modality, and the center b of each identity over all modalities, half
    the sum of

        pull = mean over the rows i of      the mean over their identity's centers c in other modalities of |x_i - c|
        push = mean over all pairs of a row i and the center b of another identity of max(0, margin - |x_i - b|).

    A row whose identity is in one modality only has no pull. Every row and every center counts once. Any number of
    modalities: four streams are four centers for each identity.

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
        >>> terms = quadruple_center_triplet(statistics_of(features, labels, modalities), margin=4.5)
        >>> terms.pull, terms.push  # of 1, 1, 3, 3; of 4.5 - 4.5, 4.5 - 3.5, 4.5 - 2.5 and 0
        (tensor(2., dtype=torch.float64), tensor(0.7500, dtype=torch.float64))

    Reference: Hua, Cheng, Lu, Tu, Wang and Wang, "MSCMNet: multi-scale semantic correlation mining for
    visible-infrared person re-identification", 2023, as its code has it for two modalities of two streams each.
    """
    to_centers = statistics.kept(RowsToCenters)
    pull = pull_to_partners(statistics, to_centers.of_cells)
    push = push_from_rivals(statistics, to_centers.of_identities, to_centers.identities.sizes, margin)
    return QuadrupleCenterTripletTerms((pull + push) / 2 + statistics.zero, pull, push)


class QuadrupleCenterTripletLoss(Loss[QuadrupleCenterTripletTerms]):
    """The loss of :func:`modinv.losses.quadruple_center_triplet`.

    Args:
        margin: in units of the features; default 0.7, that of MSCMNet's code.
        num_modalities: see :class:`modinv.losses.Loss`.

    Raises:
        TypeError, ValueError: at construction on an impossible option, at call on a malformed batch.
    """

    def __init__(self, *, margin: float = 0.7, num_modalities: int | None = None) -> None:
        super().__init__(num_modalities=num_modalities)
        self.margin = check_number("margin", margin, least=0)

    @override
    def read(self, statistics: Statistics) -> QuadrupleCenterTripletTerms:
        return quadruple_center_triplet(statistics, margin=self.margin)

    @override
    def extra_repr(self) -> str:
        return f"margin={self.margin}"

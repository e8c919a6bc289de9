"""The hetero-center triplet loss: centers of the modalities attract across and repel by identity."""

from typing import Literal, NamedTuple

from torch import Tensor
from typing_extensions import override

from modinv._checks import check_choice, check_margin
from modinv.centers import CellCenters
from modinv.losses.loss import Loss, farthest, hinge, nearest
from modinv.statistics import Statistics

__all__ = ["HeteroCenterTripletLoss", "HeteroCenterTripletTerms", "hetero_center_triplet"]

Distance = Literal["euclidean", "cosine"]


class HeteroCenterTripletTerms(NamedTuple):
    """The hetero-center triplet loss and the two distances that it compares, averaged over the anchors."""

    total: Tensor  # ()
    positive: Tensor  # (): to the farthest center of the same identity in another modality
    negative: Tensor  # (): to the nearest center of another identity


def hetero_center_triplet(
    statistics: Statistics, *, margin: float | None, distance: Distance = "euclidean"
) -> HeteroCenterTripletTerms:
    """Draw the centers of one identity together across modalities, and keep other identities' centers away.

    With c the center of one identity's rows in one modality, the mean over all anchors c of

        max(0, margin + max_{same identity, other modality} |c - c'| - min_{other identity, any modality} |c - c'|).

    An anchor needs a partner in another modality and another identity in the batch. A center without a partner still
    serves as a negative. Every center counts once, however many rows it has.

    Cost: on the CPU in eager mode one pass over the features, and a Gram matrix of the centers. Elsewhere the shared
    Gram matrix and N x N terms; ``"cosine"`` makes a Gram matrix of its own. In float32 a distance below
    about 3e-4 of the centers' norm is noise.

    Args:
        statistics: of the batch.
        margin: in units of the distance; None: the soft margin, log(1 + exp(positive - negative)).
        distance: ``"euclidean"``, or ``"cosine"``, one minus the cosine of two centers around the origin.

    Example:
        >>> import torch
        >>> from modinv.statistics import statistics_of
        >>> features = torch.tensor([[0.0], [1.0], [10.0], [10.5]])
        >>> labels, modalities = torch.tensor([0, 0, 1, 1]), torch.tensor([0, 1, 0, 1])
        >>> hetero_center_triplet(statistics_of(features, labels, modalities), margin=9.0).total
        tensor(0.3750, dtype=torch.float64)

    Reference: Liu, Tan and Zhou, "Parameter sharing exploration and hetero-center triplet loss for visible-thermal
    person re-identification", 2021, eq. 7; there on PK batches, here on any batch.
    """
    centers, cosine = statistics.kept(CellCenters), distance == "cosine"
    distances = centers.cosine_distances if cosine else centers.distances
    same_identity = centers.same_identity  # (C, C)
    partners = same_identity & ~centers.same_modality
    anchors = partners.any(1) & ~same_identity.all(1)  # (C,)
    positive = farthest(distances, partners)
    negative = nearest(distances, ~same_identity)
    votes = anchors / centers.times
    weights = votes / votes.sum().clamp(min=1)
    total, positive, negative = (weights @ term for term in (hinge(positive - negative, margin), positive, negative))
    return HeteroCenterTripletTerms(total + 0.0 * distances.sum(), positive, negative)


class HeteroCenterTripletLoss(Loss[HeteroCenterTripletTerms]):
    """The loss of :func:`modinv.losses.hetero_center_triplet`.

    Args:
        margin: in units of the distance, or None for the soft margin; default 0.3, from the reference.
        distance: ``"euclidean"`` (default) or ``"cosine"``.
        num_modalities: see :class:`modinv.losses.Loss`.

    Raises:
        TypeError, ValueError: at construction on an impossible option, at call on a malformed batch.
    """

    needs = "identities"

    def __init__(
        self, *, margin: float | None = 0.3, distance: Distance = "euclidean", num_modalities: int | None = None
    ) -> None:
        super().__init__(num_modalities=num_modalities)
        check_choice("distance", distance, ("euclidean", "cosine"))
        self.margin, self.distance = check_margin(margin), distance

    @override
    def read(self, statistics: Statistics) -> HeteroCenterTripletTerms:
        return hetero_center_triplet(statistics, margin=self.margin, distance=self.distance)

    @override
    def extra_repr(self) -> str:
        return f"margin={self.margin}, distance={self.distance!r}"

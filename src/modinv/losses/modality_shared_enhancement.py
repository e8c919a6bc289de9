"""The modality-shared enhancement loss: other modalities' rows as far from a row as those of its own modality."""

from typing import Literal, NamedTuple

import torch
from torch import Tensor
from typing_extensions import override

from modinv._checks import check_choice
from modinv.directions import cosine_distances, directions
from modinv.losses.loss import Loss, row_means
from modinv.statistics import Statistics

__all__ = ["ModalitySharedEnhancementLoss", "ModalitySharedEnhancementTerms", "modality_shared_enhancement"]

Distance = Literal["euclidean", "cosine"]


class ModalitySharedEnhancementTerms(NamedTuple):
    """The modality-shared enhancement loss and the two distances that it compares, averaged over the anchors."""

    total: Tensor  # ()
    cross: Tensor  # (): to the rows of the same identity in other modalities
    intra: Tensor  # (): to the other rows of the same identity in the same modality


def modality_shared_enhancement(
    statistics: Statistics, *, distance: Distance = "euclidean"
) -> ModalitySharedEnhancementTerms:
    """Make the rows of an identity as far apart across modalities as they are within one.

    With d the distances of anchor i, the mean over the anchors of

        (mean_{j of i's identity, other modality} d_ij - mean_{k of i's identity and modality, not i} d_ik)^2.

    An anchor needs such a j and such a k. Other identities are not read: alone, the loss lets all rows collapse.

    Cost: the shared Gram matrix and N x N terms; ``"cosine"`` has a Gram matrix of its own.

    Args:
        statistics: of the batch.
        distance: ``"euclidean"``, or ``"cosine"``, one minus the cosine of the angle at the origin.

    Example:
        >>> import torch
        >>> from modinv.statistics import statistics_of
        >>> features = torch.tensor([[0.0], [1.0], [4.0], [6.0]])
        >>> labels, modalities = torch.tensor([0, 0, 0, 0]), torch.tensor([0, 0, 1, 1])
        >>> modality_shared_enhancement(statistics_of(features, labels, modalities)).total  # of 4, 3, 1.5, 3.5, squared
        tensor(9.8750, dtype=torch.float64)

    Reference: Lu, Zou and Zhang, "Learning progressive modality-shared transformers for effective visible-infrared
    person re-identification", 2023, MSEL; there for K rows in every cell, here for any.
    """
    read = statistics if distance == "euclidean" else statistics.kept(directions)
    distances = read.row_distances if distance == "euclidean" else cosine_distances(statistics)  # (N, N)
    myself = torch.eye(len(distances), dtype=torch.bool, device=distances.device)
    partners = statistics.same_identity & ~statistics.same_modality
    siblings = statistics.same_cell & ~myself
    anchors = (partners.any(1) & siblings.any(1)).to(distances.dtype)  # (N,)
    cross, intra = row_means(distances, partners), row_means(distances, siblings)
    weights = anchors / anchors.sum().clamp(min=1)
    total, cross, intra = (weights @ term for term in ((cross - intra).square(), cross, intra))
    return ModalitySharedEnhancementTerms(total + read.zero, cross, intra)


class ModalitySharedEnhancementLoss(Loss[ModalitySharedEnhancementTerms]):
    """The loss of :func:`modinv.losses.modality_shared_enhancement`.

    Args:
        distance: ``"euclidean"`` (default) or ``"cosine"``.
        num_modalities: see :class:`modinv.losses.Loss`.

    Raises:
        TypeError, ValueError: at construction on an impossible option, at call on a malformed batch.
    """

    needs = "identities"

    def __init__(self, *, distance: Distance = "euclidean", num_modalities: int | None = None) -> None:
        super().__init__(num_modalities=num_modalities)
        check_choice("distance", distance, ("euclidean", "cosine"))
        self.distance = distance

    @override
    def read(self, statistics: Statistics) -> ModalitySharedEnhancementTerms:
        return modality_shared_enhancement(statistics, distance=self.distance)

    @override
    def extra_repr(self) -> str:
        return f"distance={self.distance!r}"

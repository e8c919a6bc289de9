"""The center cluster loss: rows near the center of their identity, centers of identities apart."""

from typing import NamedTuple

import torch
from torch import Tensor
from typing_extensions import override

from modinv._checks import check_number
from modinv.centers import identity_centers
from modinv.losses.loss import Loss
from modinv.statistics import Statistics

__all__ = ["CenterClusterLoss", "CenterClusterTerms", "center_cluster"]


class CenterClusterTerms(NamedTuple):
    """The center cluster loss: ``total = pull + push``."""

    total: Tensor  # ()
    pull: Tensor  # (): rows to their center
    push: Tensor  # (): what the centers of two identities lack to the margin


def center_cluster(statistics: Statistics, *, margin: float, pull_margin: float = 0.0) -> CenterClusterTerms:
    """Draw each row to the center of its identity over all modalities, and keep these centers apart.

    With c(i) the center of all rows of row i's identity, whatever their modality,

        pull = mean over the rows i of                  max(0, |x_i - c(i)| - pull_margin)
        push = mean over the pairs of identities of     max(0, margin - |c - c'|).

    A row that is its own center has distance 0 and gradient 0, and counts in the mean. Every identity counts once in
    the push, however many rows it has. Modalities are not read: a modality with few rows has little say in a center.

    Cost: on the CPU in eager mode some passes over the features, and a Gram matrix of the centers. Elsewhere the shared
    Gram matrix and N x N terms, and in float32 a distance below about 3e-4 of the features' norm is noise.

    Args:
        statistics: of the batch.
        margin: in units of the features. Where the centers are further apart than it, there is no push.
        pull_margin: in units of the features. A row as near as that to its center is left alone.

    Example:
        >>> import torch
        >>> from modinv.statistics import statistics_of
        >>> features = torch.tensor([[0.0], [2.0], [3.0], [7.0]])
        >>> labels, modalities = torch.tensor([0, 0, 1, 1]), torch.tensor([0, 1, 0, 1])
        >>> center_cluster(statistics_of(features, labels, modalities), margin=4.5)  # centers 1 and 5
        CenterClusterTerms(total=tensor(2., dtype=torch.float64), pull=tensor(1.5000, dtype=torch.float64), \
push=tensor(0.5000, dtype=torch.float64))

    Reference: Wu et al., "Discover cross-modality nuances for visible-infrared person re-identification" (MPANet),
    2021; with two margins: Fang, Yang and Fu, "Visible-infrared person re-identification via semantic alignment and
    affinity inference" (SAAI), 2023. Both as their code has it.
    """
    centers = statistics.kept(identity_centers)
    pull = torch.relu(centers.of_rows - pull_margin).sum() / max(len(centers.of_rows), 1)
    weights = centers.others / centers.times.outer(centers.times)  # the rows of two identities share one vote
    push = (weights * torch.relu(margin - centers.distances)).sum() / weights.sum().clamp(min=1)
    attached = 0.0 * centers.distances.sum()
    return CenterClusterTerms(pull + push + attached, pull, push)


class CenterClusterLoss(Loss[CenterClusterTerms]):
    """The loss of :func:`modinv.losses.center_cluster`.

    Args:
        margin: in units of the features; default 0.7, that of the code of MPANet and SAAI.
        pull_margin: in units of the features; default 0, MPANet's. SAAI has 0.01.
        num_modalities: see :class:`modinv.losses.Loss`.

    Raises:
        TypeError, ValueError: at construction on an impossible option, at call on a malformed batch.
    """

    def __init__(self, *, margin: float = 0.7, pull_margin: float = 0.0, num_modalities: int | None = None) -> None:
        super().__init__(num_modalities=num_modalities)
        self.margin = check_number("margin", margin, least=0)
        self.pull_margin = check_number("pull_margin", pull_margin, least=0)

    @override
    def read(self, statistics: Statistics) -> CenterClusterTerms:
        return center_cluster(statistics, margin=self.margin, pull_margin=self.pull_margin)

    @override
    def extra_repr(self) -> str:
        return f"margin={self.margin}, pull_margin={self.pull_margin}"

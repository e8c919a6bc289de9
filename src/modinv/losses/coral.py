"""CORAL: the covariances of the modalities meet; a preset of the Gaussian loss under the name that people look for."""

from typing import Literal, NamedTuple

from torch import Tensor
from typing_extensions import override

from modinv.losses.gaussian_distribution_consistency import GaussianDistributionConsistencyLoss
from modinv.losses.loss import Loss
from modinv.statistics import Statistics

__all__ = ["CoralLoss", "CoralTerms"]


class CoralTerms(NamedTuple):
    """The CORAL loss."""

    total: Tensor  # ()


class CoralLoss(Loss[CoralTerms]):
    """Measure |S_a - S_b|_F^2 / (4 D^2), the squared distance of the covariances of the modalities.

    It is the covariance part of ``GaussianDistributionConsistencyLoss(divergence="moments")`` divided by 4 D, and
    leaves the means alone. Take that loss for means, diagonals, shrinkage, a target or a debiased form. More than two
    modalities: the mean over their pairs.

    Args:
        level: ``"modality"`` (default), ``"identity"`` or ``"within"``; see
            :class:`modinv.GaussianDistributionConsistencyLoss`.
        num_modalities: see :class:`modinv.losses.Loss`.

    Raises:
        TypeError, ValueError: at construction on an impossible option, at call on a malformed batch.

    Example:
        >>> import torch
        >>> features = torch.tensor([[-1.0], [1.0], [7.0], [7.0]])  # variances 2 and 0
        >>> CoralLoss()(features, torch.tensor([0, 1, 0, 1]), torch.tensor([0, 0, 1, 1]))
        tensor(1.)

    Reference: Sun and Saenko, "Deep CORAL: correlation alignment for deep domain adaptation", 2016, eq. 1.
    """

    reads_gram = True

    def __init__(
        self, *, level: Literal["modality", "identity", "within"] = "modality", num_modalities: int | None = None
    ) -> None:
        super().__init__(num_modalities=num_modalities)
        self.moments = GaussianDistributionConsistencyLoss(divergence="moments", level=level)
        self.needs, self.reads_labels = self.moments.needs, self.moments.reads_labels

    @override
    def read(self, statistics: Statistics) -> CoralTerms:
        return CoralTerms(self.moments.read(statistics).covariance / (4 * statistics.features.shape[1]))

"""Cross-modality feature distribution consistency: the Gaussians of the modalities are drawn together.

The abstract: "a cross-modality feature distribution consistency loss" on "the Gaussian distribution assumption". Our
reading: the features of each modality are one Gaussian with the mean and the covariance of the batch, and the loss is
a divergence between them. Which divergence, the full covariance, the division by D and the shrinkage are our choice;
the paper's formula is not public.
"""

from collections.abc import Callable
from typing import Literal, NamedTuple

from torch import Tensor
from typing_extensions import override

from modinv import divergences
from modinv._checks import check_choice, check_number
from modinv.losses.loss import Loss
from modinv.statistics import Statistics

__all__ = ["GaussianDistributionConsistencyLoss", "GaussianTerms", "gaussian_distribution_consistency"]

Divergence = Literal["wasserstein", "jeffreys", "moments"]
Covariance = Literal["full", "diagonal"]
Level = Literal["modality"]


class GaussianTerms(NamedTuple):
    """The distribution consistency loss, and how much of it means and covariances make."""

    total: Tensor  # ()
    mean: Tensor  # ()
    covariance: Tensor  # ()


class _Choice(NamedTuple):
    parts: Callable[[divergences.Gaussians], divergences.Parts]
    least_count: int  # rows that both modalities need: one has a mean, an inverse of the covariance needs two
    least_shrinkage: float


# The smallest shrinkage is where float64 sample-space algebra still keeps five digits of a float32 batch.
_DIVERGENCES = {
    "wasserstein": _Choice(divergences.wasserstein, least_count=1, least_shrinkage=0.0),
    "jeffreys": _Choice(divergences.jeffreys, least_count=2, least_shrinkage=1e-6),
    "moments": _Choice(divergences.moments, least_count=1, least_shrinkage=0.0),
}
_COVARIANCES = ("full", "diagonal")
_LEVELS = ("modality",)


def gaussian_distribution_consistency(
    features: Tensor,
    labels: Tensor,
    modalities: Tensor,
    *,
    divergence: Divergence = "wasserstein",
    covariance: Covariance = "full",
    level: Level = "modality",
    shrinkage: float = 0.0,
    num_modalities: int | None = None,
) -> Tensor:
    """Return :class:`GaussianDistributionConsistencyLoss` of one batch, (); see there for the arguments.

    Example:
        >>> import torch
        >>> features = torch.tensor([[0.0, 0.0], [2.0, 0.0], [5.0, 0.0], [7.0, 0.0]])
        >>> labels, modalities = torch.tensor([0, 1, 0, 1]), torch.tensor([0, 0, 1, 1])
        >>> gaussian_distribution_consistency(features, labels, modalities)  # equal spread, means 5 apart, D = 2
        tensor(12.5000)
    """
    loss = GaussianDistributionConsistencyLoss(
        divergence=divergence,
        covariance=covariance,
        level=level,
        shrinkage=shrinkage,
        num_modalities=num_modalities,
    )
    total: Tensor = loss(features, labels, modalities)
    return total


class GaussianDistributionConsistencyLoss(Loss):
    """Measure how far the feature distributions of the modalities are apart, each taken as one Gaussian.

    With mean mu_m and covariance Sigma_m (denominator n_m - 1) of the rows of modality m, and
    S_m = (1 - alpha) Sigma_m + alpha (tr Sigma_m / D) I:

    * ``"wasserstein"``: |mu_1 - mu_2|^2 + tr S_1 + tr S_2 - 2 tr (S_1^(1/2) S_2 S_1^(1/2))^(1/2), the squared
      2-Wasserstein distance;
    * ``"jeffreys"``: KL(1 || 2) / 2 + KL(2 || 1) / 2;
    * ``"moments"``: |mu_1 - mu_2|^2 + |S_1 - S_2|_F^2.

    The value is divided by D, so that a weight carries over between embedding sizes. More than two modalities: the
    mean over their pairs. A modality with one row has a mean and covariance zero; ``"jeffreys"`` compares it with
    nothing. Labels are not read at level ``"modality"``.

    Cost with N rows: one N x D x N product forward and one backward while N <= D, the D x D covariances beyond; never
    anything of size D x D in the first case. ``"jeffreys"`` of raw batch covariances (N < D) reports the shrinkage
    more than the data when alpha is small: 0.1 or more is sensible. Differentiable once for ``"wasserstein"`` with
    full covariance, which raises a ``RuntimeError`` in double backward; the others any number of times.

    Args:
        divergence: as above; default ``"wasserstein"``, which needs no shrinkage and stays finite on every batch.
        covariance: ``"full"`` (default) or ``"diagonal"``, which keeps the variances alone.
        level: ``"modality"``, one Gaussian per modality.
        shrinkage: alpha in [0, 1]; default 0. ``"jeffreys"`` needs at least 1e-6, since a batch with fewer rows than
            features has a singular covariance.
        num_modalities: see :class:`modinv.losses.Loss`.

    Raises:
        TypeError, ValueError: at construction on an unknown or impossible option, at call on a malformed batch.

    Example:
        >>> import torch
        >>> loss = GaussianDistributionConsistencyLoss(divergence="jeffreys", shrinkage=0.1)
        >>> loss
        GaussianDistributionConsistencyLoss(divergence='jeffreys', covariance='full', level='modality', shrinkage=0.1)
        >>> features = torch.randn(16, 8, generator=torch.Generator().manual_seed(0))
        >>> terms = loss.terms(features, torch.arange(16) % 4, torch.arange(16) // 8)
        >>> bool(terms.total == terms.mean + terms.covariance)
        True

    Reference: Zhang, Zhao, Du, Sun and Wang, "Learning enhancing modality-invariant features for visible-infrared
    person re-identification", 2025; the formula is not given in the abstract, this one is our choice.
    """

    def __init__(
        self,
        *,
        divergence: Divergence = "wasserstein",
        covariance: Covariance = "full",
        level: Level = "modality",
        shrinkage: float = 0.0,
        num_modalities: int | None = None,
    ) -> None:
        super().__init__(num_modalities=num_modalities)
        self.divergence = check_choice("divergence", divergence, tuple(_DIVERGENCES))
        self.covariance = check_choice("covariance", covariance, _COVARIANCES)
        self.level = check_choice("level", level, _LEVELS)
        least = _DIVERGENCES[divergence].least_shrinkage
        self.shrinkage = check_number(f"shrinkage of divergence {divergence!r}", shrinkage, least=least, most=1)

    @override
    def read(self, statistics: Statistics) -> GaussianTerms:
        choice = _DIVERGENCES[self.divergence]
        gaussians = divergences.gaussians_of(statistics, self.covariance, self.shrinkage)
        present = statistics.counts >= choice.least_count  # (M,)
        pairs = (present[:, None] & present).triu(1).to(statistics.dtype)  # (M, M)
        # A weight of zero, not a mask: what is not finite must arrive even where nothing can be compared.
        weights = pairs / (statistics.features.shape[1] * pairs.sum().clamp(min=1))
        mean, covariance = ((part * weights).sum().to(statistics.dtype) for part in choice.parts(gaussians))
        return GaussianTerms(mean + covariance, mean, covariance)

    @override
    def extra_repr(self) -> str:
        return (
            f"divergence={self.divergence!r}, covariance={self.covariance!r}, level={self.level!r}, "
            f"shrinkage={self.shrinkage}"
        )

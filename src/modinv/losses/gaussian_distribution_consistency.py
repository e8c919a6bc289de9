"""Cross-modality feature distribution consistency: the Gaussians of the modalities are drawn together.

The abstract: "a cross-modality feature distribution consistency loss" on "the Gaussian distribution assumption". Our
reading: the features of each modality are one Gaussian with the mean and the covariance of the batch, and the loss is
a divergence between them. Which divergence, the full covariance, the division by D and the shrinkage are our choice;
the paper's formula is not public.
"""

from typing import Literal, NamedTuple

from torch import Tensor
from typing_extensions import override

from modinv import divergences
from modinv._checks import check_choice, check_flag, check_number, check_target
from modinv.divergences import Covariance, DivergenceName
from modinv.groups import LEVELS, average, comparisons_of
from modinv.losses.loss import Loss
from modinv.statistics import Statistics

__all__ = ["GaussianDistributionConsistencyLoss", "GaussianTerms"]

Level = Literal["modality", "identity", "within"]
Shrinkage = float | Literal["oas", "ledoit_wolf"]


class GaussianTerms(NamedTuple):
    """The distribution consistency loss, and how much of it means and covariances make."""

    total: Tensor  # ()
    mean: Tensor  # ()
    covariance: Tensor  # ()


class GaussianDistributionConsistencyLoss(Loss[GaussianTerms]):
    """Measure how far the feature distributions of the modalities are apart, each taken as one Gaussian.

    The value is divided by D, so that a weight carries over between embedding sizes. More than two modalities: the mean
    over their pairs. Formulas, costs and float types: docs/mathematics.md; degenerate batches: docs/contract.md.

    Args:
        divergence: of two Gaussians. ``"wasserstein"`` (default) is the squared 2-Wasserstein distance, ``"kl"`` the
            Kullback-Leibler divergence KL(lower || higher) by modality number, ``"jeffreys"`` the mean of both
            directions, ``"bhattacharyya"`` the Bhattacharyya distance, ``"jensen_shannon"`` the mean KL to the Gaussian
            of the pooled moments (all modalities at once), ``"moments"`` |mu_a - mu_b|^2 + |S_a - S_b|_F^2. The default
            needs no shrinkage and scored best in docs/reproduction.md; it can be differentiated once.
        covariance: ``"full"`` (default), ``"diagonal"``, or ``"isotropic"``, the mean variance times the identity.
        level: ``"modality"`` (default), one Gaussian per modality; ``"identity"``, one per identity and modality;
            ``"within"``, means per identity and the modality's covariance around them. In float32 the last two lose the
            covariance part of cells whose spread is below 1e-3 of the features' norm: give float64 features there.
        shrinkage: alpha in [0, 1], default 0: S = (1 - alpha) Sigma + alpha (tr Sigma / D) I; or ``"oas"`` or
            ``"ledoit_wolf"``, an estimate for ``"full"`` that is not differentiated. All but ``"wasserstein"`` and
            ``"moments"`` need 1e-6 or more. Below 0.1 they report the shrinkage of small batches more than the data.
        target: modality whose moments receive no gradient, so that the others move towards it; default: none.
        debiased: take off what sampling adds to the value on the average, default False. The value can be negative
            then. It assumes independent rows: PK sampling draws several images per identity, so at level ``"modality"``
            it corrects too little. Of ``"wasserstein"`` only the mean part is corrected. Which combinations have an
            estimate: :mod:`modinv.divergences.bias`.
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
        >>> bool(terms.total.isclose(terms.mean + terms.covariance))
        True

    Reference: Zhang, Zhao, Du, Sun and Wang, "Learning enhancing modality-invariant features for visible-infrared
    person re-identification", 2025; the formula is not given in the abstract, this one is our choice.
    """

    def __init__(
        self,
        *,
        divergence: DivergenceName = "wasserstein",
        covariance: Covariance = "full",
        level: Level = "modality",
        shrinkage: Shrinkage = 0.0,
        target: int | None = None,
        debiased: bool = False,
        num_modalities: int | None = None,
    ) -> None:
        super().__init__(num_modalities=num_modalities)
        check_choice("divergence", divergence, tuple(divergences.DIVERGENCES))
        self.divergence = divergence
        self.covariance = check_choice("covariance", covariance, ("full", "diagonal", "isotropic"))
        self.level = check_choice("level", level, LEVELS)
        self.needs = "modalities" if level == "modality" else "identities"
        self.reads_labels, self.reads_gram = level != "modality", covariance == "full" and target is None
        self.shrinkage = _check_shrinkage(shrinkage, divergence, covariance)
        self.target = check_target(target, self.num_modalities)
        self.debiased = _check_debiased(debiased, divergence, covariance, shrinkage)

    @override
    def read(self, statistics: Statistics) -> GaussianTerms:
        if not len(statistics.features):
            return GaussianTerms(*[statistics.features.sum()] * 3)
        statistics = self._exact(statistics)
        compared = comparisons_of(statistics, self.level)
        gaussians: divergences.Gaussians
        if self.covariance == "full":
            gaussians = divergences.full_gaussians(statistics, compared, self.shrinkage)
        else:
            isotropic = self.covariance == "isotropic"
            gaussians = divergences.diagonal_gaussians(statistics, compared, float(self.shrinkage), isotropic=isotropic)
        parts, least_degrees = self._divergence.of(gaussians), int(self._divergence.inverts)
        if self.debiased:
            bias = self._divergence.bias[self.covariance]
            parts, least_degrees = bias.taken_off(parts, gaussians, compared), bias.least_degrees
        mean, covariance = average(parts, compared, least_degrees, statistics.features.shape[1])
        return GaussianTerms(mean + covariance, mean, covariance)

    @property
    def _divergence(self) -> divergences.Divergence:
        return divergences.DIVERGENCES[self.divergence]

    def _exact(self, statistics: Statistics) -> Statistics:
        """Return the statistics without gradient of the target, and with as many digits as the covariances need."""
        if self.target is not None:
            statistics = statistics.with_fixed(self.target)
        num_rows, dimension = statistics.features.shape
        roots = self.divergence == "wasserstein" and self.shrinkage != 0 and num_rows > dimension
        if self.covariance != "full" or not (self._divergence.inverts or roots):
            return statistics
        # Rounding the products over the features must not reach the least eigenvalue, alpha tr Sigma / D.
        small = isinstance(self.shrinkage, str) or self.shrinkage < 64 * statistics.eps * dimension
        if not small or statistics.features.dtype == statistics.dtype:
            return statistics
        return statistics.of(statistics.features.to(statistics.dtype))

    @override
    def extra_repr(self) -> str:
        target = "" if self.target is None else f", target={self.target}"
        return (
            f"divergence={self.divergence!r}, covariance={self.covariance!r}, level={self.level!r}, "
            f"shrinkage={self.shrinkage!r}{target}{', debiased=True' * self.debiased}"
        )


def _check_shrinkage(shrinkage: Shrinkage, divergence: DivergenceName, covariance: str) -> Shrinkage:
    if isinstance(shrinkage, str):
        check_choice("shrinkage", shrinkage, tuple(divergences.INTENSITIES))
        if covariance != "full":
            raise ValueError(
                f"shrinkage {shrinkage!r} is an estimate for covariance 'full': give a number in [0, 1] "
                f"with covariance {covariance!r}"
            )
        return shrinkage
    return check_number(f"shrinkage of divergence {divergence!r}", shrinkage, least=_least(divergence), most=1)


def _check_debiased(debiased: bool, divergence: DivergenceName, covariance: str, shrinkage: Shrinkage) -> bool:
    if not check_flag("debiased", debiased):
        return False
    if covariance not in divergences.DIVERGENCES[divergence].bias:
        inverted = divergence in ("kl", "jeffreys")
        reason = "an inverse of fewer rows than features" if inverted else "a logarithm of mixed covariances"
        raise ValueError(
            f"debiased must be False with divergence {divergence!r} and covariance {covariance!r}, since no mean is "
            f"known of {reason}: take 'moments' or 'wasserstein', or 'kl' or 'jeffreys' with 'diagonal' or 'isotropic'"
        )
    if shrinkage != _least(divergence):
        raise ValueError(
            f"a debiased {divergence!r} must have shrinkage {_least(divergence):g}, got {shrinkage!r}: shrinking is a "
            "bias too"
        )
    return True


def _least(divergence: DivergenceName) -> float:
    return divergences.LEAST_SHRINKAGE if divergences.DIVERGENCES[divergence].inverts else 0.0

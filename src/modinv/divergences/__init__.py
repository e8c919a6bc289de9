"""Two Gaussians to one number: the divergences, and the forms in which Gaussians come."""

from modinv.divergences.between import divergence_between
from modinv.divergences.diagonal import DiagonalGaussians
from modinv.divergences.feature_space import FeatureGaussians
from modinv.divergences.formulas import Parts, bhattacharyya, jeffreys, jensen_shannon, kl, moments, wasserstein
from modinv.divergences.gaussians import Gaussians
from modinv.divergences.layout import LEVELS, Layout, Pairs, compare, compare_all, lay_out
from modinv.divergences.noise import NOISES
from modinv.divergences.sample_moments import Moments, moments_of
from modinv.divergences.sample_space import SampleGaussians
from modinv.divergences.shrinkage import INTENSITIES, LEAST_SHRINKAGE, ledoit_wolf, oas
from modinv.statistics import Statistics

__all__ = [
    "INTENSITIES",
    "LEAST_SHRINKAGE",
    "LEVELS",
    "NOISES",
    "DiagonalGaussians",
    "FeatureGaussians",
    "Gaussians",
    "Layout",
    "Moments",
    "Pairs",
    "Parts",
    "SampleGaussians",
    "bhattacharyya",
    "compare",
    "compare_all",
    "divergence_between",
    "gaussians_of",
    "jeffreys",
    "jensen_shannon",
    "kl",
    "lay_out",
    "ledoit_wolf",
    "moments",
    "moments_of",
    "oas",
    "wasserstein",
]


def gaussians_of(statistics: Statistics, level: str, covariance: str, shrinkage: float | str) -> Gaussians:
    """Give the Gaussians of a batch in the cheaper of the exact forms.

    Args:
        statistics: of the batch, N rows of D features.
        level: one of :data:`LEVELS`.
        covariance: ``"full"``, ``"diagonal"`` or ``"isotropic"``.
        shrinkage: alpha in [0, 1], or one of :data:`INTENSITIES` with full covariance.

    Returns:
        For full covariance sample space while N <= D and at the levels of identities, whose cells have few rows;
        feature space beyond.
    """
    layout = lay_out(statistics, level)
    if covariance != "full":
        assert not isinstance(shrinkage, str)
        return DiagonalGaussians(statistics, layout, shrinkage, isotropic=covariance == "isotropic")
    num_rows, dimension = statistics.features.shape
    form = FeatureGaussians if num_rows > dimension and level == "modality" else SampleGaussians
    return form(statistics, layout, shrinkage)

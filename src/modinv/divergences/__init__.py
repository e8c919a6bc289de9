"""Two Gaussians to one number: the divergences, and the forms in which Gaussians come."""

from modinv.divergences.diagonal import DiagonalGaussians
from modinv.divergences.feature_space import FeatureGaussians
from modinv.divergences.formulas import Parts, jeffreys, moments, wasserstein
from modinv.divergences.gaussians import Gaussians, Relative
from modinv.divergences.sample_space import SampleGaussians
from modinv.statistics import Statistics

__all__ = [
    "DiagonalGaussians",
    "FeatureGaussians",
    "Gaussians",
    "Parts",
    "Relative",
    "SampleGaussians",
    "gaussians_of",
    "jeffreys",
    "moments",
    "wasserstein",
]


def gaussians_of(statistics: Statistics, covariance: str, shrinkage: float) -> Gaussians:
    """Give the Gaussians of a batch's modalities in the cheaper of the exact forms.

    Args:
        statistics: of the batch, N rows of D features.
        covariance: ``"full"``: sample space while N <= D, feature space beyond; or ``"diagonal"``.
        shrinkage: alpha in [0, 1].
    """
    num_rows, dimension = statistics.features.shape
    if covariance == "diagonal":
        return DiagonalGaussians(statistics, shrinkage)
    return SampleGaussians(statistics, shrinkage) if num_rows <= dimension else FeatureGaussians(statistics, shrinkage)

"""Two Gaussians to one number: the divergences, and the forms in which Gaussians come."""

from typing import Literal

from ..statistics import Statistics
from .diagonal import DiagonalGaussians
from .feature_space import FeatureGaussians
from .formulas import Parts, jeffreys, moments, wasserstein
from .gaussians import Gaussians, Relative
from .sample_space import SampleGaussians

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


def gaussians_of(statistics: Statistics, covariance: Literal["full", "diagonal"], shrinkage: float) -> Gaussians:
    """Give the Gaussians of a batch's modalities in the cheaper of the exact forms.

    Args:
        statistics: of the batch, N rows of D features.
        covariance: ``"full"``: sample space while N <= D, feature space beyond; or ``"diagonal"``.
        shrinkage: alpha in [0, 1].
    """
    num_rows, dimension = statistics.rows.shape
    if covariance == "diagonal":
        return DiagonalGaussians(statistics, shrinkage)
    return SampleGaussians(statistics, shrinkage) if num_rows <= dimension else FeatureGaussians(statistics, shrinkage)

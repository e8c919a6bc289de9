"""Every loss of the library in every form that it has, for the tests of the contract."""

from torch import nn

import modinv
from modinv.losses.gaussian_distribution_consistency import Covariance, Divergence

_FORMS: tuple[tuple[Divergence, Covariance, float], ...] = (
    ("wasserstein", "full", 0),
    ("wasserstein", "full", 0.2),
    ("wasserstein", "diagonal", 0),
    ("wasserstein", "diagonal", 0.2),
    ("jeffreys", "full", 0.1),
    ("jeffreys", "full", 1),
    ("jeffreys", "diagonal", 0.1),
    ("moments", "full", 0),
    ("moments", "full", 0.2),
    ("moments", "diagonal", 0),
)
GAUSSIANS: dict[str, modinv.losses.Loss] = {
    f"{divergence} {covariance} {shrinkage:g}": modinv.GaussianDistributionConsistencyLoss(
        divergence=divergence, covariance=covariance, shrinkage=shrinkage
    )
    for divergence, covariance, shrinkage in _FORMS
}
METRIC: dict[str, modinv.losses.Loss] = {
    "hetero-center triplet": modinv.HeteroCenterTripletLoss(margin=2.0),
    "weighted regularized triplet": modinv.WeightedRegularizedTripletLoss(),
    "intra-modality": modinv.IntraModalityLoss(margin=2.0),
}
LOSSES: dict[str, nn.Module] = {
    **GAUSSIANS,
    **METRIC,
    "weighted losses": modinv.WeightedLosses(
        {
            "gaussian": (0.5, modinv.GaussianDistributionConsistencyLoss()),
            "center": (1.0, modinv.HeteroCenterTripletLoss(margin=2.0)),
            "intra": (2.0, modinv.IntraModalityLoss(margin=2.0)),
        }
    ),
}

"""Every loss of the library in every form that it has, for the tests of the contract."""

from torch import nn

import modinv

GAUSSIANS: dict[str, modinv.losses.Loss] = {
    f"{divergence} {covariance} {shrinkage:g}": modinv.GaussianDistributionConsistencyLoss(
        divergence=divergence, covariance=covariance, shrinkage=shrinkage
    )
    for divergence, shrinkages in (("wasserstein", (0, 0.2)), ("jeffreys", (0.1, 1)), ("moments", (0, 0.2)))
    for covariance in ("full", "diagonal")
    for shrinkage in shrinkages
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

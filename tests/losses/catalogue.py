"""Every loss of the library in every form that it has, for the tests of the contract."""

from typing import Any

from torch import nn

import modinv


def _gaussian(**options: Any) -> modinv.losses.Loss:
    return modinv.GaussianDistributionConsistencyLoss(**options)


GAUSSIANS: dict[str, modinv.losses.Loss] = (
    {
        f"{divergence} {covariance} {level} {shrinkage}": _gaussian(
            divergence=divergence, covariance=covariance, level=level, shrinkage=shrinkage
        )
        for divergence, shrinkages in (
            ("wasserstein", (0.0, 0.2)),
            ("jeffreys", (0.1,)),
            ("jensen_shannon", (0.1,)),
            ("moments", (0.2,)),
        )
        for covariance, levels in (("full", ("modality", "identity", "within")), ("diagonal", ("modality",)))
        for level in levels
        for shrinkage in (shrinkages if covariance == "full" else shrinkages[:1])
    }
    | {
        f"{divergence} {covariance} {level}": _gaussian(
            divergence=divergence, covariance=covariance, level=level, shrinkage=0.3
        )
        for divergence, covariance, level in (
            ("kl", "full", "within"),
            ("kl", "isotropic", "modality"),
            ("bhattacharyya", "full", "modality"),
            ("bhattacharyya", "full", "identity"),
            ("bhattacharyya", "diagonal", "within"),
            ("wasserstein", "isotropic", "within"),
        )
    }
    | {
        f"{divergence} {covariance} {level} debiased": _gaussian(
            divergence=divergence, covariance=covariance, level=level, debiased=True
        )
        for divergence, covariance, level in (
            ("moments", "full", "modality"),
            ("moments", "full", "within"),
            ("wasserstein", "diagonal", "identity"),
        )
    }
)
# Their intensity is not differentiated.
ESTIMATED: dict[str, modinv.losses.Loss] = {
    "wasserstein oas": _gaussian(shrinkage="oas"),
    "jeffreys ledoit_wolf within": _gaussian(divergence="jeffreys", level="within", shrinkage="ledoit_wolf"),
}
METRIC: dict[str, modinv.losses.Loss] = {
    "hetero-center triplet": modinv.HeteroCenterTripletLoss(margin=2.0),
    "weighted regularized triplet": modinv.WeightedRegularizedTripletLoss(),
    "intra-modality": modinv.IntraModalityLoss(margin=2.0),
}
DISTRIBUTIONS: dict[str, modinv.losses.Loss] = {
    "coral within": modinv.CoralLoss(level="within"),
    "maximum mean discrepancy": modinv.MaximumMeanDiscrepancyLoss(),
    "maximum mean discrepancy identity unbiased": modinv.MaximumMeanDiscrepancyLoss(
        level="identity", bandwidth=50.0, unbiased=True, margin=0.1
    ),
    "class-aware discrepancy": modinv.ClassAwareDiscrepancyLoss(),
    "similarity preservation": modinv.SimilarityPreservationLoss(),
    "sinkhorn": modinv.SinkhornLoss(regularization=0.5),
    "sinkhorn identity": modinv.SinkhornLoss(level="identity", regularization=0.5),
}
PREDICTIONS: dict[str, modinv.losses.Loss] = {
    "prediction jeffreys": modinv.PredictionConsistencyLoss(temperature=2.0),
    "prediction jensen_shannon": modinv.PredictionConsistencyLoss(divergence="jensen_shannon"),
    "prediction row": modinv.PredictionConsistencyLoss(level="row"),
    "info_nce center": modinv.InfoNCELoss(temperature=1.0),
    "info_nce row": modinv.InfoNCELoss(level="row"),
}
# They read angles at the origin.
ANGULAR = {"class-aware discrepancy", "similarity preservation", "info_nce center", "info_nce row"}
# A part of them is taken as a constant, so that finite differences of the value are not their gradient.
PARTLY_CONSTANT = {*ESTIMATED, "maximum mean discrepancy", "sinkhorn", "sinkhorn identity"}
LOSSES: dict[str, nn.Module] = {
    **GAUSSIANS,
    **ESTIMATED,
    **METRIC,
    **DISTRIBUTIONS,
    **PREDICTIONS,
    "weighted losses": modinv.WeightedLosses(
        {
            "gaussian": (0.5, modinv.GaussianDistributionConsistencyLoss()),
            "center": (1.0, modinv.HeteroCenterTripletLoss(margin=2.0)),
            "intra": (2.0, modinv.IntraModalityLoss(margin=2.0)),
        }
    ),
}
# One loss for each piece of algebra, for what takes seconds or asks the same of every type.
ALGEBRA = [
    "wasserstein full modality 0.0",
    "wasserstein full identity 0.2",
    "wasserstein oas",
    "jeffreys full modality 0.1",
    "jensen_shannon full within 0.1",
    "moments full modality 0.2",
    "bhattacharyya full identity",
    "kl isotropic modality",
    "moments full modality debiased",
    *METRIC,
    "weighted losses",
]

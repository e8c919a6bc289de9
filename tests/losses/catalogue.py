"""Every loss of the library in every form that it has, for the tests of the contract."""

from typing import Any

import pytest
import torch
from torch import nn
from typing_extensions import override

import modinv
from modinv.statistics import Statistics, statistics_of


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
TRIPLETS: dict[str, modinv.losses.Loss] = {
    "batch-hard triplet": modinv.BatchHardTripletLoss(margin=2.0),
    "batch-hard triplet intra": modinv.BatchHardTripletLoss(margin=None, pairs="intra"),
    "batch-hard triplet cross": modinv.BatchHardTripletLoss(margin=2.0, pairs="cross"),
    "batch-hard triplet four-way": modinv.BatchHardTripletLoss(margin=2.0, pairs="four_way"),
    "weighted regularized triplet published": modinv.WeightedRegularizedTripletLoss(weights="published"),
    "weighted regularized triplet squared": modinv.WeightedRegularizedTripletLoss(squared=True, gamma=0.1),
    "modality-shared enhancement": modinv.ModalitySharedEnhancementLoss(),
    "modality-shared enhancement cosine": modinv.ModalitySharedEnhancementLoss(distance="cosine"),
    "discriminative center": modinv.DiscriminativeCenterLoss(),
    "cross-modality ranked list": modinv.CrossModalityRankedListLoss(),
    "cross-modality ranked list unscaled": modinv.CrossModalityRankedListLoss(
        alpha_intra=9.0, margin_intra=3.0, alpha_cross=12.0, margin_cross=6.0, normalized=False
    ),
}


class _WithExpansions(modinv.CenterGuidedPairMiningLoss):
    """The pair mining loss on a batch without expansions: they are made of its rows, as a network does."""

    def __init__(self) -> None:
        super().__init__(margin=2.0)
        self.num_modalities = None  # as many as the batch shows

    @override
    def read(self, statistics: Statistics) -> Any:
        features, labels, modalities = statistics.features, statistics.labels, statistics.modalities
        expansions = 0.75 * features.roll(1, 1) + 0.25 * features
        return super().read(
            statistics_of(
                torch.cat([features, expansions]),
                labels.repeat(2),
                torch.cat([modalities, modalities + 2]),
                statistics.membership.shape[1] + 2,
            )
        )


CENTERS: dict[str, modinv.losses.Loss] = {
    "hetero-center": modinv.HeteroCenterLoss(),
    "hetero-center cosine": modinv.HeteroCenterLoss(distance="cosine", margin=0.0, reduction="sum"),
    "hetero-center triplet soft cosine": modinv.HeteroCenterTripletLoss(margin=None, distance="cosine"),
    "hetero-center contrast": modinv.HeteroCenterContrastLoss(margin=6.0),
    "hetero-center divergence": modinv.HeteroCenterDivergenceLoss(),
    "center cluster": modinv.CenterClusterLoss(margin=6.0, pull_margin=0.1),
    "center-guided pair mining": _WithExpansions(),
    "quadruple-center triplet": modinv.QuadrupleCenterTripletLoss(margin=6.0),
}
DISTRIBUTIONS: dict[str, modinv.losses.Loss] = {
    "coral within": modinv.CoralLoss(level="within"),
    "maximum mean discrepancy": modinv.MaximumMeanDiscrepancyLoss(),
    "maximum mean discrepancy identity unbiased": modinv.MaximumMeanDiscrepancyLoss(
        level="identity", bandwidth=50.0, unbiased=True
    ),
    "class-aware discrepancy": modinv.ClassAwareDiscrepancyLoss(),
    "similarity preservation": modinv.SimilarityPreservationLoss(),
    "sinkhorn": modinv.SinkhornLoss(regularization=0.5, iterations=6),
    "sinkhorn identity": modinv.SinkhornLoss(level="identity", regularization=0.5, iterations=4),
}
PREDICTIONS: dict[str, modinv.losses.Loss] = {
    "prediction jeffreys": modinv.PredictionConsistencyLoss(temperature=2.0),
    "prediction jensen_shannon": modinv.PredictionConsistencyLoss(divergence="jensen_shannon"),
    "prediction row": modinv.PredictionConsistencyLoss(level="row"),
    "info_nce center": modinv.InfoNCELoss(temperature=1.0),
    "info_nce row": modinv.InfoNCELoss(level="row"),
}
# They read angles at the origin.
ANGULAR = {
    "modality-shared enhancement cosine",
    "cross-modality ranked list",
    "hetero-center cosine",
    "hetero-center triplet soft cosine",
    "class-aware discrepancy",
    "similarity preservation",
    "info_nce center",
    "info_nce row",
}
# A part of them is taken as a constant, so that finite differences of the value are not their gradient.
PARTLY_CONSTANT = {
    *ESTIMATED,
    "center-guided pair mining",
    "maximum mean discrepancy",
    "sinkhorn",
    "sinkhorn identity",
}
LOSSES: dict[str, nn.Module] = {
    **GAUSSIANS,
    **ESTIMATED,
    **METRIC,
    **TRIPLETS,
    **CENTERS,
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
# Of the Gaussian loss, whose forms are a product, one for each piece of algebra is quick.
SLOW = [name for name in GAUSSIANS if name not in ALGEBRA]
EVERY_LOSS = [
    pytest.param(loss, id=name, marks=pytest.mark.slow if name in SLOW else ()) for name, loss in LOSSES.items()
]

"""The catalogue of losses: one published loss per file, first the function, then its module."""

from modinv.losses.composition import WeightedLosses
from modinv.losses.cross_batch_memory import CrossBatchMemory
from modinv.losses.gaussian_distribution_consistency import (
    GaussianDistributionConsistencyLoss,
    GaussianTerms,
    gaussian_distribution_consistency,
)
from modinv.losses.hetero_center_triplet import (
    HeteroCenterTripletLoss,
    HeteroCenterTripletTerms,
    hetero_center_triplet,
)
from modinv.losses.intra_modality import IntraModalityLoss, IntraModalityTerms, intra_modality
from modinv.losses.loss import Loss
from modinv.losses.weighted_regularized_triplet import (
    WeightedRegularizedTripletLoss,
    WeightedRegularizedTripletTerms,
    weighted_regularized_triplet,
)

__all__ = [
    "CrossBatchMemory",
    "GaussianDistributionConsistencyLoss",
    "GaussianTerms",
    "HeteroCenterTripletLoss",
    "HeteroCenterTripletTerms",
    "IntraModalityLoss",
    "IntraModalityTerms",
    "Loss",
    "WeightedLosses",
    "WeightedRegularizedTripletLoss",
    "WeightedRegularizedTripletTerms",
    "gaussian_distribution_consistency",
    "hetero_center_triplet",
    "intra_modality",
    "weighted_regularized_triplet",
]

"""The catalogue of losses: one published loss per file, first the function of the statistics, then its module."""

from modinv.losses.composition import WeightedLosses
from modinv.losses.cross_batch_memory import CrossBatchMemory
from modinv.losses.gaussian_distribution_consistency import GaussianDistributionConsistencyLoss, GaussianTerms
from modinv.losses.hetero_center_triplet import (
    HeteroCenterTripletLoss,
    HeteroCenterTripletTerms,
    hetero_center_triplet,
)
from modinv.losses.intra_modality import IntraModalityLoss, IntraModalityTerms, intra_modality
from modinv.losses.loss import Loss, as_dict
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
    "as_dict",
    "hetero_center_triplet",
    "intra_modality",
    "weighted_regularized_triplet",
]

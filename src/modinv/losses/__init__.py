"""The catalogue of losses: one published loss per file, first the function, then its module."""

from .composition import WeightedLosses
from .gaussian_distribution_consistency import (
    GaussianDistributionConsistencyLoss,
    GaussianTerms,
    gaussian_distribution_consistency,
)
from .hetero_center_triplet import HeteroCenterTripletLoss, HeteroCenterTripletTerms, hetero_center_triplet
from .intra_modality import IntraModalityLoss, IntraModalityTerms, intra_modality
from .loss import Loss
from .weighted_regularized_triplet import (
    WeightedRegularizedTripletLoss,
    WeightedRegularizedTripletTerms,
    weighted_regularized_triplet,
)

__all__ = [
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

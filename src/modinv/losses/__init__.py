"""The catalogue of losses: one published loss per file, first the function of the statistics, then its module."""

from modinv.losses.batch_hard_triplet import (
    BatchHardTripletLoss,
    BatchHardTripletTerms,
    batch_hard_triplet,
)
from modinv.losses.composition import WeightedLosses
from modinv.losses.cross_batch_memory import CrossBatchMemory
from modinv.losses.cross_modality_ranked_list import (
    CrossModalityRankedListLoss,
    CrossModalityRankedListTerms,
    cross_modality_ranked_list,
)
from modinv.losses.discriminative_center import (
    DiscriminativeCenterLoss,
    DiscriminativeCenterTerms,
    discriminative_center,
)
from modinv.losses.gaussian_distribution_consistency import GaussianDistributionConsistencyLoss, GaussianTerms
from modinv.losses.hetero_center_triplet import (
    HeteroCenterTripletLoss,
    HeteroCenterTripletTerms,
    hetero_center_triplet,
)
from modinv.losses.intra_modality import IntraModalityLoss, IntraModalityTerms, intra_modality
from modinv.losses.loss import Loss
from modinv.losses.modality_shared_enhancement import (
    ModalitySharedEnhancementLoss,
    ModalitySharedEnhancementTerms,
    modality_shared_enhancement,
)
from modinv.losses.weighted_regularized_triplet import (
    WeightedRegularizedTripletLoss,
    WeightedRegularizedTripletTerms,
    weighted_regularized_triplet,
)

__all__ = [
    "BatchHardTripletLoss",
    "BatchHardTripletTerms",
    "CrossBatchMemory",
    "CrossModalityRankedListLoss",
    "CrossModalityRankedListTerms",
    "DiscriminativeCenterLoss",
    "DiscriminativeCenterTerms",
    "GaussianDistributionConsistencyLoss",
    "GaussianTerms",
    "HeteroCenterTripletLoss",
    "HeteroCenterTripletTerms",
    "IntraModalityLoss",
    "IntraModalityTerms",
    "Loss",
    "ModalitySharedEnhancementLoss",
    "ModalitySharedEnhancementTerms",
    "WeightedLosses",
    "WeightedRegularizedTripletLoss",
    "WeightedRegularizedTripletTerms",
    "batch_hard_triplet",
    "cross_modality_ranked_list",
    "discriminative_center",
    "hetero_center_triplet",
    "intra_modality",
    "modality_shared_enhancement",
    "weighted_regularized_triplet",
]

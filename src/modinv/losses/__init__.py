"""The catalogue of losses: one published loss per file, first the function of the statistics, then its module."""

from modinv.losses.adapters import GivenModalities, LabelLoss
from modinv.losses.batch_hard_triplet import BatchHardTripletLoss, BatchHardTripletTerms, batch_hard_triplet
from modinv.losses.center_cluster import CenterClusterLoss, CenterClusterTerms, center_cluster
from modinv.losses.center_guided_pair_mining import (
    CenterGuidedPairMiningLoss,
    CenterGuidedPairMiningTerms,
    center_guided_pair_mining,
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
from modinv.losses.hetero_center import HeteroCenterLoss, HeteroCenterTerms, hetero_center
from modinv.losses.hetero_center_contrast import (
    HeteroCenterContrastLoss,
    HeteroCenterContrastTerms,
    hetero_center_contrast,
)
from modinv.losses.hetero_center_divergence import (
    HeteroCenterDivergenceLoss,
    HeteroCenterDivergenceTerms,
    hetero_center_divergence,
)
from modinv.losses.hetero_center_triplet import HeteroCenterTripletLoss, HeteroCenterTripletTerms, hetero_center_triplet
from modinv.losses.intra_modality import IntraModalityLoss, IntraModalityTerms, intra_modality
from modinv.losses.loss import Loss
from modinv.losses.modality_shared_enhancement import (
    ModalitySharedEnhancementLoss,
    ModalitySharedEnhancementTerms,
    modality_shared_enhancement,
)
from modinv.losses.quadruple_center_triplet import (
    QuadrupleCenterTripletLoss,
    QuadrupleCenterTripletTerms,
    quadruple_center_triplet,
)
from modinv.losses.weighted_regularized_triplet import (
    WeightedRegularizedTripletLoss,
    WeightedRegularizedTripletTerms,
    weighted_regularized_triplet,
)

__all__ = [
    "BatchHardTripletLoss",
    "BatchHardTripletTerms",
    "CenterClusterLoss",
    "CenterClusterTerms",
    "CenterGuidedPairMiningLoss",
    "CenterGuidedPairMiningTerms",
    "CrossBatchMemory",
    "CrossModalityRankedListLoss",
    "CrossModalityRankedListTerms",
    "DiscriminativeCenterLoss",
    "DiscriminativeCenterTerms",
    "GaussianDistributionConsistencyLoss",
    "GaussianTerms",
    "GivenModalities",
    "HeteroCenterContrastLoss",
    "HeteroCenterContrastTerms",
    "HeteroCenterDivergenceLoss",
    "HeteroCenterDivergenceTerms",
    "HeteroCenterLoss",
    "HeteroCenterTerms",
    "HeteroCenterTripletLoss",
    "HeteroCenterTripletTerms",
    "IntraModalityLoss",
    "IntraModalityTerms",
    "LabelLoss",
    "Loss",
    "ModalitySharedEnhancementLoss",
    "ModalitySharedEnhancementTerms",
    "QuadrupleCenterTripletLoss",
    "QuadrupleCenterTripletTerms",
    "WeightedLosses",
    "WeightedRegularizedTripletLoss",
    "WeightedRegularizedTripletTerms",
    "batch_hard_triplet",
    "center_cluster",
    "center_guided_pair_mining",
    "cross_modality_ranked_list",
    "discriminative_center",
    "hetero_center",
    "hetero_center_contrast",
    "hetero_center_divergence",
    "hetero_center_triplet",
    "intra_modality",
    "modality_shared_enhancement",
    "quadruple_center_triplet",
    "weighted_regularized_triplet",
]

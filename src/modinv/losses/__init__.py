"""The catalogue of losses: one published loss per file, first the function of the statistics, then its module."""

from modinv.losses.adapters import GivenModalities, LabelLoss
from modinv.losses.batch_hard_triplet import BatchHardTripletLoss, BatchHardTripletTerms, batch_hard_triplet
from modinv.losses.center_cluster import CenterClusterLoss, CenterClusterTerms, center_cluster
from modinv.losses.center_guided_pair_mining import (
    CenterGuidedPairMiningLoss,
    CenterGuidedPairMiningTerms,
    center_guided_pair_mining,
)
from modinv.losses.class_aware_discrepancy import (
    ClassAwareDiscrepancyLoss,
    ClassAwareDiscrepancyTerms,
    class_aware_discrepancy,
)
from modinv.losses.composition import WeightedLosses
from modinv.losses.coral import CoralLoss, CoralTerms
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
from modinv.losses.info_nce import InfoNCELoss, InfoNCETerms, info_nce
from modinv.losses.intra_modality import IntraModalityLoss, IntraModalityTerms, intra_modality
from modinv.losses.loss import Loss, as_dict
from modinv.losses.maximum_mean_discrepancy import (
    MaximumMeanDiscrepancyLoss,
    MaximumMeanDiscrepancyTerms,
    maximum_mean_discrepancy,
)
from modinv.losses.modality_shared_enhancement import (
    ModalitySharedEnhancementLoss,
    ModalitySharedEnhancementTerms,
    modality_shared_enhancement,
)
from modinv.losses.mutual_learning import MutualLearningLoss, mutual_learning
from modinv.losses.prediction_consistency import (
    PredictionConsistencyLoss,
    PredictionConsistencyTerms,
    prediction_consistency,
)
from modinv.losses.quadruple_center_triplet import (
    QuadrupleCenterTripletLoss,
    QuadrupleCenterTripletTerms,
    quadruple_center_triplet,
)
from modinv.losses.similarity_preservation import (
    SimilarityPreservationLoss,
    SimilarityPreservationTerms,
    similarity_preservation,
)
from modinv.losses.sinkhorn import SinkhornLoss, SinkhornTerms, sinkhorn
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
    "ClassAwareDiscrepancyLoss",
    "ClassAwareDiscrepancyTerms",
    "CoralLoss",
    "CoralTerms",
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
    "InfoNCELoss",
    "InfoNCETerms",
    "IntraModalityLoss",
    "IntraModalityTerms",
    "LabelLoss",
    "Loss",
    "MaximumMeanDiscrepancyLoss",
    "MaximumMeanDiscrepancyTerms",
    "ModalitySharedEnhancementLoss",
    "ModalitySharedEnhancementTerms",
    "MutualLearningLoss",
    "PredictionConsistencyLoss",
    "PredictionConsistencyTerms",
    "QuadrupleCenterTripletLoss",
    "QuadrupleCenterTripletTerms",
    "SimilarityPreservationLoss",
    "SimilarityPreservationTerms",
    "SinkhornLoss",
    "SinkhornTerms",
    "WeightedLosses",
    "WeightedRegularizedTripletLoss",
    "WeightedRegularizedTripletTerms",
    "as_dict",
    "batch_hard_triplet",
    "center_cluster",
    "center_guided_pair_mining",
    "class_aware_discrepancy",
    "cross_modality_ranked_list",
    "discriminative_center",
    "hetero_center",
    "hetero_center_contrast",
    "hetero_center_divergence",
    "hetero_center_triplet",
    "info_nce",
    "intra_modality",
    "maximum_mean_discrepancy",
    "modality_shared_enhancement",
    "mutual_learning",
    "prediction_consistency",
    "quadruple_center_triplet",
    "similarity_preservation",
    "sinkhorn",
    "weighted_regularized_triplet",
]

"""The catalogue of losses: one published loss per file, first the function of the statistics, then its module."""

from modinv.losses.class_aware_discrepancy import (
    ClassAwareDiscrepancyLoss,
    ClassAwareDiscrepancyTerms,
    class_aware_discrepancy,
)
from modinv.losses.composition import WeightedLosses
from modinv.losses.coral import CoralLoss, CoralTerms
from modinv.losses.cross_batch_memory import CrossBatchMemory
from modinv.losses.gaussian_distribution_consistency import GaussianDistributionConsistencyLoss, GaussianTerms
from modinv.losses.hetero_center_triplet import (
    HeteroCenterTripletLoss,
    HeteroCenterTripletTerms,
    hetero_center_triplet,
)
from modinv.losses.info_nce import InfoNCELoss, InfoNCETerms, info_nce
from modinv.losses.intra_modality import IntraModalityLoss, IntraModalityTerms, intra_modality
from modinv.losses.loss import Loss
from modinv.losses.maximum_mean_discrepancy import (
    MaximumMeanDiscrepancyLoss,
    MaximumMeanDiscrepancyTerms,
    maximum_mean_discrepancy,
)
from modinv.losses.mutual_learning import MutualLearningLoss, mutual_learning
from modinv.losses.prediction_consistency import (
    PredictionConsistencyLoss,
    PredictionConsistencyTerms,
    prediction_consistency,
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
    "ClassAwareDiscrepancyLoss",
    "ClassAwareDiscrepancyTerms",
    "CoralLoss",
    "CoralTerms",
    "CrossBatchMemory",
    "GaussianDistributionConsistencyLoss",
    "GaussianTerms",
    "HeteroCenterTripletLoss",
    "HeteroCenterTripletTerms",
    "InfoNCELoss",
    "InfoNCETerms",
    "IntraModalityLoss",
    "IntraModalityTerms",
    "Loss",
    "MaximumMeanDiscrepancyLoss",
    "MaximumMeanDiscrepancyTerms",
    "MutualLearningLoss",
    "PredictionConsistencyLoss",
    "PredictionConsistencyTerms",
    "SimilarityPreservationLoss",
    "SimilarityPreservationTerms",
    "SinkhornLoss",
    "SinkhornTerms",
    "WeightedLosses",
    "WeightedRegularizedTripletLoss",
    "WeightedRegularizedTripletTerms",
    "class_aware_discrepancy",
    "hetero_center_triplet",
    "info_nce",
    "intra_modality",
    "maximum_mean_discrepancy",
    "mutual_learning",
    "prediction_consistency",
    "similarity_preservation",
    "sinkhorn",
    "weighted_regularized_triplet",
]

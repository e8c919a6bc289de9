"""Losses and modules for cross-modality re-identification.

The rooms, along one corridor: ``batches`` (from other layouts), ``groups`` (who belongs together), ``statistics``
(means, distances, one Gram matrix), ``divergences`` (two Gaussians to one number), ``losses``. Beside it: ``modules``
(learned layers), ``distributed`` (the rows of all ranks) and ``diagnostics`` (how far apart two modalities are).
"""

from modinv import batches, diagnostics, distributed, divergences, groups, losses, modules, statistics
from modinv.batches import (
    INFRARED,
    VISIBLE,
    Batch,
    batch_from_streams,
    modalities_from_blocks,
    modalities_from_cameras,
)
from modinv.losses import (
    BatchHardTripletLoss,
    CenterClusterLoss,
    CenterGuidedPairMiningLoss,
    ClassAwareDiscrepancyLoss,
    CoralLoss,
    CrossBatchMemory,
    CrossModalityRankedListLoss,
    DiscriminativeCenterLoss,
    GaussianDistributionConsistencyLoss,
    HeteroCenterContrastLoss,
    HeteroCenterDivergenceLoss,
    HeteroCenterLoss,
    HeteroCenterTripletLoss,
    InfoNCELoss,
    IntraModalityLoss,
    MaximumMeanDiscrepancyLoss,
    ModalitySharedEnhancementLoss,
    MutualLearningLoss,
    PredictionConsistencyLoss,
    QuadrupleCenterTripletLoss,
    SimilarityPreservationLoss,
    SinkhornLoss,
    WeightedLosses,
    WeightedRegularizedTripletLoss,
)
from modinv.modules import (
    GeM,
    IntraModalityEnhancer,
    ModalityInvariantHead,
    PerModality,
    PerModalityBatchNorm,
)

__version__ = "0.1.0"

__all__ = [
    "INFRARED",
    "VISIBLE",
    "Batch",
    "BatchHardTripletLoss",
    "CenterClusterLoss",
    "CenterGuidedPairMiningLoss",
    "ClassAwareDiscrepancyLoss",
    "CoralLoss",
    "CrossBatchMemory",
    "CrossModalityRankedListLoss",
    "DiscriminativeCenterLoss",
    "GaussianDistributionConsistencyLoss",
    "GeM",
    "HeteroCenterContrastLoss",
    "HeteroCenterDivergenceLoss",
    "HeteroCenterLoss",
    "HeteroCenterTripletLoss",
    "InfoNCELoss",
    "IntraModalityEnhancer",
    "IntraModalityLoss",
    "MaximumMeanDiscrepancyLoss",
    "ModalityInvariantHead",
    "ModalitySharedEnhancementLoss",
    "MutualLearningLoss",
    "PerModality",
    "PerModalityBatchNorm",
    "PredictionConsistencyLoss",
    "QuadrupleCenterTripletLoss",
    "SimilarityPreservationLoss",
    "SinkhornLoss",
    "WeightedLosses",
    "WeightedRegularizedTripletLoss",
    "batch_from_streams",
    "batches",
    "diagnostics",
    "distributed",
    "divergences",
    "groups",
    "losses",
    "modalities_from_blocks",
    "modalities_from_cameras",
    "modules",
    "statistics",
]

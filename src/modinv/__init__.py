"""Losses and modules for cross-modality re-identification.

The rooms, along one corridor: ``groups`` (who belongs together), ``statistics`` (means, one Gram matrix),
``distances`` and ``divergences`` (numbers out of them), ``losses``; and beside it ``modules``, learned layers.
"""

from modinv import distances, divergences, groups, losses, modules, statistics
from modinv.groups import (
    INFRARED,
    VISIBLE,
    Batch,
    batch_from_streams,
    modalities_from_blocks,
    modalities_from_cameras,
)
from modinv.losses import (
    GaussianDistributionConsistencyLoss,
    HeteroCenterTripletLoss,
    IntraModalityLoss,
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
    "GaussianDistributionConsistencyLoss",
    "GeM",
    "HeteroCenterTripletLoss",
    "IntraModalityEnhancer",
    "IntraModalityLoss",
    "ModalityInvariantHead",
    "PerModality",
    "PerModalityBatchNorm",
    "WeightedLosses",
    "WeightedRegularizedTripletLoss",
    "batch_from_streams",
    "distances",
    "divergences",
    "groups",
    "losses",
    "modalities_from_blocks",
    "modalities_from_cameras",
    "modules",
    "statistics",
]

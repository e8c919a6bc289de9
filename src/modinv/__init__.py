"""Losses and modules for cross-modality re-identification.

The rooms, along one corridor: ``groups`` (who belongs together), ``statistics`` (means, one Gram matrix),
``distances`` and ``divergences`` (numbers out of them), ``losses``; and beside it ``modules``, learned layers.
"""

from . import distances, divergences, groups, losses, statistics
from .groups import (
    INFRARED,
    VISIBLE,
    Batch,
    batch_from_streams,
    modalities_from_blocks,
    modalities_from_cameras,
)
from .losses import (
    GaussianDistributionConsistencyLoss,
    HeteroCenterTripletLoss,
    IntraModalityLoss,
    WeightedLosses,
    WeightedRegularizedTripletLoss,
)

__version__ = "0.1.0"

__all__ = [
    "INFRARED",
    "VISIBLE",
    "Batch",
    "GaussianDistributionConsistencyLoss",
    "HeteroCenterTripletLoss",
    "IntraModalityLoss",
    "WeightedLosses",
    "WeightedRegularizedTripletLoss",
    "batch_from_streams",
    "distances",
    "divergences",
    "groups",
    "losses",
    "modalities_from_blocks",
    "modalities_from_cameras",
    "statistics",
]

"""The methods that are compared, as data: which loss reads which features, and with what weight."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Final, Literal, NamedTuple

from torch import nn

import modinv
from modinv.losses import CrossBatchMemory

__all__ = ["ABLATION", "COMPARED", "METHODS", "Method", "Place", "Term"]

Place = Literal["features", "embedding"]


class Term(NamedTuple):
    """One loss of a method."""

    reads: Place  # pooled features before the neck, or the embedding after it
    weight: float
    loss: Callable[[], nn.Module]
    warmup: float = 0.0  # share of the steps over which the weight grows linearly from 0


class Method(NamedTuple):
    """What is trained beside the identity loss of the shared classifier."""

    title: str  # how tables call it
    terms: Mapping[str, Term]
    enhance: bool = False
    """Whether the network has private classifiers; they bring two identity losses, with weight 1 each."""


def _consistency(loss: Callable[[], nn.Module]) -> dict[str, Term]:
    # Stronger, or at full weight from the first step, it flattens the features before they tell identities apart.
    return {"distribution": Term("embedding", 0.5, loss, warmup=0.4)}


# AGW's loss; the baseline is AGW without its attention.
_TRIPLET: Final = {"triplet": Term("features", 1.0, modinv.WeightedRegularizedTripletLoss)}
_WASSERSTEIN: Final = partial(
    modinv.GaussianDistributionConsistencyLoss, divergence="wasserstein", covariance="full", level="modality"
)
_CONSISTENCY: Final = _consistency(_WASSERSTEIN)
_CENTER: Final = {"hetero_center": Term("features", 1.0, modinv.HeteroCenterTripletLoss)}

# Other answers to the questions that the default of the loss answers: which divergence, which covariance.
_JEFFREYS: Final = partial(modinv.GaussianDistributionConsistencyLoss, divergence="jeffreys", shrinkage=0.1)
_MOMENTS: Final = partial(modinv.GaussianDistributionConsistencyLoss, divergence="moments")
_DIAGONAL: Final = partial(modinv.GaussianDistributionConsistencyLoss, covariance="diagonal")
# Three batches of 64 rows beside the one that learns, whose share of the gradient is a quarter: four times the weight.
_REMEMBERED: Final = {"distribution": Term("embedding", 2.0, lambda: CrossBatchMemory(_WASSERSTEIN(), 192), warmup=0.4)}

METHODS: Final[Mapping[str, Method]] = {
    "baseline": Method("baseline", _TRIPLET),
    "enhancing": Method("+ intra-modality enhancing", _TRIPLET, enhance=True),
    "consistency": Method("+ distribution consistency", _TRIPLET | _CONSISTENCY),
    "both": Method("+ both", _TRIPLET | _CONSISTENCY, enhance=True),
    "full": Method("+ both + hetero-center triplet", _TRIPLET | _CONSISTENCY | _CENTER, enhance=True),
    "consistency-jeffreys": Method("+ consistency, Jeffreys", _TRIPLET | _consistency(_JEFFREYS)),
    "consistency-moments": Method("+ consistency, moments", _TRIPLET | _consistency(_MOMENTS)),
    "consistency-diagonal": Method("+ consistency, diagonal", _TRIPLET | _consistency(_DIAGONAL)),
    "consistency-memory": Method("+ consistency, memory", _TRIPLET | _REMEMBERED),
}
# The rows that are trained when nothing is asked for: the last one beside what it is measured against.
COMPARED: Final = ("baseline", "both")
# The rows that --ablation trains; the others are trained when they are asked for by name.
ABLATION: Final = ("baseline", "enhancing", "consistency", "both", "full")

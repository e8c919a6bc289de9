"""Cross-modal and within-modality retrieval among every tenth identity, by the rule of SYSU-MM01."""

from typing import Final, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from readings.worlds import PLACES, World

__all__ = ["Retrieval", "score"]

_GROUPS: Final = 10  # of forty identities, as many as the example's test set has
_VISIBLE, _INFRARED = (1, 2, 4, 5), (3, 6)


class Retrieval(NamedTuple):
    """Means in percent."""

    mAP: float
    trials: list[float]
    """mAP of each of three single-shot galleries."""
    identities: list[float]
    """Average precision of each identity."""
    visible: float
    """mAP from visible camera to visible camera."""
    infrared: float
    """mAP from infrared camera to infrared camera."""


def score(embedding: Tensor, world: World) -> Retrieval:
    """Rank the test images: infrared queries, visible galleries; no gallery image from the place of the query."""
    features = functional.normalize(embedding.float(), dim=1)
    identities, cameras = world.test_identities, world.test_cameras
    places = np.array(PLACES)[cameras - 1]
    _, sizes = np.unique(identities * 10 + cameras, return_counts=True)
    numbers = np.concatenate([np.arange(size) for size in sizes])
    visible, infrared = np.isin(cameras, _VISIBLE), np.isin(cameras, _INFRARED)
    trials = np.stack(
        [_precisions(features, identities, places, infrared, visible & (numbers == trial)) for trial in range(3)]
    )
    whole = np.isfinite(trials).all(0)
    mean, asked = trials[:, whole].mean(0), identities[infrared][whole]

    def inside(which: NDArray[np.bool_]) -> float:
        found = _precisions(features, identities, cameras, which & (numbers > 0), which & (numbers == 0))
        return float(np.nanmean(found))

    return Retrieval(
        float(mean.mean()),
        [float(np.nanmean(trial)) for trial in trials],
        [round(float(mean[asked == identity].mean()), 2) for identity in np.unique(asked)],
        inside(visible),
        inside(infrared),
    )


def _precisions(
    features: Tensor,
    identities: NDArray[np.int64],
    origins: NDArray[np.int64],
    queries: NDArray[np.bool_],
    gallery: NDArray[np.bool_],
) -> NDArray[np.float64]:
    """Return the average precision of each query, in percent; NaN where the gallery has no match."""
    precisions = np.full(len(identities), np.nan)
    for group in range(_GROUPS):
        asked, shown = (np.flatnonzero(part & (identities % _GROUPS == group)) for part in (queries, gallery))
        removed = torch.from_numpy(origins[asked][:, None] == origins[shown])
        match = torch.from_numpy(identities[asked][:, None] == identities[shown]) & ~removed
        similarity = (features[asked] @ features[shown].T).masked_fill(removed, -9)
        hits = match.gather(1, similarity.argsort(dim=1, descending=True, stable=True)).double()
        ranks = torch.arange(1, len(shown) + 1)
        precisions[asked] = (100 * (hits * hits.cumsum(1) / ranks).sum(1) / hits.sum(1)).numpy()
    return precisions[queries]

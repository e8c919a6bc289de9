"""A protocol's trials as data: which images ask, which answer, what is removed for whom, and their scores."""

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from reid.evaluation.reranking import Reranking, rerank
from reid.evaluation.scores import CMCLevel, Labels, Metric, Scores, evaluate, evaluate_features

__all__ = ["Masks", "Rule", "Trials", "evaluate_trials", "masks"]


class Rule(NamedTuple):
    """What a protocol removes from the gallery, and how it counts."""

    locations: tuple[int, ...]
    """Where camera 1, 2, … hangs; gallery images from the location of the query are removed for it, …"""
    same_identity: bool = False  # … only those that show its identity, if this is set
    level: CMCLevel = "identity"  # what the CMC ranks


class Masks(NamedTuple):
    """What the rule says about every query and gallery image, each boolean ``(Q, G)``."""

    match: Tensor  # the gallery image shows the identity of the query
    valid: Tensor  # the rule keeps the gallery image for the query


class Trials(NamedTuple):
    """The query set and the gallery of each trial, as indices into the images that they were made from."""

    queries: tuple[NDArray[np.int64], ...]
    """``(Q,)`` for each trial; one and the same, but for LLCM with the published roles."""
    galleries: tuple[NDArray[np.int64], ...]  # (G,) for each trial; the order decides ties
    identities: NDArray[np.int64]  # (N,), of all images
    cameras: NDArray[np.int64]  # (N,), of all images, from 1
    rule: Rule

    @property
    def query(self) -> NDArray[np.int64]:
        """The queries of the first trial."""
        return self.queries[0]

    @property
    def origins(self) -> NDArray[np.int64]:
        """``(N,)``: the rule removes a gallery image for the queries that have the same number here."""
        locations = np.array(self.rule.locations)[self.cameras - 1]
        if not self.rule.same_identity:
            return locations
        return np.unique([self.identities, locations], axis=1, return_inverse=True)[1].reshape(-1)


def masks(trials: Trials, trial: int) -> Masks:
    """Apply the rule to the queries and the gallery of a trial, counted from 0."""
    query, gallery = trials.queries[trial], trials.galleries[trial]
    identities, origins = trials.identities, trials.origins
    return Masks(
        match=torch.from_numpy(identities[query][:, None] == identities[gallery]),
        valid=torch.from_numpy(origins[query][:, None] != origins[gallery]),
    )


def evaluate_trials(
    features: Tensor,
    trials: Trials,
    *,
    metric: Metric = "cosine",
    max_rank: int = 20,
    reranking: Reranking | None = None,
) -> tuple[Scores, ...]:
    """Score the features of one model on every trial, on the device of the features.

    Args:
        features: of all images that the trials were made from, shape ``(N, D)``.
        trials: of any protocol.
        metric, max_rank: see `reid.evaluation.scores.evaluate_features`.
        reranking: constants of the k-reciprocal re-ranking; default None, without. It holds matrices over
            all images of a trial, see `rerank`.

    Returns:
        One record per trial; `average` makes the numbers that papers print.

    Raises:
        ValueError: when there is not one feature row per image, or a distance is NaN.
    """
    if len(features) != len(trials.identities):
        raise ValueError(
            f"features has {len(features)} rows for {len(trials.identities)} images; pass one row per image, "
            "in the order of the arrays that the trials were made from."
        )
    identities, origins = torch.from_numpy(trials.identities), torch.from_numpy(trials.origins)
    scores = []
    for trial, pair in enumerate(zip(trials.queries, trials.galleries, strict=True)):
        query, gallery = (torch.from_numpy(indices) for indices in pair)
        rows, columns = features[query.to(features.device)], features[gallery.to(features.device)]
        if reranking is None:
            asked, shown = (Labels(identities[part], origins[part]) for part in (query, gallery))
            found = evaluate_features(
                rows, columns, asked, shown, metric=metric, max_rank=max_rank, level=trials.rule.level
            )
        else:
            distance, (match, valid) = rerank(rows, columns, reranking, metric=metric), masks(trials, trial)
            found = evaluate(distance, match, valid, identities[gallery], max_rank=max_rank, level=trials.rule.level)
        scores.append(found)
    return tuple(scores)

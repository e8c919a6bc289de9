"""CMC, mAP and mINP of a ranking, from distances and masks or from features; knows no camera and no data set."""

import math
from collections.abc import Sequence
from typing import NamedTuple, get_args

import torch
from torch import Tensor

from reid.evaluation.distances import Metric, distances, distances_to, prepare_gallery, query_tiles
from reid.evaluation.ranking import CMCLevel, QueryScores, query_chunks, score_queries

__all__ = ["CMCLevel", "Labels", "Metric", "Scores", "average", "distances", "evaluate", "evaluate_features"]


class Labels(NamedTuple):
    """What the scores need to know of some images, integers ``(n,)`` each."""

    identities: Tensor
    origins: Tensor  # a gallery image is removed for the queries that have its origin: same location, same camera, …


class Scores(NamedTuple):
    """Retrieval scores as fractions, and how many queries they stand on."""

    cmc: Tensor  # (max_rank,) float64: share of the valid queries found at rank 1, 2, …
    mAP: float  # noqa: N815
    mINP: float  # noqa: N815
    num_queries: int
    num_valid_queries: int  # queries with a match left in the gallery; the others count nowhere


def evaluate(
    distance: Tensor,
    match: Tensor,
    valid: Tensor,
    identities: Tensor,
    *,
    max_rank: int = 20,
    level: CMCLevel = "identity",
) -> Scores:
    """Score the ranking of the gallery for every query.

    Equal distances keep the order of the gallery. A query without a match among its valid gallery images is
    skipped. Per query, with r_1 < … < r_m the ranks of its m matches among the valid images:
    AP = 1/m Σ_j j / r_j and INP = m / r_m. Means are taken over the valid queries, in float64. The cost is one sort
    of the values of each row, in chunks of queries.

    Args:
        distance: shape ``(Q, G)``, smaller is nearer; ranked on its device, in float32 or float64.
        match: boolean, shape ``(Q, G)``: the gallery image shows the identity of the query.
        valid: boolean, shape ``(Q, G)``: the protocol keeps this gallery image for this query.
        identities: of the gallery, shape ``(G,)``; read for the identity-level CMC only.
        max_rank: length of the CMC curve, default 20, the last rank that papers print.
        level: ``"identity"`` (default; SYSU-MM01, LLCM) ranks distinct identities in order of their first
            image; ``"image"`` (RegDB as AGW evaluates it) ranks images.

    Raises:
        ValueError: for unfitting shapes or options, a NaN distance, or when no query has a match.
        TypeError: for masks that are not boolean or distances that are not floating.

    Reference:
        A. Wu et al., RGB-Infrared Cross-Modality Person Re-Identification, ICCV 2017, with the evaluation
        code of its data set SYSU-MM01 (CMC, mAP); M. Ye et al., Deep Learning for Person Re-identification:
        A Survey and Outlook, TPAMI 2022 (mINP).
    """
    _check(distance, match, valid, identities, max_rank, level)
    groups = _groups(identities, distance.device)
    parts = [
        score_queries(distance[c], match[c], valid[c], groups, level)
        for c in query_chunks(len(distance), distance.shape[1], distance.device)
    ]
    return _collect(parts, len(distance), max_rank)


def evaluate_features(
    query: Tensor,
    gallery: Tensor,
    query_labels: Labels,
    gallery_labels: Labels,
    *,
    metric: Metric = "cosine",
    max_rank: int = 20,
    level: CMCLevel = "identity",
) -> Scores:
    """Score the ranking of the gallery for every query, without ever holding all distances.

    This gives what `evaluate` gives on `distances`, with ``match`` where the identities are equal and ``valid``
    where the origins differ. Distances exist for some queries at a time, on the device of the features. That takes
    about 200 MiB beside them, and above a quarter of a million gallery images 400 bytes for each.

    Args:
        query, gallery: features, ``(Q, D)`` and ``(G, D)``, on one device.
        query_labels, gallery_labels: of their rows.
        metric: see `distances`, default ``"cosine"``.
        max_rank, level: see `evaluate`.

    Raises:
        ValueError: for unfitting shapes or options, features that give a NaN distance, or when no query has a match.
    """
    _check_options(max_rank, level)
    _check_labels(query, gallery, query_labels, gallery_labels)
    device = gallery.device
    asked, shown = (Labels(*(part.to(device) for part in labels)) for labels in (query_labels, gallery_labels))
    prepared, groups, parts = prepare_gallery(gallery, metric), _groups(shown.identities, device), []
    for tile in query_tiles(len(query), len(gallery)):
        some = Labels(asked.identities[tile], asked.origins[tile])
        parts += _score_tile(distances_to(prepared, query[tile]), some, shown, groups, level)
    return _collect(parts, len(query), max_rank)


def average(scores: Sequence[Scores]) -> Scores:
    """Average the scores of several trials with equal weight; the two counts are sums. No trial is a ValueError."""
    if len(scores) == 0:
        raise ValueError("scores is empty, expected at least one trial to average.")
    return Scores(
        cmc=torch.stack([trial.cmc for trial in scores]).mean(dim=0),
        mAP=math.fsum(trial.mAP for trial in scores) / len(scores),
        mINP=math.fsum(trial.mINP for trial in scores) / len(scores),
        num_queries=sum(trial.num_queries for trial in scores),
        num_valid_queries=sum(trial.num_valid_queries for trial in scores),
    )


def _score_tile(distance: Tensor, asked: Labels, shown: Labels, groups: Tensor, level: CMCLevel) -> list[QueryScores]:
    parts = []
    for c in query_chunks(len(distance), distance.shape[1], distance.device):
        match = asked.identities[c, None] == shown.identities
        valid = asked.origins[c, None] != shown.origins
        parts.append(score_queries(distance[c], match, valid, groups, level))
    return parts


def _collect(parts: Sequence[QueryScores], num_queries: int, max_rank: int) -> Scores:
    first, precision, penalty = (torch.cat(column) for column in zip(*parts, strict=True))
    if len(first) == 0:
        raise ValueError(
            f"none of the {num_queries} queries has a match among its valid gallery images; "
            "check that query and gallery hold the same identities."
        )
    found = first.clamp(max=max_rank + 1).bincount(minlength=max_rank + 2)[1 : max_rank + 1].cumsum(0)
    return Scores(
        cmc=found.double() / len(first),
        mAP=float(precision.mean()),
        mINP=float(penalty.mean()),
        num_queries=num_queries,
        num_valid_queries=len(first),
    )


def _groups(identities: Tensor, device: torch.device) -> Tensor:
    groups: Tensor = torch.unique(identities.to(device), return_inverse=True)[1]
    return groups  # (G,)


def _check(distance: Tensor, match: Tensor, valid: Tensor, identities: Tensor, max_rank: int, level: str) -> None:
    _check_options(max_rank, level)
    if not distance.is_floating_point() or match.dtype != torch.bool or valid.dtype != torch.bool:
        raise TypeError(
            "distance must be floating and match and valid boolean, "
            f"got {distance.dtype}, {match.dtype} and {valid.dtype}."
        )
    shapes = [tuple(tensor.shape) for tensor in (distance, match, valid, identities)]
    if distance.ndim != 2 or shapes[1:] != [shapes[0], shapes[0], shapes[0][1:]]:
        raise ValueError(
            "distance, match and valid must be (Q, G) and identities (G,), "
            f"got {', '.join(map(str, shapes[:3]))} and {shapes[3]}."
        )
    if distance.numel() == 0:
        raise ValueError(f"distance is {shapes[0]}, expected at least one query and one gallery image.")


def _check_options(max_rank: int, level: str) -> None:
    if level not in get_args(CMCLevel):
        raise ValueError(f"level must be one of {', '.join(get_args(CMCLevel))}, got {level!r}.")
    if isinstance(max_rank, bool) or not isinstance(max_rank, int) or max_rank < 1:
        raise ValueError(f"max_rank must be a positive integer, got {max_rank!r}.")


def _check_labels(query: Tensor, gallery: Tensor, query_labels: Labels, gallery_labels: Labels) -> None:
    for name, features, labels in (("query", query, query_labels), ("gallery", gallery, gallery_labels)):
        shapes = [tuple(part.shape) for part in labels]
        if features.ndim != 2 or set(shapes) != {(len(features),)}:
            raise ValueError(
                f"{name} must be features (n, D) with identities (n,) and origins (n,), "
                f"got {tuple(features.shape)}, {shapes[0]} and {shapes[1]}."
            )
        if len(features) == 0:
            raise ValueError(f"{name} has no row, expected at least one image.")

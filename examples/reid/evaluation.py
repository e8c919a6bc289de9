"""CMC, mAP and mINP of a ranking, from distances and two masks; knows no camera and no data set."""

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple, get_args

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["CMCLevel", "Metric", "Scores", "average", "distances", "evaluate"]

Metric = Literal["cosine", "euclidean"]
CMCLevel = Literal["identity", "image"]

# Distances ranked at a time: a few buffers of two megabytes, which stay in the cache of one core.
_CHUNK_ELEMENTS = 1 << 18


class Scores(NamedTuple):
    """Retrieval scores as fractions, and how many queries they stand on."""

    cmc: Tensor
    """``(max_rank,)`` float64: share of the valid queries found at rank 1, 2, …"""
    mAP: float  # noqa: N815
    mINP: float  # noqa: N815
    num_queries: int
    num_valid_queries: int
    """Queries with a match left in the gallery; the others count nowhere."""


def distances(query: Tensor, gallery: Tensor, metric: Metric = "cosine") -> Tensor:
    """Compare every query with every gallery image.

    ``"cosine"`` is minus the cosine similarity (adding 1 would round near-equal values into ties);
    ``"euclidean"`` is the Euclidean distance of the features as they are.

    Args:
        query: features, shape ``(Q, D)``; float16 and bfloat16 are computed in float32, because distances in
            half precision are full of ties.
        gallery: features, shape ``(G, D)``.
        metric: ``"cosine"`` (AGW's choice) or ``"euclidean"`` (that of the official SYSU-MM01 code).

    Returns:
        Distances, shape ``(Q, G)``, smaller is nearer.

    Raises:
        ValueError: for an unknown metric, or features that are not two matrices of equal width.

    """
    if metric not in get_args(Metric):
        raise ValueError(f"metric must be one of {', '.join(get_args(Metric))}, got {metric!r}.")
    if query.ndim != 2 or gallery.ndim != 2 or query.shape[1] != gallery.shape[1]:
        raise ValueError(
            "query and gallery must be (Q, D) and (G, D), "
            f"got {tuple(query.shape)} and {tuple(gallery.shape)}; pass features of one and the same layer."
        )
    query, gallery = _at_least_float32(query), _at_least_float32(gallery)
    if metric == "euclidean":
        return torch.cdist(query, gallery)
    return -functional.normalize(query, dim=1) @ functional.normalize(gallery, dim=1).T


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
    AP = 1/m Σ_j j / r_j and INP = m / r_m. Costs one sort of the values of each row, in chunks of queries:
    the memory beside the arguments does not grow with the number of queries.

    Args:
        distance: shape ``(Q, G)``, smaller is nearer; ranked in float32 or float64, on the CPU.
        match: boolean, shape ``(Q, G)``: the gallery image shows the identity of the query.
        valid: boolean, shape ``(Q, G)``: the protocol keeps this gallery image for this query.
        identities: of the gallery, shape ``(G,)``; read for the identity-level CMC only.
        max_rank: length of the CMC curve, default 20, the last rank that papers print.
        level: ``"identity"`` (default; SYSU-MM01, LLCM) ranks distinct identities in order of their first
            image; ``"image"`` (RegDB as AGW evaluates it) ranks images.

    Returns:
        The scores, means over the valid queries in float64.

    Raises:
        ValueError: for unfitting shapes or options, a NaN distance, or when no query has a match.
        TypeError: for masks that are not boolean or distances that are not floating.

    Reference:
        A. Wu et al., RGB-Infrared Cross-Modality Person Re-Identification, ICCV 2017, with the evaluation
        code of its data set SYSU-MM01 (CMC, mAP); M. Ye et al., Deep Learning for Person Re-identification:
        A Survey and Outlook, TPAMI 2022 (mINP).

    """
    _check(distance, match, valid, identities, max_rank, level)
    groups = torch.unique(identities.cpu(), return_inverse=True)[1]  # (G,)
    rows = max(1, _CHUNK_ELEMENTS // max(1, distance.shape[1]))
    chunks = [slice(start, start + rows) for start in range(0, len(distance), rows)]
    parts = [_evaluate_chunk(distance[c], match[c], valid[c], groups, level) for c in chunks]
    first, precision, penalty = (torch.cat(column) for column in zip(*parts, strict=True))
    if len(first) == 0:
        raise ValueError(
            f"none of the {len(distance)} queries has a match among its valid gallery images; "
            "check that query and gallery hold the same identities."
        )
    found = first.clamp(max=max_rank + 1).bincount(minlength=max_rank + 2)[1 : max_rank + 1].cumsum(0)
    return Scores(
        cmc=found.double() / len(first),
        mAP=float(precision.mean()),
        mINP=float(penalty.mean()),
        num_queries=len(distance),
        num_valid_queries=len(first),
    )


def average(scores: Sequence[Scores]) -> Scores:
    """Average the scores of several trials with equal weight, however many queries each kept.

    Args:
        scores: one record per trial, with CMC curves of equal length.

    Returns:
        The mean of each score; the two counts are sums over the trials.

    Raises:
        ValueError: when there is no trial.

    """
    if len(scores) == 0:
        raise ValueError("scores is empty, expected at least one trial to average.")
    return Scores(
        cmc=torch.stack([trial.cmc for trial in scores]).mean(dim=0),
        mAP=math.fsum(trial.mAP for trial in scores) / len(scores),
        mINP=math.fsum(trial.mINP for trial in scores) / len(scores),
        num_queries=sum(trial.num_queries for trial in scores),
        num_valid_queries=sum(trial.num_valid_queries for trial in scores),
    )


class _QueryScores(NamedTuple):
    """What each valid query of a chunk contributes, every field ``(q,)``."""

    first: Tensor
    average_precision: Tensor
    inverse_negative_penalty: Tensor


class _Ranking(NamedTuple):
    """Where the matches of each query stand, with rows in which a match shares its distance flagged."""

    image_ranks: Tensor  # (q, M) float64, ascending, the first `counts` entries of each row are meant
    identity_rank: Tensor  # (q,)
    tied: Tensor  # (q,)


def _evaluate_chunk(distance: Tensor, match: Tensor, valid: Tensor, groups: Tensor, level: CMCLevel) -> _QueryScores:
    if distance.isnan().any():
        raise ValueError(
            "distance holds NaN, which cannot be ranked; look for non-finite features or a diverged model."
        )
    match = (match & valid).cpu()
    scored = match.any(dim=1)
    match, valid = match[scored], valid.cpu()[scored]
    values = _at_least_float32(distance.detach().cpu()[scored]).masked_fill(~valid, math.inf)  # (q, G)
    counts = match.sum(dim=1)
    image_ranks, identity_rank, tied = _rank(values, match, counts, groups)
    if tied.any():  # rank these rows again on their places in a stable sort, which are all different
        places = _stable_places(values[tied]).masked_fill(~valid[tied], math.inf)
        again = _rank(places, match[tied], counts[tied], groups)
        image_ranks[tied, : again.image_ranks.shape[1]] = again.image_ranks
        identity_rank[tied] = again.identity_rank
    return _summarize(image_ranks, counts, identity_rank if level == "identity" else None)


def _rank(values: Tensor, match: Tensor, counts: Tensor, groups: Tensor) -> _Ranking:
    """Rank the matches by searching them among the sorted values of their row; no indices are sorted."""
    rows, columns = match.nonzero(as_tuple=True)
    slots = torch.arange(len(rows)) - (counts.cumsum(0) - counts)[rows]
    width = int(counts.max()) if len(counts) else 1
    matches = values.new_full((len(values), width), math.inf)  # (q, M)
    matches[rows, slots] = values[rows, columns]
    matches = matches.sort(dim=1).values
    ordered = torch.from_numpy(np.sort(values.numpy(), axis=1))  # values only: 3 times faster than torch.sort
    before = torch.searchsorted(ordered, matches)  # (q, M)
    sharing = torch.searchsorted(ordered, matches, right=True) - before > 1
    nearest = values.new_full((len(values), int(groups.max()) + 1), math.inf)  # (q, I)
    nearest = nearest.scatter_reduce(1, groups.expand_as(values), values, "amin")
    return _Ranking(
        image_ranks=(before + 1).double(),
        identity_rank=1 + (nearest < matches[:, :1]).sum(dim=1),
        tied=(sharing & _within(counts, width)).any(dim=1),
    )


def _stable_places(values: Tensor) -> Tensor:
    order = values.sort(dim=1, stable=True).indices
    places = torch.arange(values.shape[1], dtype=torch.float64).expand(values.shape)
    return torch.empty(values.shape, dtype=torch.float64).scatter(1, order, places)


def _summarize(image_ranks: Tensor, counts: Tensor, identity_rank: Tensor | None) -> _QueryScores:
    width = image_ranks.shape[1]
    order = torch.arange(1, width + 1, dtype=torch.float64)  # (M,)
    precision = (order / image_ranks).where(_within(counts, width), 0.0).sum(dim=1) / counts
    last = image_ranks.gather(1, counts[:, None] - 1)[:, 0]
    first = image_ranks[:, 0].long() if identity_rank is None else identity_rank
    return _QueryScores(first, precision, counts / last)


def _within(counts: Tensor, width: int) -> Tensor:
    return torch.arange(width) < counts[:, None]  # (q, M)


def _at_least_float32(values: Tensor) -> Tensor:
    return values.to(torch.promote_types(values.dtype, torch.float32))


def _check(distance: Tensor, match: Tensor, valid: Tensor, identities: Tensor, max_rank: int, level: str) -> None:
    if level not in get_args(CMCLevel):
        raise ValueError(f"level must be one of {', '.join(get_args(CMCLevel))}, got {level!r}.")
    if isinstance(max_rank, bool) or not isinstance(max_rank, int) or max_rank < 1:
        raise ValueError(f"max_rank must be a positive integer, got {max_rank!r}.")
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

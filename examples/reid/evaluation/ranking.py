"""Where the matches stand in the ranking of each query, found by sorting values only."""

import math
from collections.abc import Iterator
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

__all__ = ["CMCLevel", "QueryScores", "query_chunks", "score_queries"]

CMCLevel = Literal["identity", "image"]

# Distances ranked at a time: a few buffers of two megabytes, which stay in the cache of one core.
_CHUNK_ELEMENTS = 1 << 18
# An accelerator wants more at a time than it has cores.
_ACCELERATOR_CHUNK_ELEMENTS = 1 << 22
# In longer rows float32 nearly always has equal values that float64 tells apart.
_LONGEST_FLOAT32_ROW = 1 << 17


class QueryScores(NamedTuple):
    """What each valid query of a chunk contributes, every field ``(q,)``."""

    first: Tensor
    average_precision: Tensor
    inverse_negative_penalty: Tensor


def score_queries(distance: Tensor, match: Tensor, valid: Tensor, groups: Tensor, level: CMCLevel) -> QueryScores:
    """Rank the gallery for some queries, and score those that have a match left, on the CPU.

    Args:
        distance: shape ``(q, G)``, smaller is nearer; NaN is a ValueError.
        match, valid: boolean, shape ``(q, G)``.
        groups: the identity of each gallery image as a number from 0 without gaps, shape ``(G,)``.
        level: see `reid.evaluation.scores.evaluate`.
    """
    distance, match, valid = distance.detach(), match.to(distance.device), valid.to(distance.device)
    if distance.amax().isnan():
        raise ValueError(
            "distance holds NaN, which cannot be ranked; look for non-finite features or a diverged model."
        )
    match = match & valid
    matches = _find(match)
    if not (scored := matches.counts > 0).all():
        distance, match, valid = distance[scored], match[scored], valid[scored]
        matches = _find(match)
    values = torch.where(valid, _at_least_float32(distance), math.inf)  # (q, G)
    # Sorting float32 takes half the time. Rows in which a match shares its value with another image are ranked
    # again, by the places of all images in a stable sort, which are all different.
    first_keys = values.float() if values.shape[1] <= _LONGEST_FLOAT32_ROW else values
    image_ranks, identity_rank, tied = _rank(first_keys, matches, groups)
    if tied.any():
        places = _stable_places(values[tied], valid[tied])
        again = _rank(places, _find(match[tied]), groups)
        image_ranks[tied, : again.image_ranks.shape[1]] = again.image_ranks
        identity_rank[tied] = again.identity_rank
    return _summarize(image_ranks, matches.counts, identity_rank if level == "identity" else None)


def query_chunks(num_queries: int, num_images: int, device: torch.device) -> Iterator[slice]:
    """Split the queries into parts that are ranked at a time on a device; at least one query each."""
    elements = _CHUNK_ELEMENTS if device.type == "cpu" else _ACCELERATOR_CHUNK_ELEMENTS
    rows = max(1, elements // max(1, num_images))
    return (slice(start, start + rows) for start in range(0, num_queries, rows))


class _Matches(NamedTuple):
    """Where the matches of all queries are, row by row."""

    rows: Tensor  # (n,)
    columns: Tensor  # (n,)
    counts: Tensor  # (q,)


class _Ranking(NamedTuple):
    """Where the matches of each query stand, with rows in which a match shares its distance flagged."""

    image_ranks: Tensor  # (q, M) float64, ascending, the first `counts` entries of each row are meant
    identity_rank: Tensor  # (q,)
    tied: Tensor  # (q,)


def _rank(values: Tensor, matches: _Matches, groups: Tensor) -> _Ranking:
    """Rank the matches by searching them among the sorted values of their row; no indices are sorted."""
    rows, columns, counts = matches
    slots = torch.arange(len(rows), device=rows.device) - (counts.cumsum(0) - counts)[rows]
    width = int(counts.max()) if len(counts) else 1
    wanted = values.new_full((len(values), width), math.inf)  # (q, M)
    wanted[rows, slots] = values[rows, columns]
    wanted, ordered = _sorted(wanted), _sorted(values)
    before = torch.searchsorted(ordered, wanted)  # (q, M)
    after = ordered.gather(1, (before + 1).clamp(max=values.shape[1] - 1))
    sharing = (after == wanted) & (before + 1 < values.shape[1])
    nearest = values.new_full((len(values), int(groups.max()) + 1), math.inf)  # (q, I)
    nearest = nearest.scatter_reduce(1, groups.expand_as(values), values, "amin")
    return _Ranking(
        image_ranks=(before + 1).double(),
        identity_rank=1 + (nearest < wanted[:, :1]).sum(dim=1),
        tied=(sharing & _within(counts, width)).any(dim=1),
    )


def _sorted(values: Tensor) -> Tensor:
    if values.device.type == "cpu":  # numpy sorts values without their indices, 3 times faster
        return torch.from_numpy(np.sort(values.numpy(), axis=1))
    return values.sort(dim=1).values


def _find(match: Tensor) -> _Matches:
    rows, columns = match.nonzero(as_tuple=True)
    return _Matches(rows, columns, torch.bincount(rows, minlength=len(match)))


def _stable_places(values: Tensor, valid: Tensor) -> Tensor:
    order = values.sort(dim=1, stable=True).indices
    places = torch.arange(values.shape[1], dtype=torch.float64, device=values.device).expand(values.shape)
    return torch.empty_like(places).scatter(1, order, places).masked_fill(~valid, math.inf)


def _summarize(image_ranks: Tensor, counts: Tensor, identity_rank: Tensor | None) -> QueryScores:
    image_ranks, counts = image_ranks.cpu(), counts.cpu()  # small, and sums are the same on every device
    order = torch.arange(1, image_ranks.shape[1] + 1, dtype=torch.float64)  # (M,)
    end = counts[:, None] - 1
    # A running sum adds in the same order however wide the chunk is; sum() does not.
    precision = (order / image_ranks).cumsum(dim=1).gather(1, end)[:, 0] / counts
    last = image_ranks.gather(1, end)[:, 0]
    first = image_ranks[:, 0].long() if identity_rank is None else identity_rank.cpu()
    return QueryScores(first, precision, counts / last)


def _within(counts: Tensor, width: int) -> Tensor:
    return torch.arange(width, device=counts.device) < counts[:, None]  # (q, M)


def _at_least_float32(values: Tensor) -> Tensor:
    return values.to(torch.promote_types(values.dtype, torch.float32))

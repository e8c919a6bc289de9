"""Distances between every query and every gallery image, in float64, some queries at a time."""

import hashlib
from collections.abc import Iterator
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor

__all__ = ["Gallery", "Metric", "distances", "distances_to", "prepare_gallery", "query_tiles"]

Metric = Literal["cosine", "euclidean"]

# Distances of one tile of queries: 64 MiB. The gallery is read once per tile, so a large one needs enough queries
# in each: 256 bytes for each of its images.
_TILE_ELEMENTS = 1 << 23
_TILE_ROWS = 32
# Features of the gallery that are in float64 at a time: 8 MiB.
_BLOCK_ELEMENTS = 1 << 20
_SAMPLE = 1000  # images of the gallery that tell what all have in common
_SHORTEST = 1e-150  # no feature of float32 is as short, but for zero


class Gallery(NamedTuple):
    """A gallery, and what is worked out once for all queries."""

    features: Tensor
    """``(G, D)``, as they came."""
    origin: Tensor | None
    """``(D,)`` float64, from where features are measured; None: from zero."""
    squares: Tensor
    """``(G,)`` float64, the squared norms, from the origin"""
    repeated: Tensor
    """``(R,)``, the rows that repeat an earlier one …"""
    originals: Tensor
    """``(R,)``, … and the first row that each of them repeats."""
    metric: Metric


def distances(query: Tensor, gallery: Tensor, metric: Metric = "cosine") -> Tensor:
    """Compare every query with every gallery image.

    ``"cosine"`` is minus the cosine similarity (adding 1 would round near-equal values into ties);
    ``"euclidean"`` is the Euclidean distance of the features as they are, whatever offset they have in common.
    Both are computed in float64, whatever the type of the features: the inner products that make them fast
    cancel, and float32 ranks differently on different machines. Gallery images with equal features are equally
    far, to the last bit.

    Args:
        query: features, shape ``(Q, D)``.
        gallery: features, shape ``(G, D)``, on the same device.
        metric: ``"cosine"`` (AGW's choice) or ``"euclidean"`` (that of the official SYSU-MM01 code).

    Returns:
        Distances, shape ``(Q, G)``, float64, smaller is nearer.

    Raises:
        ValueError: for an unknown metric, or features that are not two matrices of equal width.
    """
    prepared = prepare_gallery(gallery, metric)
    _check(query, gallery)
    result = gallery.new_empty((len(query), len(gallery)), dtype=torch.float64)
    for rows in query_tiles(len(query), len(gallery)):
        result[rows] = distances_to(prepared, query[rows])
    return result


def prepare_gallery(gallery: Tensor, metric: Metric) -> Gallery:
    """Work out what all queries need to know of a gallery (G, D): its norms, and which rows are equal."""
    if metric not in get_args(Metric):
        raise ValueError(f"metric must be one of {', '.join(get_args(Metric))}, got {metric!r}.")
    if gallery.ndim != 2:
        raise ValueError(f"features must be a matrix with a row per image, got shape {tuple(gallery.shape)}.")
    gallery = gallery.detach()
    origin = _origin(gallery, metric)
    squares = gallery.new_empty(len(gallery), dtype=torch.float64)
    for rows in _blocks(gallery):
        squares[rows] = _measured(gallery[rows], origin).square().sum(dim=1)
    first = _first_equal_row(gallery)  # (G,)
    repeated = (first != torch.arange(len(first), device=first.device)).nonzero()[:, 0]
    return Gallery(gallery, origin, squares, repeated, first[repeated], metric)


def distances_to(gallery: Gallery, query: Tensor) -> Tensor:
    """Compare some queries (q, D) with every gallery image, (q, G) float64; see `distances`."""
    _check(query, gallery.features)
    query = _measured(query.detach(), gallery.origin)
    squares = query.square().sum(dim=1, keepdim=True)  # (q, 1)
    result = query.new_empty((len(query), len(gallery.features)))
    for rows in _blocks(gallery.features):
        shown = _measured(gallery.features[rows], gallery.origin)  # (g, D)
        torch.matmul(query, shown.T, out=(products := result[:, rows]))
        _compare(products, squares, gallery.squares[rows], gallery.metric)
    # A matrix product may round equal columns differently, by where they stand.
    result[:, gallery.repeated] = result[:, gallery.originals]
    return result


def query_tiles(num_queries: int, num_images: int) -> Iterator[slice]:
    """Split the queries so that their distances to so many images stay small."""
    rows = max(_TILE_ROWS, _TILE_ELEMENTS // max(1, num_images))
    return (slice(start, start + rows) for start in range(0, num_queries, rows))


def _first_equal_row(gallery: Tensor) -> Tensor:
    """Find the first row that each row is equal to, by a hash of their bytes, (G,)."""
    seen: dict[bytes, int] = {}
    first: list[int] = []
    for rows in _blocks(gallery):
        block = (gallery[rows].double() + 0.0).cpu().numpy()  # -0.0 + 0.0 is 0.0, to which it is equal
        digests = (hashlib.blake2b(row, digest_size=16).digest() for row in block)
        first += [seen.setdefault(digest, place) for place, digest in enumerate(digests, start=len(first))]
    return torch.tensor(first, dtype=torch.int64, device=gallery.device)


def _origin(gallery: Tensor, metric: Metric) -> Tensor | None:
    """Choose what is taken off all features, so that products of a common offset do not swallow the differences.

    A median is a value of the features itself: differences of values of few bits stay exact, and so do ties.
    """
    if metric == "cosine" or len(gallery) == 0:
        return None
    return gallery[:: len(gallery) // _SAMPLE + 1].double().median(dim=0).values


def _measured(features: Tensor, origin: Tensor | None) -> Tensor:
    return features.double() if origin is None else features.double() - origin


def _compare(products: Tensor, query: Tensor, gallery: Tensor, metric: Metric) -> None:
    """Turn inner products (q, g) into distances, in place, with the squared norms (q, 1) and (g,)."""
    if metric == "cosine":
        # Divided afterwards, so that equal products of integers stay equal; a zero has no direction: 0.
        products.div_(gallery.sqrt().clamp(min=_SHORTEST)).div_(-query.sqrt().clamp(min=_SHORTEST))
    else:
        products.mul_(-2).add_(gallery).add_(query).clamp_(min=0).sqrt_()


def _blocks(features: Tensor) -> Iterator[slice]:
    rows = max(1, _BLOCK_ELEMENTS // max(1, features.shape[1]))
    return (slice(start, start + rows) for start in range(0, len(features), rows))


def _check(query: Tensor, gallery: Tensor) -> None:
    if query.ndim != 2 or gallery.ndim != 2 or query.shape[1] != gallery.shape[1]:
        raise ValueError(
            "query and gallery must be (Q, D) and (G, D), "
            f"got {tuple(query.shape)} and {tuple(gallery.shape)}; pass features of one and the same layer."
        )

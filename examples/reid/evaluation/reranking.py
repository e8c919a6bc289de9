"""k-reciprocal re-ranking: distances that know which images have each other among their neighbours."""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from reid.evaluation.distances import Metric, distances

__all__ = ["Reranking", "rerank"]

# Rows of a matrix that are worked on at a time. Few queries have few neighbours, so few columns are compared.
_ROWS = 16


class Reranking(NamedTuple):
    """The constants of the method, with the values of its paper."""

    k1: int = 20
    """How many nearest images may be reciprocal neighbours."""
    k2: int = 6
    """Over how many nearest images, itself included, the neighbourhood of an image is averaged."""
    weight: float = 0.3
    """λ: share of the original distance in the final one."""


def rerank(query: Tensor, gallery: Tensor, constants: Reranking, *, metric: Metric = "cosine") -> Tensor:
    """Compare every query with every gallery image by their neighbours among all of them.

    Let d(i, j) be the squared Euclidean distance between images i and j of both sets together (of the normalised
    features for the cosine), divided by the largest in row i; N(i, k) image i and the k images nearest to it; and

        R(i, k)  = {j in N(i, k): i in N(j, k)},
        R*(i)    = R(i, k1) and R(j, k1/2) for each j in R(i, k1) with |R(i, k1) ∩ R(j, k1/2)| ≥ ⅔ |R(j, k1/2)|,
        V_i(j)   = exp(−d(i, j)) for j in R*(i), else 0, divided by their sum,
        V*_i     = mean of V_j over the k2 images nearest to i, itself included,
        J(i, j)  = 1 − Σ min(V*_i, V*_j) / Σ max(V*_i, V*_j),
        d*(i, j) = (1 − λ) J(i, j) + λ d(i, j).

    The paper does not say how d is scaled; dividing by the largest of the row, and V by its sum, which leaves
    the scale of J alone, is what its authors' program does. Of an odd k1, k1/2 is rounded to the even neighbour, as
    there. The order of equal distances is that of the images, queries first.

    It uses the other queries and the gallery as a whole, which a real search for one person need not have, so
    its scores do not compare with others. With N = Q + G it holds up to four float64 matrices (N, N), 32 N² bytes:
    0.5 GiB for SYSU-MM01 single-shot, 1.4 GiB for ten shots.

    Args:
        query: features, shape ``(Q, D)``.
        gallery: features, shape ``(G, D)``.
        constants: those of the paper are ``Reranking()``: k1 = 20, k2 = 6, λ = 0.3.
        metric: see `distances`.

    Returns:
        d*, shape ``(Q, G)``, float64, smaller is nearer.

    Raises:
        ValueError: for constants that make no sense for so many images, or features that are not finite.

    Reference:
        Z. Zhong, L. Zheng, D. Cao, S. Li, Re-ranking Person Re-identification with k-reciprocal Encoding,
        CVPR 2017, equations 3 to 12.

    """
    _check(constants, len(query) + len(gallery))
    original = _original(torch.cat([query, gallery]), metric)  # (N, N)
    order = _nearest(original, constants)  # (N, 1 + k1), each image first in its own row
    weights = _weights(original, order, constants.k1)  # (N, N)
    weights = _averaged(weights, order[:, : constants.k2])
    rows = len(query)
    jaccard = torch.cat([_jaccard(weights[part], weights[rows:]) for part in _parts(rows)])  # (Q, G)
    return (1 - constants.weight) * jaccard + constants.weight * original[:rows, rows:]


def _original(features: Tensor, metric: Metric) -> Tensor:
    squared = distances(features, features, metric)
    # Of normalised features, 1 minus the cosine is half the squared distance, and the scale is divided out.
    squared = squared.add_(1) if metric == "cosine" else squared.square_()
    if squared.isnan().any():
        raise ValueError("a distance is NaN, which cannot be ranked; look for features that are not finite.")
    squared.fill_diagonal_(0)
    return squared.div_(squared.amax(dim=1, keepdim=True).clamp(min=1e-300))


def _nearest(original: Tensor, constants: Reranking) -> Tensor:
    """List each image and the k1 nearest to it, (N, 1 + k1)."""
    lists = []
    for part in _parts(len(original)):
        values = original[part].clone()
        values.diagonal(part.start).fill_(-1)  # an image comes before its copies
        lists.append(values.sort(dim=1, stable=True).indices[:, : constants.k1 + 1])
    return torch.cat(lists)


def _weights(original: Tensor, order: Tensor, k1: int) -> Tensor:
    """V, before it is averaged."""
    near, half = order, order[:, : round(k1 / 2) + 1]  # (N, K), (N, H)
    mutual, half_mutual = _mutual(near), _mutual(half)
    own = torch.arange(len(order), device=order.device)[:, None]
    member = torch.zeros_like(original, dtype=torch.bool)
    member[own, torch.where(mutual, near, own)] = True  # R(i, k1)
    candidates, counted = half[near], half_mutual[near]  # (N, K, H): R(j, k1/2) of each j near i
    shared = (member[own[:, :, None], candidates] & counted).sum(dim=2)
    accepted = mutual & (3 * shared >= 2 * counted.sum(dim=2))  # (N, K)
    added = torch.where(accepted[:, :, None] & counted, candidates, own[:, :, None])
    member[own[:, :, None], added] = True  # R*(i)
    weights = original.neg().exp_().mul_(member)
    return weights.div_(weights.sum(dim=1, keepdim=True))


def _mutual(lists: Tensor) -> Tensor:
    """Tell which entries of each list have the owner of the list in theirs, (N, K)."""
    owners = torch.arange(len(lists), device=lists.device)[:, None, None]
    return (lists[lists] == owners).any(dim=2)


def _averaged(weights: Tensor, near: Tensor) -> Tensor:
    mean = weights[near[:, 0]]
    for column in near.T[1:]:
        mean += weights[column]
    return mean.div_(near.shape[1])


def _jaccard(query: Tensor, gallery: Tensor) -> Tensor:
    """1 − Σ min / Σ max of rows that sum to 1, where Σ min = 1 − Σ |difference| / 2 and Σ max = 2 − Σ min."""
    columns = (query > 0).any(dim=0)  # where all queries are 0, so is the smaller of both
    query, gallery = query[:, columns], gallery[:, columns]
    both = query.sum(dim=1)[:, None] + gallery.sum(dim=1)
    smaller = (both - torch.cdist(query, gallery, p=1)).div_(2).clamp_(min=0)
    return 1 - smaller / (2 - smaller)


def _parts(rows: int) -> Iterator[slice]:
    return (slice(start, min(rows, start + _ROWS)) for start in range(0, rows, _ROWS))


def _check(constants: Reranking, images: int) -> None:
    k1, k2, weight = constants
    if not (1 <= k1 < images and 1 <= k2 <= k1 + 1 and 0 <= weight <= 1):
        raise ValueError(
            f"re-ranking of {images} images needs 1 <= k1 < {images}, 1 <= k2 <= k1 + 1 and a weight from 0 to 1, "
            f"got k1={k1}, k2={k2} and weight={weight}."
        )

"""The field's losses as plain loops, in the structure in which they are published: what a user would copy today.

Each takes ``(features, labels)`` in the layout that such code expects: first all rows of one modality, then all of the
other, in each the K rows of an identity together and the identities in the same order. They loop over anchors or over
identities, index by masks, and MMD makes the difference of every two rows. The margins are the published ones.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["LOOPS", "batch_hard", "center_cluster", "hetero_center_triplet", "pair_mining"]

_TRIPLET_MARGIN, _CLUSTER_MARGIN, _MINING_MARGIN = 0.3, 0.7, 0.2


class Shape(NamedTuple):
    """A batch of P identities with K rows in each modality."""

    identities: int
    images: int

    @property
    def rows(self) -> int:
        """Of both modalities together."""
        return 2 * self.identities * self.images


def batch_hard(features: Tensor, labels: Tensor, shape: Shape) -> Tensor:
    """Loop over the rows: each with its farthest positive and its nearest negative."""
    return _hardest(features, labels, _TRIPLET_MARGIN)


def hetero_center_triplet(features: Tensor, labels: Tensor, shape: Shape) -> Tensor:
    """Loop over the 2P blocks for their centers, then over the centers as anchors."""
    centers = torch.stack([block.mean(0) for block in features.chunk(2 * shape.identities)])
    return _hardest(centers, labels[:: shape.images], _TRIPLET_MARGIN)


def center_cluster(features: Tensor, labels: Tensor, shape: Shape) -> Tensor:
    """Loop over the identities for their centers, and again to push each from the others."""
    centers = torch.stack([features[labels == identity].mean(0) for identity in labels[:: shape.images].unique()])
    pull = (features - centers[labels]).norm(dim=1).mean()
    pushes = []
    for place, center in enumerate(centers):
        others = torch.cat([centers[:place], centers[place + 1 :]])
        pushes.append(torch.relu(_CLUSTER_MARGIN - (others - center).norm(dim=1)).mean())
    return pull + torch.stack(pushes).mean()


def pair_mining(features: Tensor, labels: Tensor, shape: Shape) -> Tensor:
    """Loop over the identities of visible, infrared and their expansions, four blocks of rows, for each direction."""
    bases_and_expansions = [_centers(block, shape) for block in features.chunk(4)]
    visible, infrared, more_visible, more_infrared = bases_and_expansions
    return (_mined(visible, infrared, more_visible) + _mined(infrared, visible, more_infrared)) / 2


def discrepancy(features: Tensor, labels: Tensor, shape: Shape) -> Tensor:
    """Take the maximum mean discrepancy of all rows from an N x N x D tensor of differences."""
    return _discrepancy(*features.chunk(2))


def discrepancy_per_identity(features: Tensor, labels: Tensor, shape: Shape) -> Tensor:
    """Loop over the identities, each with differences of its own."""
    blocks = features.chunk(2 * shape.identities)
    pairs = zip(blocks[: shape.identities], blocks[shape.identities :], strict=True)
    return torch.stack([_discrepancy(first, second) for first, second in pairs]).mean()


LOOPS: dict[str, Callable[[Tensor, Tensor, Shape], Tensor]] = {
    "hetero-center triplet": hetero_center_triplet,
    "batch-hard triplet": batch_hard,
    "center cluster": center_cluster,
    "center-guided pair mining": pair_mining,
    "maximum mean discrepancy": discrepancy,
    "maximum mean discrepancy per identity": discrepancy_per_identity,
}


def _distances(first: Tensor, second: Tensor) -> Tensor:
    squares = first.square().sum(1)[:, None] + second.square().sum(1) - 2 * first @ second.T
    return squares.clamp(min=1e-12).sqrt()


def _hardest(rows: Tensor, labels: Tensor, margin: float) -> Tensor:
    distances, same = _distances(rows, rows), labels[:, None] == labels
    positives, negatives = [], []
    for anchor in range(len(rows)):
        positives.append(distances[anchor][same[anchor]].max())
        negatives.append(distances[anchor][~same[anchor]].min())
    return torch.relu(margin + torch.stack(positives) - torch.stack(negatives)).mean()


def _centers(block: Tensor, shape: Shape) -> Tensor:
    return torch.stack([rows.mean(0) for rows in block.chunk(shape.identities)])


def _mined(base: Tensor, other: Tensor, expanded: Tensor) -> Tensor:
    to_base, to_other = _distances(base, expanded).detach(), _distances(other, expanded)
    among_expanded, among_bases = _distances(expanded, expanded), _distances(base, base)
    terms = []
    for place in range(len(base)):
        others = torch.arange(len(base)) != place
        gap = to_other[place, place] + _MINING_MARGIN
        rivals = torch.relu(gap - among_expanded[place][others].min()) + torch.relu(
            gap - among_bases[place][others].min()
        )
        terms.append(torch.relu(gap - to_base[place, place]) + rivals / 2)
    return torch.stack(terms).mean()


def _discrepancy(first: Tensor, second: Tensor) -> Tensor:
    rows = torch.cat([first, second])
    number = len(rows)
    differences = rows[None].expand(number, -1, -1) - rows[:, None].expand(number, -1, -1)  # (N, N, D)
    squares = differences.square().sum(2)
    width = squares.detach().sum() / (number * number - number) / 4
    kernel = torch.stack([torch.exp(-squares / (width * 2**power)) for power in range(5)]).sum(0)
    half = len(first)
    return (kernel[:half, :half] + kernel[half:, half:] - kernel[:half, half:] - kernel[half:, :half]).mean()

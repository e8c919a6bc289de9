"""What all losses are: a module that reads the statistics of a batch and returns its terms."""

from typing import Any

import torch
from torch import Tensor, nn
from typing_extensions import override

from modinv._checks import check_count
from modinv.statistics import Statistics, full_precision, statistics_of

__all__ = ["Loss", "farthest", "in_type_of", "nearest"]


class Loss(nn.Module):
    """A loss by the data contract: ``loss(features, labels, modalities) -> ()``.

    A subclass defines :meth:`read`. The value does not depend on the order of the rows; where nothing can be
    compared it is 0 and still attached to the graph.

    Args:
        num_modalities: how many modalities there are; default: as many as a batch on the host shows, and 2 where
            reading it would make the host wait for an accelerator or under ``torch.compile``.
    """

    def __init__(self, *, num_modalities: int | None = None) -> None:
        super().__init__()
        self.num_modalities = None if num_modalities is None else check_count("num_modalities", num_modalities)

    def read(self, statistics: Statistics) -> Any:
        """Return the terms of a batch whose statistics are at hand, a NamedTuple with ``total`` first.

        They come in the type of the N x N algebra, :attr:`Statistics.dtype`.
        """
        raise NotImplementedError

    def terms(self, features: Tensor, labels: Tensor, modalities: Tensor) -> Any:
        """Return the parts of the loss by name, attached to the graph: a NamedTuple with ``total`` first.

        Args:
            features: (N, D) floating.
            labels: (N,) integers.
            modalities: (N,) integers, 0 visible, 1 infrared.
        """
        with full_precision(features):
            statistics = statistics_of(features, labels, modalities, self.num_modalities)
            return in_type_of(statistics.features, self.read(statistics))

    @override
    def forward(self, features: Tensor, labels: Tensor, modalities: Tensor) -> Tensor:
        total: Tensor = self.terms(features, labels, modalities).total
        return total


def in_type_of(features: Tensor, terms: Any) -> Any:
    """Return the terms in the type of the features, a NamedTuple like the one that came."""
    return type(terms)(*(term.to(features.dtype) for term in terms))


def farthest(distances: Tensor, mask: Tensor) -> Tensor:
    """Return the largest distance of each row over the mask (N, N), 0 where the mask is empty, (N,)."""
    return distances.masked_fill(~mask, 0).amax(1) if len(distances) else distances.sum(1)


def nearest(distances: Tensor, mask: Tensor) -> Tensor:
    """Return the smallest distance of each row over the mask (N, N), 0 where the mask is empty, (N,)."""
    # Not infinity there: an infinite value that is masked later still makes the gradient 0 x inf.
    excluded = ~mask & mask.any(1, keepdim=True)
    smallest = distances.masked_fill(excluded, torch.inf).amin(1) if len(distances) else distances.sum(1)
    return smallest.where(mask.any(1), 0)

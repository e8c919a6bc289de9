"""What all losses are: a module that reads the statistics of a batch and returns its terms."""

from typing import Any

import torch
from torch import Tensor, nn
from typing_extensions import override

from modinv._checks import check_count
from modinv.losses.meetings import Meeting, Meetings
from modinv.statistics import Statistics, full_precision, statistics_of

__all__ = ["Loss", "farthest", "hinge", "nearest"]


class Loss(nn.Module):
    """A loss by the data contract: ``loss(features, labels, modalities) -> ()``.

    A subclass defines :meth:`read`. The value does not depend on the order of the rows; where nothing can be
    compared it is 0 and still attached to the graph.

    Args:
        num_modalities: how many modalities there are; default: as many as a batch on the CPU shows, at least 2, and 2
            on a GPU or under ``torch.compile``, where reading it would synchronise.

    Attributes:
        needs: what a batch must hold for the loss to compare anything: two ``"modalities"``, an identity in two
            modalities (``"identities"``), or None, the default of a subclass. If the first 100 batches of a training
            do not hold it, the loss warns once. It looks on the CPU in eager mode only, where reading is free.
    """

    needs: Meeting | None = None

    def __init__(self, *, num_modalities: int | None = None) -> None:
        super().__init__()
        self.num_modalities = None if num_modalities is None else check_count("num_modalities", num_modalities)
        self._meetings = Meetings()

    def read(self, statistics: Statistics) -> Any:
        """Return the terms of a batch whose statistics are at hand, a NamedTuple with ``total`` first.

        They come in float64, or what :attr:`Statistics.dtype` says.
        """
        raise NotImplementedError

    def terms_of(self, statistics: Statistics) -> Any:
        """Return what :meth:`read` does, and warn where the batches never hold what the loss needs."""
        self._look(statistics)
        return self.read(statistics)

    def _look(self, statistics: Statistics) -> None:
        if (
            self.training
            and self._meetings.missed is not None
            and self.needs is not None
            and not torch.compiler.is_compiling()
        ):
            self._meetings.look(statistics, self.needs, type(self).__name__)

    def terms(self, features: Tensor, labels: Tensor, modalities: Tensor) -> Any:
        """Return the parts of the loss by name, attached to the graph: a NamedTuple with ``total`` first.

        Args:
            features: (N, D) floating.
            labels: (N,) integers.
            modalities: (N,) integers, 0 visible, 1 infrared.
        """
        total, *parts = terms = self._exact_terms(features, labels, modalities)
        kind = _type_of(features)
        return type(terms)(_settled(total, kind), *(part.to(kind) for part in parts))

    @override
    def forward(self, features: Tensor, labels: Tensor, modalities: Tensor) -> Tensor:
        return _settled(self._exact_terms(features, labels, modalities).total, _type_of(features))

    def _exact_terms(self, features: Tensor, labels: Tensor, modalities: Tensor) -> Any:
        """Return the terms in the type of the statistics."""
        with full_precision(features):
            statistics = self._statistics_of(features, labels, modalities)
            self._look(statistics)
            return self.read(statistics)

    def _statistics_of(self, features: Tensor, labels: Tensor, modalities: Tensor) -> Statistics:
        """Return the statistics of a batch; refuse a malformed one, on all ranks if a loss inside gathers them."""
        try:
            return statistics_of(features, labels, modalities, self.num_modalities)
        except (TypeError, ValueError):
            for part in self.modules():
                tell = getattr(part, "tell_malformed", None)
                if tell is not None:
                    tell(features)
            raise


def _type_of(features: Tensor) -> torch.dtype:
    return torch.float64 if features.dtype == torch.float64 else torch.float32


def _settled(total: Tensor, kind: torch.dtype) -> Tensor:
    """Return the total in the type of the statistics; where it overflows, the gradient becomes NaN with it.

    A mixed-precision scaler looks at the gradient to skip a step. A finite one would be taken.
    """
    total = total.to(kind)
    return total * torch.rsub(total.detach(), 1, alpha=0)  # times 1, or times NaN


def hinge(gaps: Tensor, margin: float | None) -> Tensor:
    """Return max(0, margin + gap), or the soft margin log(1 + exp(gap)) where the margin is None."""
    return torch.nn.functional.softplus(gaps) if margin is None else torch.relu(margin + gaps)


def farthest(distances: Tensor, mask: Tensor) -> Tensor:
    """Return the largest distance of each row over the mask (…, N, N), 0 where the mask is empty, (…, N)."""
    kept = distances.masked_fill(~mask, 0)
    return kept.amax(-1) if len(distances) else kept.sum(-1)


def nearest(distances: Tensor, mask: Tensor) -> Tensor:
    """Return the smallest distance of each row over the mask (…, N, N), 0 where the mask is empty, (…, N)."""
    # Not infinity there: an infinite value that is masked later still makes the gradient 0 x inf.
    some = mask.any(-1)
    kept = distances.masked_fill(~mask & some[..., None], torch.inf)
    smallest = kept.amin(-1) if len(distances) else kept.sum(-1)
    return smallest.where(some, 0)

"""What all losses are: a module that reads the statistics of a batch and returns its terms."""

from typing import Any, Generic

import torch
from torch import Tensor, nn
from typing_extensions import TypeVar, override

from modinv._checks import check_count, check_floating, describe
from modinv.losses.meetings import Meeting, Meetings
from modinv.statistics import Statistics, full_precision, statistics_of

__all__ = ["Loss", "as_dict", "farthest", "hinge", "nearest", "row_means"]


Terms = TypeVar("Terms", default=Any)  # a NamedTuple with ``total`` first


class Loss(nn.Module, Generic[Terms]):
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
        reads_labels: whether the value depends on the labels. A loss for which it does not takes ``None`` for them.
        reads_gram: whether it asks for :attr:`Statistics.gram`. Other losses then read their distances from it too.
    """

    needs: Meeting | None = None
    reads_labels: bool = True
    reads_gram: bool = False

    def __init__(self, *, num_modalities: int | None = None) -> None:
        super().__init__()
        self.num_modalities = None if num_modalities is None else check_count("num_modalities", num_modalities)
        self._meetings = Meetings()

    def read(self, statistics: Statistics) -> Terms:
        """Return the terms of a batch whose statistics are at hand, a NamedTuple with ``total`` first.

        They come in float64, or what :attr:`Statistics.dtype` says.
        """
        raise NotImplementedError

    def terms_of(self, statistics: Statistics) -> Terms:
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

    def terms(self, features: Tensor, labels: Tensor | None, modalities: Tensor) -> Terms:
        """Return the parts of the loss by name, attached to the graph: a NamedTuple with ``total`` first.

        Args:
            features: (N, D) floating.
            labels: (N,) integers; or None, where :attr:`reads_labels` is False.
            modalities: (N,) integers, 0 visible, 1 infrared.
        """
        total, *parts = terms = self._exact_terms(features, labels, modalities)
        kind = _type_of(features)
        made: Terms = type(terms)(_settled(total, kind), *(part.to(kind) for part in parts))
        return made

    @override
    def forward(self, features: Tensor, labels: Tensor | None, modalities: Tensor) -> Tensor:
        return _settled(self._exact_terms(features, labels, modalities).total, _type_of(features))

    def _exact_terms(self, features: Tensor, labels: Tensor | None, modalities: Tensor) -> Any:
        """Return the terms in the type of the statistics."""
        with full_precision(features):
            statistics = self._statistics_of(features, labels, modalities)
            self._look(statistics)
            return self.read(statistics)

    def _statistics_of(self, features: Tensor, labels: Tensor | None, modalities: Tensor) -> Statistics:
        """Return the statistics of a batch; refuse a malformed one, on all ranks if a loss inside gathers them."""
        try:
            return statistics_of(features, self._given(features, labels), modalities, self.num_modalities)
        except (TypeError, ValueError):
            for part in self.modules():
                tell = getattr(part, "tell_malformed", None)
                if tell is not None:
                    tell(features)
            raise

    def _given(self, features: Tensor, labels: Tensor | None) -> Tensor:
        if labels is not None:
            return labels
        if self.reads_labels:
            raise TypeError(
                f"labels must be an integer tensor (N,), got None: {type(self).__name__} reads them, and None is for a "
                "loss that does not, such as the Gaussian loss at level 'modality'"
            )
        check_floating("features", features, shape="(N, D)")
        return torch.zeros(features.shape[:1], dtype=torch.long, device=features.device)


def as_dict(terms: Any, *, prefix: str = "") -> dict[str, Tensor]:
    """Return the terms of a loss by name, detached, for a logger.

    Nothing waits for an accelerator: the values stay tensors, which Lightning's ``log_dict`` takes. For a logger of
    numbers write ``float(value)``.

    Args:
        terms: what ``loss.terms(…)`` returned.
        prefix: in front of each name, such as ``"train/"``; default: nothing.

    Raises:
        TypeError: on anything but terms, such as the value of a loss.

    Example:
        >>> import torch, modinv
        >>> loss = modinv.GaussianDistributionConsistencyLoss()
        >>> terms = loss.terms(torch.eye(4), None, torch.tensor([0, 0, 1, 1]))
        >>> list(as_dict(terms, prefix="gaussian/"))
        ['gaussian/total', 'gaussian/mean', 'gaussian/covariance']
    """
    names = getattr(terms, "_fields", None)
    if names is None:
        raise TypeError(f"terms must be what loss.terms(features, labels, modalities) returns, got {describe(terms)}")
    return {prefix + name: term.detach() for name, term in zip(names, terms, strict=True)}


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
    kept = distances.masked_fill(~mask, torch.inf)
    smallest = kept.amin(-1) if len(distances) else kept.sum(-1)
    return smallest.masked_fill(smallest == torch.inf, 0)


def row_means(values: Tensor, mask: Tensor) -> Tensor:
    """Return the mean of each row over the mask (…, N, N), 0 where the mask is empty, (…, N)."""
    return (values * mask).sum(-1) / mask.sum(-1).clamp(min=1)

"""A weighted sum of losses that share one Gram matrix."""

from collections import namedtuple
from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor, nn
from typing_extensions import override

from modinv._checks import check_number
from modinv.losses.loss import Loss, in_type_of
from modinv.statistics import Statistics, full_precision, statistics_of

__all__ = ["WeightedLosses"]


class WeightedLosses(nn.Module):
    """Add losses with weights; the statistics and the Gram matrix of the batch are made once for all of them.

    Args:
        losses: name to ``(weight, loss)``. A loss of this library shares the statistics; any other module or function
            of ``(features, labels, modalities)`` is called as it is. Weights may be negative or zero, and may be
            changed between steps through :attr:`weights`, to warm a term up for example.
        num_modalities: see :class:`modinv.losses.Loss`; default: the largest that one of the losses asks for.

    Attributes:
        weights: name to weight, a plain dictionary.

    Raises:
        TypeError, ValueError: on an empty mapping, a name that is no identifier or is ``"total"``, a weight that is
            no finite number, or something that is no loss.

    Example:
        >>> import torch, modinv
        >>> loss = WeightedLosses({
        ...     "gaussian": (0.5, modinv.GaussianDistributionConsistencyLoss()),
        ...     "center": (1.0, modinv.HeteroCenterTripletLoss()),
        ... })
        >>> features = torch.randn(16, 32, generator=torch.Generator().manual_seed(0))
        >>> terms = loss.terms(features, torch.arange(16) % 4, torch.arange(16) // 8)
        >>> bool(terms.total.isclose(0.5 * terms.gaussian + terms.center))
        True
    """

    def __init__(self, losses: Mapping[str, tuple[float, nn.Module]], *, num_modalities: int | None = None) -> None:
        super().__init__()
        if not losses:
            raise ValueError("WeightedLosses needs at least one name: (weight, loss)")
        for name, entry in losses.items():
            _check_entry(name, entry)
        self.weights = {name: check_number(f"the weight of {name!r}", weight) for name, (weight, _) in losses.items()}
        self.losses = nn.ModuleDict({name: loss for name, (_, loss) in losses.items()})
        asked = [loss.num_modalities for _, loss in losses.values() if isinstance(loss, Loss)]
        self.num_modalities = num_modalities or max((count or 0 for count in asked), default=0) or None
        self._make_terms = _terms_type(losses)

    def terms(self, features: Tensor, labels: Tensor, modalities: Tensor) -> Any:
        """Return a NamedTuple: ``total``, the weighted sum, then each loss by its name, without its weight."""
        with full_precision(features):
            statistics = statistics_of(features, labels, modalities, self.num_modalities)
            return in_type_of(statistics.features, self.read(statistics, features))

    def read(self, statistics: Statistics, features: Tensor | None = None) -> Any:
        """Return the terms of a batch whose statistics are at hand.

        Args:
            statistics: of the batch.
            features: (N, D), what a loss from elsewhere is called with; default: those of the statistics.
        """
        batch = (statistics.features if features is None else features, statistics.labels, statistics.modalities)
        values = {
            name: loss.read(statistics).total if isinstance(loss, Loss) else loss(*batch)
            for name, loss in self.losses.items()
        }
        total = sum((self.weights[name] * value for name, value in values.items()), statistics.zero)
        return self._make_terms(total, **values)

    @override
    def forward(self, features: Tensor, labels: Tensor, modalities: Tensor) -> Tensor:
        total: Tensor = self.terms(features, labels, modalities).total
        return total

    @override
    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_make_terms"}

    @override
    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)  # type: ignore[no-untyped-call]
        self._make_terms = _terms_type(self.losses)

    @override
    def extra_repr(self) -> str:
        return f"weights={self.weights}"


def _terms_type(names: Iterable[str]) -> Any:
    """Make the NamedTuple of the terms; a type made at run time cannot be pickled, so it is made again."""
    return namedtuple("WeightedTerms", ["total", *names])


def _check_entry(name: str, entry: object) -> None:
    if not isinstance(name, str) or not name.isidentifier() or name.startswith("_") or name == "total":
        raise ValueError(f"the name of a loss must be an identifier other than 'total', got {name!r}")
    if not isinstance(entry, tuple) or len(entry) != 2 or not isinstance(entry[1], nn.Module):
        raise TypeError(f"{name!r} must be (weight, loss module), got {entry!r}")

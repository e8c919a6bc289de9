"""A weighted sum of losses that share one Gram matrix."""

from collections import namedtuple
from collections.abc import Callable, Iterable, Mapping
from keyword import iskeyword
from typing import Any
from zlib import crc32

import torch
from torch import Tensor, nn
from typing_extensions import override

from modinv._checks import check_number, describe
from modinv.batches import Batch
from modinv.losses.loss import Loss
from modinv.statistics import Statistics, full_precision

__all__ = ["WeightedLosses"]


class WeightedLosses(Loss):
    """Add losses with weights; the statistics and the Gram matrix of the batch are made once for all of them.

    :meth:`terms` gives ``total``, the weighted sum, and then each loss by its name, without its weight.

    A loss of this library is not called: it reads the shared statistics, so forward hooks on it do not run. Any other
    module or function is called with the batch that came and under the autocast that is on, as it would be alone. Its
    hooks run.

    Args:
        losses: name to ``(weight, loss)``, with a loss of this library, another sum, or any module or function of
            ``(features, labels, modalities)`` that returns a tensor (). :class:`modinv.LabelLoss` makes one of a loss
            of ``(features, labels)``. Weights may be negative or zero, and may be changed between steps through
            :attr:`weights`, to warm a term up for example.
        num_modalities: see :class:`modinv.losses.Loss`. The largest number counts that this sum or one of its losses
            asks for.

    Attributes:
        weights: name to weight, a plain dictionary. Each call checks its names and numbers. The ``state_dict`` holds
            them: loading sets the weights of all names that it knows, as an optimizer's does with the learning rate.
        reads_labels: whether one of the losses does; without one, labels may be None.

    Raises:
        TypeError, ValueError: at construction on what is no mapping or empty, a name that cannot be one, a weight that
            is no finite number, or something that is no loss; at call on a malformed batch, on another name or weight
            in :attr:`weights`, or where a loss from elsewhere returns anything but a floating tensor ().

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

    def __init__(
        self, losses: Mapping[str, tuple[float, Callable[..., Tensor]]], *, num_modalities: int | None = None
    ) -> None:
        super().__init__(num_modalities=num_modalities)
        _check_losses(losses)
        self.weights = _checked_weights({name: weight for name, (weight, _) in losses.items()}, losses)
        self.losses = nn.ModuleDict({name: _as_module(loss) for name, (_, loss) in losses.items()})
        asked = [self.num_modalities, *(part.num_modalities for part in self.losses.values() if isinstance(part, Loss))]
        self.num_modalities = max(count or 0 for count in asked) or None
        self.reads_labels = any(getattr(part, "reads_labels", True) for part in self.losses.values())
        self.reads_gram = any(getattr(part, "reads_gram", False) for part in self.losses.values())
        self._make_terms = _terms_type(losses)

    @override
    def _exact_terms(self, features: Tensor, labels: Tensor | None, modalities: Tensor) -> Any:
        with full_precision(features):
            statistics = self._statistics_of(features, labels, modalities)
        return self._add(statistics, Batch(features, statistics.labels, modalities))

    @override
    def read(self, statistics: Statistics) -> Any:
        """Return the terms of a batch whose statistics are at hand; losses from elsewhere get the features of those."""
        return self._add(statistics, Batch(statistics.features, statistics.labels, statistics.modalities))

    def _add(self, statistics: Statistics, batch: Batch) -> Any:
        """Return the terms; ``batch`` is what losses from elsewhere are called with, under the autocast outside."""
        weights, values = _checked_weights(self.weights, self.losses), {}
        with full_precision(batch.features):
            if self.reads_gram:  # before one that would do with less, so that there is one product for all
                _ = statistics.gram
            for name, loss in self.losses.items():
                if isinstance(loss, Loss) and not isinstance(loss, WeightedLosses):
                    values[name] = loss.terms_of(statistics).total
            zero = statistics.zero
        for name, loss in self.losses.items():
            if isinstance(loss, WeightedLosses):
                values[name] = loss._add(statistics, batch).total
            elif name not in values:
                values[name] = _checked(name, loss(*batch))
        return self._make_terms(sum((weights[name] * value for name, value in values.items()), zero), **values)

    @override
    def get_extra_state(self) -> Tensor:
        """Return the weights for the ``state_dict``, (K, 2): each beside a number made of its name.

        A tensor, since safetensors and distributed checkpoints take nothing else. With the names in it no order counts.
        """
        return torch.tensor([[_number(name), weight] for name, weight in self.weights.items()], dtype=torch.float64)

    @override
    def set_extra_state(self, state: Tensor) -> None:
        """Take the saved weights of the losses that are still here."""
        saved = dict(state.tolist())
        self.weights.update({name: saved[_number(name)] for name in self.losses if _number(name) in saved})

    @override
    def _load_from_state_dict(
        self, state_dict: Mapping[str, Any], prefix: str, metadata: Any, strict: bool, missing: list[str], *others: Any
    ) -> None:
        super()._load_from_state_dict(state_dict, prefix, metadata, strict, missing, *others)
        key = prefix + "_extra_state"
        if key in missing:  # saved before the weights were, up to version 0.1
            missing.remove(key)

    @override
    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_make_terms"}

    @override
    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._make_terms = _terms_type(self.losses)

    @override
    def extra_repr(self) -> str:
        return f"weights={self.weights}"


class _Function(nn.Module):
    """A plain function among modules."""

    def __init__(self, function: Callable[..., Tensor]) -> None:
        super().__init__()
        self.function = function

    @override
    def forward(self, features: Tensor, labels: Tensor, modalities: Tensor) -> Tensor:
        return self.function(features, labels, modalities)

    @override
    def extra_repr(self) -> str:
        return str(getattr(self.function, "__name__", self.function))


def _as_module(loss: Callable[..., Tensor]) -> nn.Module:
    return loss if isinstance(loss, nn.Module) else _Function(loss)


def _number(name: str) -> float:
    return float(crc32(name.encode()))


def _terms_type(names: Iterable[str]) -> Any:
    """Make the NamedTuple of the terms; a type made at run time cannot be pickled, so it is made again."""
    return namedtuple("WeightedTerms", ["total", *names])


def _checked_weights(weights: dict[str, float], names: Iterable[str]) -> dict[str, float]:
    if torch.compiler.is_compiling():  # a number that changes between steps is a symbol there
        return weights
    if set(weights) != set(names):
        raise ValueError(
            f"weights must have the names {', '.join(map(repr, names))}, got {', '.join(map(repr, weights))}"
        )
    return {name: check_number(f"the weight of {name!r}", weight) for name, weight in weights.items()}


def _checked(name: str, value: Tensor) -> Tensor:
    if not isinstance(value, Tensor) or value.ndim or not value.is_floating_point():
        raise TypeError(f"the loss {name!r} must return a floating tensor of shape (), got {describe(value)}")
    return value


def _check_losses(losses: Mapping[str, tuple[float, Callable[..., Tensor]]]) -> None:
    if not isinstance(losses, Mapping):
        raise TypeError(f"losses must be a mapping of name to (weight, loss), got {describe(losses)}")
    if not losses:
        raise ValueError("WeightedLosses needs at least one name: (weight, loss)")
    for name, entry in losses.items():
        _check_name(name)
        if not isinstance(entry, tuple | list) or len(entry) != 2:
            raise TypeError(f"{name!r} must be (weight, loss), got {describe(entry)}")
        if callable(entry[0]):
            raise TypeError(f"{name!r} must be (weight, loss), got the loss first")
        if not callable(entry[1]) or isinstance(entry[1], type):
            raise TypeError(f"the loss of {name!r} must be a module or a function, got {describe(entry[1])}")
        if _takes_a_miner(entry[1]):
            raise TypeError(
                f"the loss {name!r} takes a miner's tuple where the modalities come: wrap it in modinv.LabelLoss"
            )


def _takes_a_miner(loss: Callable[..., Tensor]) -> bool:
    """Say whether an argument has the name that pytorch-metric-learning gives to what a miner returns."""
    code = getattr(getattr(loss, "forward", loss), "__code__", None)
    return code is not None and "indices_tuple" in code.co_varnames[: code.co_argcount]


def _check_name(name: str) -> None:
    if not isinstance(name, str) or not name.isidentifier() or iskeyword(name) or name.startswith("_"):
        raise ValueError(f"the name of a loss must be an identifier that does not begin with '_', got {name!r}")
    if name == "total" or hasattr(nn.ModuleDict(), name):
        raise ValueError(f"the name of a loss must not be 'total' or an attribute of a torch module, got {name!r}")

"""Two adapters between losses of ``(features, labels)`` and losses of ``(features, labels, modalities)``."""

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn
from typing_extensions import override

from modinv._checks import check_integers, describe
from modinv.losses.loss import Loss

__all__ = ["GivenModalities", "LabelLoss"]


class LabelLoss(nn.Module):
    """A loss of ``(features, labels)``, as one of ``(features, labels, modalities)`` that does not read the last.

    With it any loss of pytorch-metric-learning takes part in :class:`modinv.WeightedLosses`, with a miner or without.
    The loss is called as it would be alone: its value, gradient and parameters are its own. So are its promises; row
    order for example matters where a miner draws at random.

    Args:
        loss: a module or function of ``(features, labels)``, or of ``(features, labels, mined)`` with a miner, that
            returns a tensor ().
        miner: a module or function of ``(features, labels)``; what it returns becomes the third argument of the loss.
            Default: none, and the loss gets two arguments.

    Raises:
        TypeError: at construction on what cannot be called, or a loss of this library, which reads modalities.

    Example:
        >>> import torch, modinv
        >>> from torch.nn import functional
        >>> loss = modinv.WeightedLosses({
        ...     "identity": (1.0, LabelLoss(functional.cross_entropy)),
        ...     "center": (1.0, modinv.HeteroCenterTripletLoss()),
        ... })
        >>> loss(torch.randn(8, 4), torch.arange(8) % 4, torch.arange(8) // 4).shape
        torch.Size([])
    """

    def __init__(self, loss: Callable[..., Tensor], miner: Callable[[Tensor, Tensor], Any] | None = None) -> None:
        super().__init__()
        if isinstance(loss, Loss):
            raise TypeError(f"{type(loss).__name__} reads modalities: take it as it is, without LabelLoss")
        self.loss = _checked("loss", loss)
        self.miner = None if miner is None else _checked("miner", miner)

    @override
    def forward(self, features: Tensor, labels: Tensor, modalities: Tensor) -> Tensor:
        if self.miner is None:
            return self.loss(features, labels)
        return self.loss(features, labels, self.miner(features, labels))


class GivenModalities(nn.Module):
    """A loss of ``(features, labels, modalities)``, as one of ``(features, labels)``: the modalities are given before.

    For loops that call a loss with features and labels only, as ``MultipleLosses`` and the trainers of
    pytorch-metric-learning do. :meth:`give` the modalities of a batch, then let the loop call the loss. Each call uses
    them up, so that no batch meets those of another one. Where several losses need them, wrap their
    :class:`modinv.WeightedLosses` once.

    Value and gradient are those of the loss. Labels and modalities on the CPU follow the features to their device,
    since such loops leave them there. A miner's tuple that comes third is not read: a loss of this library compares all
    rows.

    Args:
        loss: a loss of this library, or any module or function of ``(features, labels, modalities)``.

    Raises:
        TypeError: at construction on what cannot be called; on modalities that are no integers; at call on what the
            loss refuses.
        ValueError: at call with rows of reference, or on what the loss refuses.
        RuntimeError: at call without modalities since the last one.

    Example:
        >>> import torch, modinv
        >>> loss = GivenModalities(modinv.HeteroCenterTripletLoss())
        >>> loss.give(torch.arange(8) // 4)
        >>> loss(torch.randn(8, 4), torch.arange(8) % 4).shape
        torch.Size([])
    """

    def __init__(self, loss: Callable[[Tensor, Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.loss = _checked("loss", loss)
        self._modalities: Tensor | None = None

    def give(self, modalities: Tensor) -> None:
        """Keep the modalities (N,) of the next batch for the next call."""
        check_integers("modalities", modalities)
        self._modalities = modalities

    @override
    def forward(
        self,
        features: Tensor,
        labels: Tensor,
        indices_tuple: object = None,
        ref_emb: Tensor | None = None,
        ref_labels: Tensor | None = None,
    ) -> Tensor:
        """Return the loss of the batch whose modalities were given; the names are those of pytorch-metric-learning."""
        if ref_emb is not None or ref_labels is not None:
            raise ValueError("GivenModalities takes no rows of reference: put them into the batch, with modalities")
        modalities, self._modalities = self._modalities, None
        if modalities is None:
            raise RuntimeError(
                "GivenModalities needs the modalities of each batch before it is called, got none since the last "
                "call: call .give(modalities) first"
            )
        return self.loss(features, _beside(features, labels), _beside(features, modalities))


def _beside(features: Tensor, numbers: Tensor) -> Tensor:
    """Return numbers on the CPU on the device of the features; anything else is left to the checks of the loss."""
    both = isinstance(features, Tensor) and isinstance(numbers, Tensor)
    return numbers.to(features.device) if both and numbers.device.type == "cpu" else numbers


def _checked(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    if not callable(function) or isinstance(function, type):
        raise TypeError(f"{name} must be a module or a function, got {describe(function)}")
    return function

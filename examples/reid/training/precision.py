"""One step down the gradient, in full or in mixed precision: autocast, a scaled loss, a clipped norm."""

import math
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Final, Literal

import torch
from torch import Tensor, nn

__all__ = ["Descent", "Precision"]

Precision = Literal["float32", "bf16", "fp16", "float64"]

_AUTOCAST: Final = {"bf16": torch.bfloat16, "fp16": torch.float16}


class Descent:
    """Run a network in a precision and move its parameters.

    The parameters stay in float32 (or float64) and so does the objective; ``"bf16"`` and ``"fp16"`` compute the
    network's products in half precision. The small gradients of ``"fp16"`` would vanish, so there the loss is
    multiplied by a scale that adapts itself: a step whose gradient overflows is left out and halves it.

    Args:
        model: the network; ``"float64"`` converts it.
        optimizer: of its parameters.
        precision: default ``"float32"``.
        clip_norm: the largest norm of the gradient of all parameters; None: whatever it is.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        *,
        precision: Precision = "float32",
        clip_norm: float | None = None,
    ) -> None:
        parameter = next(model.parameters())
        self.optimizer = optimizer
        self.precision: Precision = precision
        self.clip_norm = clip_norm
        self.device = parameter.device
        self.input_type = parameter.dtype
        self._parameters = list(model.parameters())
        self._scaler = torch.amp.GradScaler(self.device.type, enabled=precision == "fp16")

    def autocast(self) -> AbstractContextManager[Any]:
        """Return the context in which the network computes; the objective is computed outside of it."""
        kind = _AUTOCAST.get(self.precision)
        return nullcontext() if kind is None else torch.autocast(self.device.type, kind)

    def step(self, loss: Tensor) -> Tensor:
        """Go down the gradient of a loss.

        Returns:
            The norm of the gradient of all parameters before it was clipped, (); not finite where ``"fp16"``
            left the step out.
        """
        self.optimizer.zero_grad()
        self._scaler.scale(loss).backward()
        self._scaler.unscale_(self.optimizer)
        most = math.inf if self.clip_norm is None else self.clip_norm
        norm = nn.utils.clip_grad_norm_(self._parameters, most)
        self._scaler.step(self.optimizer)
        self._scaler.update()
        return norm

    def state_dict(self) -> dict[str, Any]:
        """Return the scale of the loss; empty where it is always 1."""
        return self._scaler.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Set the scale of the loss."""
        if state:
            self._scaler.load_state_dict(dict(state))

"""Inverse and log-determinants of a symmetric positive definite matrix from one Cholesky factor, differentiable."""

from typing import Any

import torch
from torch import Tensor

from modinv._lazy import lazy
from modinv.distances import diagonal

__all__ = ["Definite", "inverse_of_factor"]


class Definite:
    """A symmetric positive definite matrix, or a block-diagonal one in any order of its rows.

    The gradients are in closed form, X for the log-determinant and -X dX X for the inverse X, so that none goes through
    the factor; they can be differentiated again.

    Args:
        matrix: (N, N).
    """

    def __init__(self, matrix: Tensor) -> None:
        self._matrix = matrix
        self._factor = torch.linalg.cholesky_ex(matrix.detach()).L

    @lazy
    def inverse(self) -> Tensor:
        """The inverse, (N, N)."""
        inverse: Tensor = _Inverse.apply(self._matrix, self._factor)  # type: ignore[no-untyped-call]
        return inverse

    @lazy
    def log_pivots(self) -> Tensor:
        """The logarithms that sum to the log-determinant of a block over its rows, (N,).

        Differentiable only as such sums: within a block all must receive the same gradient.
        """
        pivots: Tensor = _LogPivots.apply(self._matrix, self._factor)  # type: ignore[no-untyped-call]
        return pivots


def inverse_of_factor(factor: Tensor, *, on_host: bool) -> Tensor:
    """Return the inverse of L L^T, (N, N).

    Args:
        factor: L, lower triangular (N, N).
        on_host: whether to take the cheapest algorithm, which would make the host wait for an accelerator.
    """
    if on_host:
        return torch.cholesky_inverse(factor)
    identity = torch.eye(len(factor), dtype=factor.dtype, device=factor.device)
    half: Tensor = torch.linalg.solve_triangular(factor, identity, upper=False)
    return half.T @ half


class _Inverse(torch.autograd.Function):
    @staticmethod
    def forward(matrix: Tensor, factor: Tensor) -> Tensor:
        return inverse_of_factor(factor, on_host=factor.device.type == "cpu")

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        ctx.save_for_backward(output)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (inverse,) = ctx.saved_tensors
        return -(inverse @ gradients[0] @ inverse), None


class _LogPivots(torch.autograd.Function):
    @staticmethod
    def forward(matrix: Tensor, factor: Tensor) -> Tensor:
        return 2 * diagonal(factor).log()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        inverse: Tensor = _Inverse.apply(*ctx.saved_tensors)  # type: ignore[no-untyped-call]
        return inverse * gradients[0][:, None], None

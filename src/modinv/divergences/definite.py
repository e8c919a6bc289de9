"""Symmetric positive definite matrices: inverse, quadratic forms, log-determinants, and rows with given inner products.

All come from one Cholesky factor. No gradient goes through it: each Function here has its own, in closed form.
"""

from typing import Any

import torch
from torch import Tensor

from modinv._checks import host_values, refuse_vmap
from modinv.distances import diagonal
from modinv.statistics import lazy

__all__ = ["Definite", "coordinates_of", "scatter_of"]


class Definite:
    """Symmetric positive definite matrices S, (…, K, K); each may be block-diagonal in any order of its rows."""

    def __init__(self, matrix: Tensor) -> None:
        self._matrix = matrix
        self._factor = torch.linalg.cholesky_ex(matrix.detach()).L

    @lazy
    def inverse(self) -> Tensor:
        """The inverses, (…, K, K)."""
        return _Inverse.apply(self._matrix, self._factor)

    def shares(self, columns: Tensor) -> Tensor:
        """Return what each row contributes to x^T S^-1 x for each column x, (…, K, J), the same shape.

        Differentiable only as sums over the rows of a block: within it all must receive the same gradient.

        Args:
            columns: x, (…, K, J).
        """
        shares, _ = _Shares.apply(self._matrix, self._factor, columns)
        return shares

    @lazy
    def log_pivots(self) -> Tensor:
        """The logarithms that sum to the log-determinant of a block over its rows, (…, K).

        Differentiable only as such sums: within a block all must receive the same gradient.
        """
        return _LogPivots.apply(self._matrix, self._factor, self.inverse)


def coordinates_of(products: Tensor, scale: Tensor, jitter: float) -> Tensor:
    """Return rows Z with Z Z^T = ``products``, (N, N).

    What is computed from them must depend on inner products alone: turning all rows must change nothing. The gradient
    relies on it, and is exact to any order then. Where rows depend on each other, the gradient of a Cholesky factor
    would lose half of its digits.

    Args:
        products: inner products of rows with each other, (N, N).
        scale: how long each row can be, (N,); of a row of length zero nothing is read.
        jitter: what each row gains in squared length, in a dimension of its own, relative to its scale squared. Where
            that leaves an indefinite matrix it is 8 times as much, or 8 sqrt(N) times.
    """
    rows, _ = _Coordinates.apply(products, scale, jitter)
    return rows


def scatter_of(rows: Tensor, weights: Tensor) -> Tensor:
    """Return sum_i w_im z_i z_i^T for each m, (M, K, K).

    Args:
        rows: z, (N, K).
        weights: w, (N, M); constants.
    """
    return _Scatter.apply(rows, weights)


def _inverse_of(factor: Tensor) -> Tensor:
    """Return the inverses of lower triangular matrices, (…, K, K)."""
    identity = torch.eye(factor.shape[-1], dtype=factor.dtype, device=factor.device)
    return torch.linalg.solve_triangular(factor, identity.expand_as(factor), upper=False)


def _factor_of(correlations: Tensor, identity: Tensor, jitter: float) -> Tensor:
    """Return the Cholesky factor with the least jitter of three that leaves a definite matrix."""
    factor, failed = torch.linalg.cholesky_ex(torch.add(correlations, identity, alpha=jitter))
    if (seen := host_values(failed)) is not None and not seen.any():  # where it can be read for free
        return factor
    more, failed_too = torch.linalg.cholesky_ex(torch.add(correlations, identity, alpha=8 * jitter))
    most = torch.linalg.cholesky_ex(torch.add(correlations, identity, alpha=8 * len(identity) ** 0.5 * jitter)).L
    return factor.where(failed == 0, more.where(failed_too == 0, most))


class _Inverse(torch.autograd.Function):
    @staticmethod
    def forward(matrix: Tensor, factor: Tensor) -> Tensor:
        if factor.device.type == "cpu":  # the cheapest algorithm, which would make the CPU wait for an accelerator
            return torch.cholesky_inverse(factor)
        half = _inverse_of(factor)
        return half.mT @ half

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        ctx.set_materialize_grads(False)  # of what is read by a second derivative only: a matrix of zeros
        ctx.save_for_backward(output)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, None]:
        (inverse,) = ctx.saved_tensors
        return None if gradients[0] is None else -(inverse @ gradients[0] @ inverse), None


class _Shares(torch.autograd.Function):
    vmap = staticmethod(refuse_vmap)

    @staticmethod
    def forward(matrix: Tensor, factor: Tensor, columns: Tensor) -> tuple[Tensor, Tensor]:
        # Not by the inverse, which loses half of the digits where a covariance is hardly shrunk.
        half = torch.linalg.solve_triangular(factor, columns, upper=False)
        solved = torch.linalg.solve_triangular(factor.mT, half, upper=True)
        return columns * solved, solved

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: tuple[Tensor, Tensor]) -> None:
        ctx.mark_non_differentiable(output[1])
        ctx.save_for_backward(*inputs, output[1])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, Tensor]:
        matrix, factor, columns, solved = ctx.saved_tensors
        if torch.is_grad_enabled():  # a second derivative needs the way from the matrix
            solved = _Inverse.apply(matrix, factor) @ columns
        scaled = gradients[0] * solved
        return scaled @ solved.mT.neg(), None, 2 * scaled


class _LogPivots(torch.autograd.Function):
    @staticmethod
    def forward(matrix: Tensor, factor: Tensor, inverse: Tensor) -> Tensor:
        return 2 * diagonal(factor).log()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        ctx.save_for_backward(inputs[2])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (inverse,) = ctx.saved_tensors
        return inverse * gradients[0][..., None], None, None


class _Coordinates(torch.autograd.Function):
    @staticmethod
    def forward(products: Tensor, scale: Tensor, jitter: float) -> tuple[Tensor, Tensor]:
        divisor = scale.where(scale > 0, 1)
        identity = torch.eye(len(scale), dtype=scale.dtype, device=scale.device)
        factor = _factor_of(products / torch.outer(divisor, divisor), identity, jitter)
        return scale[:, None] * factor, _inverse_of(factor) / divisor

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(output[1])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor, None, None]:
        # Of all dZ with dZ Z^T + Z dZ^T = dG take dZ = dG Z^-T / 2: the others differ by a rotation.
        (inverse,) = ctx.saved_tensors
        of_rows, of_inverse = gradients
        half = torch.zeros_like(inverse) if of_rows is None else of_rows @ inverse
        if of_inverse is not None:  # of a second derivative only
            half = half - inverse.T @ of_inverse @ inverse.T @ inverse
        return (half + half.T) / 4, None, None


class _Scatter(torch.autograd.Function):
    vmap = staticmethod(refuse_vmap)

    @staticmethod
    def forward(rows: Tensor, weights: Tensor) -> Tensor:
        weighted = weights.T[:, :, None] * rows  # (M, N, K)
        return rows.T @ weighted

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        rows, weights = ctx.saved_tensors
        return ((rows @ (gradients[0] + gradients[0].mT)) * weights.T[:, :, None]).sum(0), None

"""Traces of matrix square roots with gradients that stay finite where eigenvalues repeat or vanish.

Both functions return one number and know its derivative in closed form, so that no gradient goes through an
eigenvalue decomposition, whose 1 / (lambda_i - lambda_j) is NaN for the repeated eigenvalues that every batch with
fewer rows than features has.
"""

from typing import Any

import torch
from torch import Tensor

__all__ = ["nuclear_norm", "product_nuclear_norm", "trace_square_root"]

_SQUARE_ROOT_STEPS = 24


def nuclear_norm(matrix: Tensor) -> Tensor:
    """Return the sum of the singular values of ``matrix`` (n, k).

    The gradient is the polar factor U V^T over the singular values that are not rounding errors: at a rank-deficient
    matrix, where the norm has many subgradients, this is the one of least Frobenius norm. A second derivative raises.
    """
    value, _ = _NuclearNorm.apply(matrix)  # type: ignore[no-untyped-call]
    return torch.as_tensor(value)


def product_nuclear_norm(left: Tensor, right: Tensor) -> Tensor:
    """Return the nuclear norm of ``left @ right.T`` for tall factors (n, D) and (k, D), without the (n, k) product.

    Each factor is Q R; the norm is that of R_left R_right^T (D, D), at a cost of O((n + k) D^2).
    """
    value, *_ = _ProductNuclearNorm.apply(left, right)  # type: ignore[no-untyped-call]
    return torch.as_tensor(value)


def trace_square_root(matrix: Tensor) -> Tensor:
    """Return tr X^(1/2) of a square matrix with positive real eigenvalues, symmetric or not, in its own precision.

    Scaled Denman-Beavers iteration in product form (Cheng, Higham, Kenney and Laub, "Approximating the logarithm of a
    matrix to specified accuracy", 2001, section 3); the gradient is X^(-T/2) / 2. A second derivative raises.
    """
    value, _ = _TraceSquareRoot.apply(matrix)  # type: ignore[no-untyped-call]
    return torch.as_tensor(value)


def _polar_factor(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Return the nuclear norm and the polar factor over the singular values above the rounding error."""
    # LAPACK raises on NaN, and mixed-precision scalers rely on a NaN that arrives: decompose zeros, then poison.
    finite = matrix.isfinite().all()
    left, values, right = torch.linalg.svd(matrix.where(finite, 0), full_matrices=False)
    noise = values[:1] * max(matrix.shape) * torch.finfo(matrix.dtype).eps
    polar = (left * (values > noise)) @ right
    return values.sum().where(finite, torch.nan), polar.where(finite, torch.nan)


def _scale_once(gradient: Tensor, derivative: Tensor, point: Tensor) -> Tensor:
    """Return ``gradient * derivative``, and remember that ``derivative`` was taken at ``point``."""
    scaled: Tensor = _ScaleOnce.apply(gradient, derivative, point)  # type: ignore[no-untyped-call]
    return scaled


class _ScaleOnce(torch.autograd.Function):
    """A product that refuses to be differentiated: taking the derivative as a constant would be silently wrong."""

    @staticmethod
    def forward(gradient: Tensor, derivative: Tensor, point: Tensor) -> Tensor:
        return gradient * derivative

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        raise RuntimeError(
            "the second derivative of the Wasserstein distance with full covariance is not implemented: "
            "take divergence 'jeffreys' or 'moments', or covariance 'diagonal'"
        )


class _NuclearNorm(torch.autograd.Function):
    @staticmethod
    def forward(matrix: Tensor) -> tuple[Tensor, Tensor]:
        return _polar_factor(matrix)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: tuple[Tensor, Tensor]) -> None:
        ctx.mark_non_differentiable(output[1])
        ctx.save_for_backward(output[1], *inputs)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return _scale_once(gradients[0], *ctx.saved_tensors)


class _ProductNuclearNorm(torch.autograd.Function):
    @staticmethod
    def forward(left: Tensor, right: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        left_basis, left_factor = torch.linalg.qr(left)  # (n, D), (D, D)
        right_basis, right_factor = torch.linalg.qr(right)  # (k, D), (D, D)
        value, polar = _polar_factor(left_factor @ right_factor.T)  # (D, D)
        return value, left_basis @ (polar @ right_factor), right_basis @ (polar.T @ left_factor)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: tuple[Tensor, ...]) -> None:
        ctx.mark_non_differentiable(*output[1:])
        ctx.save_for_backward(*output[1:], *inputs)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor]:
        left_derivative, right_derivative, left, right = ctx.saved_tensors
        return _scale_once(gradients[0], left_derivative, left), _scale_once(gradients[0], right_derivative, right)


class _TraceSquareRoot(torch.autograd.Function):
    @staticmethod
    def forward(matrix: Tensor) -> tuple[Tensor, Tensor]:
        # M -> I while root -> X^(1/2) and inverse -> X^(-1/2). A fixed number of steps keeps the host out of it; the
        # determinant scales the first ones, quadratic convergence makes the rest of them idle.
        size = matrix.shape[0]
        identity = torch.eye(size, dtype=matrix.dtype, device=matrix.device)
        product, root, inverse_root = matrix, matrix, identity
        for step in range(_SQUARE_ROOT_STEPS):
            if step < _SQUARE_ROOT_STEPS // 2:
                scale = (-torch.linalg.slogdet(product).logabsdet / (2 * size)).exp()
                product, root, inverse_root = scale**2 * product, scale * root, scale * inverse_root
            inverse, _ = torch.linalg.inv_ex(product)
            root = (root + root @ inverse) / 2
            inverse_root = (inverse_root + inverse_root @ inverse) / 2
            product = identity / 2 + (product + inverse) / 4
        return (root * identity).sum(), inverse_root.T / 2

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: tuple[Tensor, Tensor]) -> None:
        ctx.mark_non_differentiable(output[1])
        ctx.save_for_backward(output[1], *inputs)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return _scale_once(gradients[0], *ctx.saved_tensors)

"""Traces of matrix square roots with gradients that stay finite where eigenvalues repeat or vanish.

Both functions return one number and know its derivative in closed form, so that no gradient goes through an
eigenvalue decomposition, whose 1 / (lambda_i - lambda_j) is NaN for the repeated eigenvalues that every batch with
fewer rows than features has.
"""

from typing import Any

import torch
from torch import Tensor

from modinv._checks import refuse_vmap

__all__ = ["QUINTICS", "iterated_polar_factor", "nuclear_norm", "product_nuclear_norm", "trace_square_root"]

_SQUARE_ROOT_STEPS = 24

# (a, b, c) of x <- a x + b x^3 + c x^5, each the minimax polynomial to 1 on the interval that the one before it leaves,
# from [1e-6, 1] on: a greedy choice is the best composition (Amsel, Persson, Musco and Gower, "The Polar Express",
# 2025). Their composition is within 1e-12 of 1 there.
QUINTICS = (
    (8.5142580824550638, -25.281575954766767, 18.767309358053620),
    (4.2570751967274421, -3.1601662884723843, 0.58647676586889606),
    (4.2568278712874484, -3.1599952222165478, 0.58645725278399406),
    (4.2557753676593653, -3.1592672143845102, 0.58637421090787063),
    (4.2513019058274943, -3.1561724466233635, 0.58602120083998208),
    (4.2323874701067828, -3.1430781183612703, 0.58452760483189848),
    (4.1541563805752196, -3.0887579580661375, 0.57833223561558733),
    (3.8583591588450083, -2.8808253054211705, 0.55463163412612446),
    (3.0495983995227444, -2.2849888038567878, 0.48706082742570233),
    (2.1120559374183665, -1.4938364726662914, 0.40010250263757197),
    (1.8783836569506792, -1.2537545015171050, 0.37537564814225241),
    (1.8750000135274723, -1.2500000150305247, 0.37500000150305247),
)


def nuclear_norm(matrix: Tensor, resolution: float = 0.0) -> Tensor:
    """Return the sum of the singular values of ``matrix`` (n, k), n <= k for the least cost.

    The gradient is the polar factor U V^T over the singular values that are not rounding errors: at a rank-deficient
    matrix, where the norm has many subgradients, this is the one of least Frobenius norm. A second derivative raises.

    The algorithm is chosen for the device. On the CPU: a singular value decomposition, or, where the entries carry no
    more digits than ``resolution``, one of eigenvalues of the smaller Gram matrix, in half of the time. Both would make
    the host wait for an accelerator, where twelve polynomials do it: :func:`iterated_polar_factor`.

    Args:
        matrix: (n, k) floating.
        resolution: relative rounding error of its entries, default that of its type.
    """
    value, _ = _NuclearNorm.apply(matrix, resolution)  # type: ignore[no-untyped-call]
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


def iterated_polar_factor(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Return the nuclear norm and the polar factor by products alone: no decomposition would report back to the host.

    Newton-Schulz iteration with minimax polynomials. Singular values below 1e-6 of the Frobenius norm count for less
    than they are, and a zero matrix has the polar factor zero.

    Args:
        matrix: (n, k), n <= k for the least cost.
    """
    polar = matrix / torch.linalg.matrix_norm(matrix).clamp(min=torch.finfo(matrix.dtype).tiny)
    for linear, cubic, quintic in QUINTICS:
        square = polar @ polar.T
        factor = torch.addmm(square, square, square, beta=cubic, alpha=quintic)
        polar = torch.addmm(polar, factor, polar, beta=linear)
    return (polar * matrix).sum(), polar


def _polar_factor(matrix: Tensor, resolution: float = 0.0) -> tuple[Tensor, Tensor]:
    """Return the nuclear norm and the polar factor over the singular values above the rounding error."""
    if matrix.device.type != "cpu":
        return iterated_polar_factor(matrix)
    # LAPACK raises on NaN, and mixed-precision scalers rely on a NaN that arrives: decompose numbers, then poison.
    numbers = matrix.nan_to_num(0, 0, 0)
    limits = torch.finfo(matrix.dtype)
    if resolution**2 > limits.eps:  # squaring the singular values loses no digit that they have
        squares, left = torch.linalg.eigh(numbers @ numbers.T)  # ascending
        values = squares.clamp(min=limits.tiny).sqrt()
        noise = values[-1:] * (max(matrix.shape) * resolution)
        polar = (left / values.maximum(noise)) @ (left.T @ numbers)  # what is below the noise counts next to nothing
    else:
        left, values, right = torch.linalg.svd(numbers, full_matrices=False)  # descending
        polar = (left * (values > values[:1] * (max(matrix.shape) * limits.eps))) @ right
    return torch.add(values.sum(), matrix.sum(), alpha=0), polar


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
    def forward(matrix: Tensor, resolution: float) -> tuple[Tensor, Tensor]:
        return _polar_factor(matrix, resolution)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, float], output: tuple[Tensor, Tensor]) -> None:
        ctx.mark_non_differentiable(output[1])
        ctx.save_for_backward(output[1], inputs[0])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return _scale_once(gradients[0], *ctx.saved_tensors), None


class _ProductNuclearNorm(torch.autograd.Function):
    vmap = staticmethod(refuse_vmap)

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
    vmap = staticmethod(refuse_vmap)

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

"""Traces of square roots of matrices, with gradients that stay finite where eigenvalues repeat or vanish.

No gradient goes through a decomposition: that of an eigenvalue decomposition is NaN for repeated eigenvalues, which
every batch with fewer rows than features has.
"""

from typing import Any

import torch
from torch import Tensor

from modinv._checks import refuse_vmap
from modinv.distances import diagonal, on_diagonal

__all__ = ["QUINTICS", "iterated_polar_factor", "nuclear_norm", "polar_factor", "product_nuclear_norm", "root_trace"]

# (a, b, c) of x <- a x + b x^3 + c x^5. Each is the best approximation of 1 on the interval to which the one before it
# takes [1e-6, 1]; choosing them one by one is optimal (Amsel, Persson, Musco and Gower, "The Polar Express", 2025).
# Their composition is within 1e-12 of 1 there.
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


def nuclear_norm(matrix: Tensor, eps: float = 0.0) -> Tensor:
    """Return what each row contributes to the sum of the singular values, (n,).

    The gradient is the polar factor U V^T over the singular values that are not rounding errors: where the norm has
    many subgradients, this is the one of least Frobenius norm. The rows of one block of a block-diagonal matrix must
    receive the same gradient. A second derivative raises.

    Args:
        matrix: (n, k), n <= k for the least cost.
        eps: relative rounding error of its entries; default: that of its type.
    """
    shares, _ = _NuclearNorm.apply(matrix, eps)
    return shares


def product_nuclear_norm(left: Tensor, right: Tensor) -> Tensor:
    """Return the nuclear norm of ``left @ right.T``, (), for tall factors (n, D) and (k, D) without that product.

    Each factor is Q R; the norm is that of R_left R_right^T (D, D), at a cost of O((n + k) D^2).
    """
    value, *_ = _ProductNuclearNorm.apply(left, right)
    return value


def root_trace(rows: Tensor, weights: Tensor, ridges: Tensor, eps: float = 0.0) -> Tensor:
    """Return what each dimension contributes to tr (A^(1/2) B A^(1/2))^(1/2), (K,), for A and B of the same rows.

    Let A = L L^T and B = M M^T be Cholesky factors, and P the polar factor of L^T M. The map that takes the Gaussian of
    A to that of B is T = M P^T L^-1. The derivatives by A and B are T / 2 and T^-1 / 2. The dimensions of one block
    must receive the same gradient. A second derivative raises.

    Args:
        rows: z, (N, K).
        weights: w of A, then of B: each is sum_i w_i z_i z_i^T plus its ridge, (2, N); constants.
        ridges: what is added to the diagonals of A and B, (2, K).
        eps: relative rounding error of the rows.
    """
    shares, *_ = _RootTrace.apply(rows, weights, ridges, eps)
    return shares


def polar_factor(matrix: Tensor, eps: float = 0.0) -> tuple[Tensor, Tensor]:
    """Return each row's share of the nuclear norm (n,), and the polar factor over what is no rounding error (n, k).

    The CPU takes a singular value decomposition. Where the entries have no more digits than ``eps``, eigenvalues of the
    smaller Gram matrix do in half of the time. Both would make the CPU wait for an accelerator, which takes products
    alone: :func:`iterated_polar_factor`.
    """
    if matrix.device.type != "cpu":
        polar = iterated_polar_factor(matrix)
        return (polar * matrix).sum(1), polar
    # LAPACK raises on NaN, and mixed-precision scalers rely on a NaN that arrives: decompose numbers, then poison.
    numbers = matrix.nan_to_num(0, 0, 0)
    limits = torch.finfo(matrix.dtype)
    if eps**2 > limits.eps:  # squaring the singular values loses no digit that they have
        squares, left = torch.linalg.eigh(numbers @ numbers.T)  # ascending
        values = squares.clamp(min=limits.tiny).sqrt()
        noise = values[-1:] * (max(matrix.shape) * eps)
        polar = (left / values.maximum(noise)) @ (left.T @ numbers)  # what is below the noise counts next to nothing
        shares = left.square() @ values
    else:
        left, values, right = torch.linalg.svd(numbers, full_matrices=False)  # descending
        polar = (left * (values > values[:1] * (max(matrix.shape) * limits.eps))) @ right
        shares = left.square() @ values
    return torch.add(shares, matrix.sum(), alpha=0), polar


def iterated_polar_factor(matrix: Tensor) -> Tensor:
    """Return the polar factor by products alone (Newton-Schulz with minimax polynomials), (n, k).

    Singular values below 1e-6 of the Frobenius norm count for less than they are; zero has the polar factor zero.
    """
    polar = matrix / torch.linalg.matrix_norm(matrix).clamp(min=torch.finfo(matrix.dtype).tiny)
    for linear, cubic, quintic in QUINTICS:
        square = polar @ polar.T
        factor = torch.addmm(square, square, square, beta=cubic, alpha=quintic)
        polar = torch.addmm(polar, factor, polar, beta=linear)
    return polar


class _ScaleOnce(torch.autograd.Function):
    """A product that refuses to be differentiated: taking the derivative as a constant would be silently wrong."""

    @staticmethod
    def forward(gradient: Tensor, derivative: Tensor, first: Tensor, second: Tensor) -> Tensor:
        return gradient * derivative  # taken at both points; Dynamo of torch 2.6 traces no *points

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
    forward = staticmethod(polar_factor)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, float], output: tuple[Tensor, Tensor]) -> None:
        ctx.mark_non_differentiable(output[1])
        ctx.save_for_backward(output[1], inputs[0])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        polar, matrix = ctx.saved_tensors
        return _ScaleOnce.apply(gradients[0][:, None], polar, matrix, matrix), None


class _ProductNuclearNorm(torch.autograd.Function):
    vmap = staticmethod(refuse_vmap)

    @staticmethod
    def forward(left: Tensor, right: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        left_basis, left_factor = torch.linalg.qr(left)  # (n, D), (D, D)
        right_basis, right_factor = torch.linalg.qr(right)  # (k, D), (D, D)
        shares, polar = polar_factor(left_factor @ right_factor.T)  # (D, D)
        return shares.sum(), left_basis @ (polar @ right_factor), right_basis @ (polar.T @ left_factor)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: tuple[Tensor, ...]) -> None:
        ctx.mark_non_differentiable(*output[1:])
        ctx.save_for_backward(*output[1:], *inputs)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor]:
        of_left, of_right, left, right = ctx.saved_tensors
        scaled_left = _ScaleOnce.apply(gradients[0], of_left, left, right)
        return scaled_left, _ScaleOnce.apply(gradients[0], of_right, left, right)


class _RootTrace(torch.autograd.Function):
    vmap = staticmethod(refuse_vmap)

    @staticmethod
    def forward(rows: Tensor, weights: Tensor, ridges: Tensor, eps: float) -> tuple[Tensor, Tensor, Tensor]:
        weighted = weights.to(rows)[:, :, None] * rows  # (2, N, K)
        left, right = torch.linalg.cholesky_ex((rows.T @ weighted).to(ridges) + on_diagonal(ridges)).L.unbind()
        shares, polar = polar_factor(left.T @ right, eps)
        there = torch.linalg.solve_triangular(left, right @ polar.T, upper=False, left=False)  # T = M P^T L^-1
        back = torch.linalg.solve_triangular(right, left @ polar, upper=False, left=False)  # T^-1 = L P M^-1
        maps = torch.stack([there, back])
        maps = maps + maps.mT  # four times the derivatives
        return shares, (weighted @ maps.to(rows)).sum(0) / 2, diagonal(maps) / 4

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        ctx.mark_non_differentiable(*output[1:])
        ctx.save_for_backward(*output[1:], inputs[0], inputs[2])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, Tensor, None]:
        of_rows, of_ridges, rows, ridges = ctx.saved_tensors
        scaled = _ScaleOnce.apply(gradients[0].to(rows), of_rows, rows, ridges)
        return scaled, None, _ScaleOnce.apply(gradients[0], of_ridges, rows, ridges), None

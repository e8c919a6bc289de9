"""Two Gaussians known by factors of their covariances: singular ones keep all their digits.

Write S_a = F_a^T F_a for the first Gaussian and S_b for the second. F = Q R has the triangle R, with R^T R = S. Then

    tr (S_a^(1/2) S_b S_a^(1/2))^(1/2) = |F_a F_b^T|_*, the nuclear norm
    tr S_b^-1 S_a                      = |R_a R_b^-1|_F^2
    log det S_a                        = 2 sum_i log |R_ii|
    (S_a + S_b) / 2                    = [F_a; F_b]^T [F_a; F_b] / 2

No covariance is formed, except for the Frobenius distance. What counts is the condition number of the factors, the
square root of the covariances' own.
"""

import torch
from torch import Tensor
from typing_extensions import override

from modinv.divergences.gaussians import Gaussians, Midpoint, Pooled, Relative
from modinv.divergences.square_roots import product_nuclear_norm
from modinv.statistics import lazy

__all__ = ["FactorGaussians", "dependence", "singular"]


class FactorGaussians(Gaussians):
    """Two Gaussians with full covariance in K dimensions, at a cost of O((k + l) K^2); one pair, one comparison.

    A question that needs an inverse or a determinant raises ValueError where a covariance is singular.

    Args:
        difference: of the means, (K,).
        factors: of the covariances, (k, K) and (l, K).
        ranks: how many rows of each can be independent of each other.
    """

    def __init__(self, difference: Tensor, factors: tuple[Tensor, Tensor], ranks: tuple[int, int]) -> None:
        self.dimension = len(difference)
        self._difference = difference
        self._factors = factors
        self._ranks = ranks

    @override
    def squared_mean_distances(self) -> Tensor:
        return self._difference.square().sum().view(1, 1)

    @override
    def traces(self) -> Tensor:
        return torch.stack([factor.square().sum() for factor in self._factors])[:, None]

    @override
    def root_traces(self) -> Tensor:
        return product_nuclear_norm(*self._factors).view(1, 1)

    @override
    def squared_covariance_distances(self) -> Tensor:
        first, second = self._factors
        return (first.T @ first - second.T @ second).square().sum().view(1, 1)

    @override
    def log_determinants(self) -> Tensor:
        return torch.stack([_log_determinant(triangle) for triangle in self._triangles])[:, None]

    @override
    def relative(self) -> Relative:
        first, second = self._triangles
        lengths = torch.stack([self._mahalanobis(second), self._mahalanobis(first)])
        traces = torch.stack([_excess_trace(first, second), _excess_trace(second, first)])
        return Relative(lengths[:, None, None], traces[:, None, None])

    @override
    def midpoints(self) -> Midpoint:
        first, second = self._triangles
        middle = torch.linalg.qr(torch.cat([first, second]) / 2**0.5).R  # (K, K)
        excess = _log_determinant(middle) - (_log_determinant(first) + _log_determinant(second)) / 2
        return Midpoint(self._mahalanobis(middle).view(1, 1), excess.view(1, 1))

    @override
    def joint_weights(self) -> tuple[Tensor, Tensor]:
        return self._difference.new_ones(1), self._difference.new_full((2,), 0.5)

    @override
    def pooled(self, weights: Tensor, shares: Tensor) -> Pooled:
        # S_means = delta delta^T / 4, of rank one: det (S* + S_means) = det S* (1 + delta^T S*^-1 delta / 4).
        midpoint = self.midpoints()
        return Pooled((midpoint.mahalanobis / 4).log1p()[0], midpoint.excess_log_determinant[0])

    @lazy
    def _triangles(self) -> tuple[Tensor, Tensor]:
        (first, second), (few, others) = self._factors, self._ranks
        return _triangle("first", first, few), _triangle("second", second, others)  # (K, K) each

    def _mahalanobis(self, triangle: Tensor) -> Tensor:
        whitened = torch.linalg.solve_triangular(triangle, self._difference[None], upper=True, left=False)
        return whitened.square().sum()


def dependence(triangle: Tensor) -> float:
    """Return how nearly one feature is a sum of others: 1 / sine of the least angle, 1 for uncorrelated features.

    This is the square root of the largest variance inflation factor, and does not change with the scale of a feature.
    It is infinite or NaN where a feature is constant or exactly such a sum.

    Args:
        triangle: upper triangular factor of the covariance, (K, K).
    """
    scaled = (triangle / torch.linalg.vector_norm(triangle, dim=0)).detach()
    identity = torch.eye(len(triangle), dtype=triangle.dtype, device=triangle.device)
    inverse = torch.linalg.solve_triangular(scaled, identity, upper=True)
    return float(torch.linalg.vector_norm(inverse, dim=1).amax())


def _triangle(name: str, factor: Tensor, rank: int) -> Tensor:
    """Return the triangle R of a factor of full rank, (K, K), and refuse any other."""
    columns = factor.shape[1]
    if rank >= columns:  # counted, since rounding gives a pivot to a row that depends on others
        triangle = torch.linalg.qr(factor).R
        if dependence(triangle) * columns * torch.finfo(triangle.dtype).eps < 1:
            return triangle
    raise singular(name)


def singular(name: str) -> ValueError:
    """Return the error for a covariance that cannot be inverted."""
    return ValueError(
        f"the logarithmic divergences need covariances of full rank, got a singular one as {name}: set shrinkage "
        "above 0, give more samples than dimensions, or take divergence 'wasserstein' or 'moments'"
    )


def _excess_trace(first: Tensor, second: Tensor) -> Tensor:
    """Return tr S_b^-1 S_a - K from the triangles of S_a and S_b."""
    across = torch.linalg.solve_triangular(second, first, upper=True, left=False)
    return across.square().sum() - len(first)


def _log_determinant(triangle: Tensor) -> Tensor:
    return 2 * triangle.diagonal().abs().log().sum()

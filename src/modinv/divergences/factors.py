"""Two Gaussians known by factors of their covariances, or by their variances: singular ones keep all their digits.

With S_a = F_a^T F_a for the first Gaussian, S_b for the second, and triangles R of the factors (F = Q R, R^T R = S):

    tr (S_a^(1/2) S_b S_a^(1/2))^(1/2) = |F_a F_b^T|_*, the nuclear norm
    tr S_b^-1 S_a                      = |R_a R_b^-1|_F^2
    log det S_a                        = 2 sum_i log |R_ii|
    (S_a + S_b) / 2                    = [F_a; F_b]^T [F_a; F_b] / 2

No covariance is formed, except for the Frobenius distance: what counts is the condition number of the factors, the
square root of the covariances' own. The pair here is that of the two Gaussians, in one order or in both, at weight 1.
"""

import torch
from torch import Tensor
from typing_extensions import override

from modinv._lazy import lazy
from modinv.distances import safe_sqrt
from modinv.divergences.gaussians import Gaussians, Midpoint, Pooled, Relative
from modinv.divergences.layout import Pairs, single_pair
from modinv.divergences.spectra import product_nuclear_norm

__all__ = ["FactorGaussians", "VarianceGaussians", "dependence"]


class FactorGaussians(Gaussians):
    """Two Gaussians with full covariance in K dimensions, at a cost of O((k + l) K^2).

    Args:
        difference: of the means, (K,).
        first: factor of the covariance of the first, (k, K).
        second: factor of the covariance of the second, (l, K).

    A question that needs an inverse or a determinant raises ValueError where a covariance is singular.
    """

    def __init__(self, difference: Tensor, first: Tensor, second: Tensor) -> None:
        self._difference = difference
        self._factors = (first, second)

    @override
    def squared_mean_distance(self, pairs: Pairs) -> Tensor:
        return self._difference.square().sum()

    @override
    def trace_sum(self, pairs: Pairs) -> Tensor:
        return self._factors[0].square().sum() + self._factors[1].square().sum()

    @override
    def root_trace(self, pairs: Pairs) -> Tensor:
        return product_nuclear_norm(*self._factors)

    @override
    def squared_covariance_distance(self, pairs: Pairs) -> Tensor:
        first, second = self._factors
        return (first.T @ first - second.T @ second).square().sum()

    @override
    def relative(self, pairs: Pairs) -> Relative:
        triangles = self._triangles
        return Relative(
            pairs.sum(lambda a, b: self._mahalanobis(triangles[b])),
            pairs.sum(lambda a, b: _excess_trace(triangles[a], triangles[b])),
        )

    @override
    def log_determinant_ratio(self, pairs: Pairs) -> Tensor:
        logarithms = [_log_determinant(triangle) for triangle in self._triangles]
        return pairs.sum(lambda a, b: logarithms[b] - logarithms[a])

    @override
    def midpoint(self, pairs: Pairs) -> Midpoint:
        first, second = self._triangles
        middle = torch.linalg.qr(torch.cat([first, second]) / 2**0.5).R  # (K, K)
        excess = _log_determinant(middle) - (_log_determinant(first) + _log_determinant(second)) / 2
        return Midpoint(self._mahalanobis(middle), excess)

    @override
    def pooled(self, weights: Tensor, present: Tensor) -> Pooled:
        # S_means = delta delta^T / 4, of rank one: det (S* + S_means) = det S* (1 + delta^T S*^-1 delta / 4).
        midpoint = self.midpoint(single_pair())
        return Pooled((midpoint.mahalanobis / 4).log1p(), midpoint.excess_log_determinant)

    @lazy
    def _triangles(self) -> tuple[Tensor, Tensor]:
        return _triangle("first", self._factors[0]), _triangle("second", self._factors[1])  # (K, K) each

    def _mahalanobis(self, triangle: Tensor) -> Tensor:
        whitened: Tensor = torch.linalg.solve_triangular(triangle, self._difference[None], upper=True, left=False)
        return whitened.square().sum()


class VarianceGaussians(Gaussians):
    """Two Gaussians with diagonal covariance in K dimensions, at a cost of O(K).

    Args:
        squared_difference: of the means, (K,).
        first: variances of the first, (K,).
        second: variances of the second, (K,).

    A question that needs a quotient or a logarithm raises ValueError where a variance is zero.
    """

    def __init__(self, squared_difference: Tensor, first: Tensor, second: Tensor) -> None:
        self._squared_difference = squared_difference
        self._variances = (first, second)

    @override
    def squared_mean_distance(self, pairs: Pairs) -> Tensor:
        return self._squared_difference.sum()

    @override
    def trace_sum(self, pairs: Pairs) -> Tensor:
        return self._variances[0].sum() + self._variances[1].sum()

    @override
    def root_trace(self, pairs: Pairs) -> Tensor:
        return (safe_sqrt(self._variances[0]) * safe_sqrt(self._variances[1])).sum()

    @override
    def squared_covariance_distance(self, pairs: Pairs) -> Tensor:
        return (self._variances[0] - self._variances[1]).square().sum()

    @override
    def relative(self, pairs: Pairs) -> Relative:
        variances = self._positive
        return Relative(
            pairs.sum(lambda a, b: (self._squared_difference / variances[b]).sum()),
            pairs.sum(lambda a, b: ((variances[a] - variances[b]) / variances[b]).sum()),
        )

    @override
    def log_determinant_ratio(self, pairs: Pairs) -> Tensor:
        return pairs.sum(lambda a, b: (self._positive[b] / self._positive[a]).log().sum())

    @override
    def midpoint(self, pairs: Pairs) -> Midpoint:
        middle = (self._positive[0] + self._positive[1]) / 2
        return Midpoint((self._squared_difference / middle).sum(), self._excess_log_determinant)

    @override
    def pooled(self, weights: Tensor, present: Tensor) -> Pooled:
        middle = (self._positive[0] + self._positive[1]) / 2
        means = (self._squared_difference / middle / 4).log1p().sum()
        return Pooled(means, self._excess_log_determinant)

    @property
    def _excess_log_determinant(self) -> Tensor:
        # log of arithmetic over geometric mean, with no cancellation where the variances are close
        first, second = self._positive
        return ((first - second).square() / (first * second) / 4).log1p().sum() / 2

    @lazy
    def _positive(self) -> tuple[Tensor, Tensor]:
        for name, variances in zip(("first", "second"), self._variances, strict=True):
            if not (variances > 0).all():
                raise _singular(name)
        return self._variances


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


def _triangle(name: str, factor: Tensor) -> Tensor:
    """Return the triangle R of a factor of full rank, (K, K), and refuse any other."""
    rows, columns = factor.shape
    if rows >= columns:
        triangle: Tensor = torch.linalg.qr(factor).R
        if dependence(triangle) * columns * torch.finfo(triangle.dtype).eps < 1:
            return triangle
    raise _singular(name)


def _singular(name: str) -> ValueError:
    return ValueError(
        f"the logarithmic divergences need covariances of full rank, got a singular one as {name}: set shrinkage "
        "above 0, give more samples than dimensions, or take divergence 'wasserstein' or 'moments'"
    )


def _excess_trace(first: Tensor, second: Tensor) -> Tensor:
    """Return tr S_b^-1 S_a - K from the triangles of S_a and S_b."""
    across: Tensor = torch.linalg.solve_triangular(second, first, upper=True, left=False)
    return across.square().sum() - len(first)


def _log_determinant(triangle: Tensor) -> Tensor:
    return 2 * triangle.diagonal().abs().log().sum()

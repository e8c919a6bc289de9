"""Gaussians with full covariance in feature space: the D x D covariances themselves, for more rows than dimensions."""

import torch
from torch import Tensor
from typing_extensions import override

from modinv.divergences.gaussians import Gaussians, Relative, fill_pairs, ridge
from modinv.divergences.spectra import product_nuclear_norm, trace_square_root
from modinv.statistics import Statistics

__all__ = ["FeatureGaussians"]


class FeatureGaussians(Gaussians):
    """Gaussians known by their covariances (M, D, D): O(N D^2) and O(D^3). The cheaper form when N > D.

    Args:
        statistics: of the batch.
        shrinkage: alpha.
    """

    def __init__(self, statistics: Statistics, shrinkage: float) -> None:
        rows, self.means = statistics.centered  # (N, D), (M, D)
        self.dimension = rows.shape[1]
        weights = statistics.membership * (statistics.counts - 1).clamp(min=1).rsqrt()  # (N, M)
        self.rows = weights.T[:, :, None].to(rows.dtype) * rows  # (M, N, D): Sigma_a = rows_a^T rows_a
        self.shrinkage = shrinkage
        self.covariances = self.rows.mT @ self.rows  # (M, D, D)
        self.identity = torch.eye(self.dimension, dtype=self.rows.dtype, device=self.rows.device)
        self._resolution = statistics.resolution
        self._traces = (self.covariances * self.identity).sum((1, 2))  # (M,)

    @override
    def squared_mean_distances(self) -> Tensor:
        return (self.means[:, None] - self.means).square().sum(-1)

    @override
    def traces(self) -> Tensor:
        return self._traces

    @override
    def root_traces(self) -> Tensor:
        return fill_pairs(self._root_trace, self._traces)

    @override
    def squared_covariance_distances(self) -> Tensor:
        shrunk = self._shrunk()
        return (shrunk[:, None] - shrunk).square().sum((2, 3))

    @override
    def relative(self) -> Relative:
        factors, _ = torch.linalg.cholesky_ex(self._shrunk())  # (M, D, D)
        differences = (self.means[:, None] - self.means).mT  # (M, D, M): [b, :, a] = mu_b - mu_a
        whitened = torch.linalg.solve_triangular(factors, differences, upper=False)  # (M, D, M)
        across = torch.linalg.solve_triangular(factors, factors[:, None], upper=False)  # [a, b]: L_b^-1 L_a
        excess = across.square().sum((2, 3)) - self.dimension
        return Relative(excess, whitened.square().sum(1).T)

    def _shrunk(self) -> Tensor:
        variances = self._traces / self.dimension
        rho = ridge(variances, self.means.square().mean(1), self.shrinkage, self._resolution)  # (M,)
        return (1 - self.shrinkage) * self.covariances + rho[:, None, None] * self.identity

    def _root_trace(self, a: int, b: int) -> Tensor:
        if not self.shrinkage:
            return product_nuclear_norm(self.rows[a], self.rows[b])
        shrunk = self._shrunk()
        return trace_square_root(shrunk[a] @ shrunk[b])

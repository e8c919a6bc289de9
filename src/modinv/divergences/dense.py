"""Gaussians with full covariance: what their two forms share, and the form for N > D rows, with D x D matrices.

The form for N <= D rows is in :mod:`modinv.divergences.full`.
"""

from abc import abstractmethod
from itertools import combinations
from typing import NamedTuple

import torch
from torch import Tensor
from typing_extensions import override

from modinv.distances import on_diagonal
from modinv.divergences.definite import Definite, scatter_of
from modinv.divergences.diagonal import centered_samples
from modinv.divergences.gaussians import Gaussians, Midpoint, Pooled, Relative, between_of, lengths_of
from modinv.divergences.shrinkage import estimate, ridge
from modinv.divergences.square_roots import product_nuclear_norm, root_trace
from modinv.groups import Comparisons, both_ways, joint_weights, pairs
from modinv.statistics import Statistics, lazy

__all__ = ["Coordinates", "DenseGaussians", "Mixture", "RowGaussians"]


class Coordinates(NamedTuple):
    """Rows around the means of their covariances, in a basis that holds all rows."""

    rows: Tensor  # (N, K)
    outside: Tensor | int  # (Q,): dimensions that no row of a comparison reaches
    floor: Tensor | None = None  # (M, Q): the least rho that keeps covariances definite; None: any


class Mixture(NamedTuple):
    """A mean of covariances S*."""

    squares: Tensor  # (P, R): delta^T S*^-1 delta for each pair
    log_determinant: Tensor  # (P, Q) or (1, Q): log det S*


class DenseGaussians(Gaussians):
    """Gaussians with full covariance; a subclass knows the rows.

    Attributes:
        compared: which Gaussians.
        shrinkage: alpha, or the name of an estimate of it.
        eps: relative rounding error of the products over the features.
        input_eps: that of the features.
        mean_products: |mu|^2, or inner products of the means, of any shape.
    """

    compared: Comparisons
    shrinkage: float | str
    eps: float
    input_eps: float
    mean_products: Tensor

    @property
    @abstractmethod
    def square_products(self) -> Tensor:
        """tr Sigma_a Sigma_b of all modalities, (M, M, Q)."""

    @property
    @abstractmethod
    def squared_rows(self) -> Tensor:
        """|z|^2 of each row around the mean of its covariance, (N,)."""

    @abstractmethod
    def mixture(self, shares: Tensor) -> Mixture:
        """Return what is asked of S* = sum_m s_m S_m for shares s, (P, M), or (1, M) for all pairs."""

    def shrunk_root_traces(self, coordinates: Coordinates) -> Tensor:
        """Return the root traces, (P, R), where the rows are known."""
        rho = self._rho(torch.finfo(self._traces.dtype).eps)  # nothing is inverted: the floor can be lower
        rho = rho if coordinates.floor is None else rho.maximum(coordinates.floor)
        sides = zip(both_ways(self._kept_weights.T).unbind(1), both_ways(rho).unbind(1), strict=True)  # of each pair
        rows, outside = coordinates.rows, coordinates.outside * torch.mul(*pairs(rho)).sqrt()
        inside = [root_trace(rows, kept, ridges.expand(-1, rows.shape[1]), self.eps) for kept, ridges in sides]
        return self.compared.sums(torch.stack(inside)) + outside if inside else outside

    @override
    def squared_covariance_distances(self) -> Tensor:
        if self.shrinkage == 0:
            return self.compared.pair_lengths(self.square_products)
        kept, added = 1 - self._alpha, self._alpha / self.dimension * self._traces  # S = kept Sigma + added I
        scales = kept[:, None] * kept if isinstance(kept, Tensor) else kept**2
        traces, difference = torch.sub(*pairs(kept * self._traces)), torch.sub(*pairs(added))
        squares = self.compared.pair_lengths(scales * self.square_products)
        return squares + (2 * traces + self.dimension * difference) * difference

    @override
    def midpoints(self) -> Midpoint:
        identity = torch.eye(len(self._traces), dtype=self._traces.dtype, device=self._traces.device)
        shares = torch.add(*pairs(identity)) / 2  # (P, M)
        middle = self.mixture(shares)
        return Midpoint(middle.squares, middle.log_determinant - shares @ self.log_determinants())

    @override
    def pooled(self, weights: Tensor, shares: Tensor) -> Pooled:
        middle = self.mixture(shares[None])
        between = between_of(middle.squares, weights, shares)
        return Pooled(between, middle.log_determinant[0] - shares @ self.log_determinants())

    @override
    def joint_weights(self) -> tuple[Tensor, Tensor]:
        return joint_weights(self.compared)

    @lazy
    def _traces(self) -> Tensor:
        return self.traces()  # (M, Q)

    @lazy
    def _alpha(self) -> Tensor | float:
        if not isinstance(self.shrinkage, str):
            return self.shrinkage
        squares, rows = lengths_of(self.square_products.detach()), self.squared_rows.detach()
        return estimate(self.shrinkage, self.compared, squares, rows, self._traces.detach(), self.dimension)

    @lazy
    def _kept_weights(self) -> Tensor:
        """What row i counts in a covariance after shrinkage, beside what is added to the diagonal, (N, M)."""
        kept = 1 - self._alpha  # where it is a tensor (M, Q), row i is of comparison i or there is one
        return self.compared.weights * (kept.T if isinstance(kept, Tensor) else kept)

    @lazy
    def _ridge(self) -> Tensor:
        return self._rho(self.input_eps)  # (M, Q): rho of what is to be inverted

    def _rho(self, eps: float) -> Tensor:
        return ridge(self._traces, self.mean_products.abs(), self._alpha, eps, self.dimension)  # (M, Q)


class RowGaussians(DenseGaussians):
    """Gaussians known by their rows, at O(N D^2 + M D^3); all comparisons share their covariances."""

    def __init__(self, statistics: Statistics, compared: Comparisons, shrinkage: float | str) -> None:
        self.compared, self.shrinkage = compared, shrinkage
        self.dimension = statistics.features.shape[1]
        self.eps, self.input_eps = statistics.eps, statistics.input_eps
        self._rows, self._means = centered_samples(statistics, compared)
        self.mean_products = self._means.square().sum(-1)

    @override
    def squared_mean_distances(self) -> Tensor:
        return self._offsets.square().sum(-1)

    @override
    def traces(self) -> Tensor:
        return self.compared.weights.T @ self.squared_rows[:, None]

    @override
    def root_traces(self) -> Tensor:
        if self.shrinkage != 0:
            return self.shrunk_root_traces(Coordinates(self._rows, 0))
        scaled = self.compared.weights.sqrt().to(self._rows).T[:, :, None] * self._rows  # (M, N, D)
        norms = [product_nuclear_norm(scaled[a], scaled[b]) for a, b in combinations(range(len(scaled)), 2)]
        return torch.stack(norms)[:, None].to(self._means) if norms else self._means[:0, :, 0]

    @override
    def log_determinants(self) -> Tensor:
        return self._definite.log_pivots.sum(-1, keepdim=True)  # (M, 1)

    @override
    def relative(self) -> Relative:
        mine, inverse = both_ways(self._regular), both_ways(self._definite.inverse).flip(0)  # (2, P, D, D)
        return Relative(self._mahalanobis(inverse), (mine * inverse).sum((-2, -1))[:, :, None] - self.dimension)

    @override
    def mixture(self, shares: Tensor) -> Mixture:
        middle = Definite(torch.einsum("pm,mkl->pkl", shares, self._regular))  # (P, D, D) or (1, D, D)
        return Mixture(self._mahalanobis(middle.inverse), middle.log_pivots.sum(-1, keepdim=True))

    @lazy
    def squared_rows(self) -> Tensor:
        """|z|^2 of each row, (N,)."""
        return self._rows.square().sum(1).to(self._means)

    @lazy
    def square_products(self) -> Tensor:
        """tr Sigma_a Sigma_b of all modalities, (M, M, Q)."""
        covariances = scatter_of(self._rows, self.compared.weights.to(self._rows)).flatten(1)  # (M, D^2)
        return (covariances @ covariances.T)[:, :, None].to(self._means)

    @lazy
    def _offsets(self) -> Tensor:
        return torch.sub(*pairs(self._means))  # (P, R, D)

    @lazy
    def _regular(self) -> Tensor:
        covariances = scatter_of(self._rows, self._kept_weights.to(self._rows)).to(self._means)
        return covariances + on_diagonal(self._ridge.expand(-1, self.dimension))  # (M, D, D): S, definite

    @lazy
    def _definite(self) -> Definite:
        return Definite(self._regular)

    def _mahalanobis(self, inverse: Tensor) -> Tensor:
        return ((self._offsets @ inverse) * self._offsets).sum(-1)

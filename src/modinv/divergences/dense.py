"""Gaussians with full covariance as small dense matrices: each divergence is its textbook formula there.

Everything that a divergence asks depends on inner products alone. K = min(N, D) coordinates of rows and means, with the
same inner products, stand for the D features. A covariance is K x K then, and rho I in the dimensions that no row
reaches.
"""

from abc import abstractmethod
from itertools import combinations
from typing import NamedTuple

import torch
from torch import Tensor
from typing_extensions import override

from modinv.divergences.definite import Definite, contrasts, on_diagonal, scatter_of
from modinv.divergences.gaussians import Gaussians, Midpoint, Pooled, Relative
from modinv.divergences.shrinkage import estimate, ridge
from modinv.divergences.square_roots import root_trace
from modinv.groups import Comparisons, both_ways, joint_weights, pairs
from modinv.statistics import lazy

__all__ = ["Coordinates", "DenseGaussians", "lengths_of"]


class Coordinates(NamedTuple):
    """Rows around the means of their covariances, and the means, in a basis that holds all rows."""

    rows: Tensor  # (N, K)
    means: Tensor  # (M, R, K): the part of each mean that the basis holds
    beyond: Tensor  # (M, M, R): inner products of what it does not hold
    outside: Tensor | int  # (Q,): dimensions that no row of a comparison reaches
    floor: Tensor | None = None  # (M, Q): the least rho that keeps covariances definite; None: any


class DenseGaussians(Gaussians):
    """Gaussians known by their covariances in K coordinates, at O(M K^3); a subclass knows the rows.

    Attributes:
        compared: which Gaussians.
        shrinkage: alpha, or the name of an estimate of it.
        eps: relative rounding error of the products over the features.
        input_eps: that of the features.
        mean_products: inner products of the means, (M, M, R).
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
    def coordinates(self) -> Coordinates:
        """Return the coordinates of rows and means."""

    @override
    def root_traces(self) -> Tensor:
        rho = self._rho(torch.finfo(self._traces.dtype).eps)  # nothing is inverted: the floor can be lower
        matrices = self._shrunk(rho).unbind()
        numbers = combinations(range(len(matrices)), 2)
        inside = [root_trace(matrices[a], matrices[b], self.eps) for a, b in numbers]
        shares = torch.stack(inside) if inside else matrices[0][:0]  # (P, K)
        return self.compared.sums(shares) + self._outside * torch.mul(*pairs(rho)).sqrt()

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
    def log_determinants(self) -> Tensor:
        return self._log_determinants

    @override
    def relative(self) -> Relative:
        mine, rho = both_ways(self._regular), both_ways(self._ridge)  # (2, P, K, K), (2, P, Q)
        inverse, other = both_ways(self._definite.inverse).flip(0), rho.flip(0)
        inside = self.compared.sums((mine * inverse).sum(-1) - 1)
        return Relative(self._mahalanobis(inverse, other), inside + self._outside * (rho / other - 1))

    @override
    def midpoints(self) -> Midpoint:
        matrix, rho, ends = (
            torch.add(*pairs(part)) / 2 for part in (self._regular, self._ridge, self._log_determinants)
        )  # (P, K, K), (P, Q)
        middle = Definite(matrix)
        return Midpoint(self._mahalanobis(middle.inverse, rho), self._log_determinant(middle, rho) - ends)

    @override
    def joint_weights(self) -> tuple[Tensor, Tensor]:
        return joint_weights(self.compared)

    @override
    def pooled(self, weights: Tensor, shares: Tensor) -> Pooled:
        middle = Definite((shares[:, None, None] * self._regular).sum(0))  # (K, K)
        rho = shares @ self._ridge  # (Q,)
        roots = shares.sqrt()
        coefficients = roots[:, None] * contrasts(roots)  # (M, M - 1): means to the offsets that are left
        offsets = torch.einsum("mrk,mp->rpk", self._coordinates.means, coefficients)
        beyond = torch.einsum("mnr,mp,nq->rpq", self._coordinates.beyond, coefficients, coefficients)
        inner = offsets @ middle.inverse @ offsets.mT + beyond / rho[:, None, None]  # (R, M - 1, M - 1)
        # A comparison that does not count may have no spread at all, and its determinant no digit.
        inner = inner.where((weights > 0)[:, None, None], 0)
        if inner.shape[1] == 1:
            between = inner[:, 0, 0].log1p()  # (R,)
        else:
            identity = torch.eye(inner.shape[1], dtype=inner.dtype, device=inner.device)
            between = torch.linalg.slogdet(identity + inner).logabsdet
        return Pooled(between, self._log_determinant(middle, rho) - shares @ self._log_determinants)

    @lazy
    def _traces(self) -> Tensor:
        return self.traces()  # (M, Q)

    @lazy
    def _alpha(self) -> Tensor | float:
        return self._intensity(self.shrinkage) if isinstance(self.shrinkage, str) else self.shrinkage

    @lazy
    def _coordinates(self) -> Coordinates:
        return self.coordinates()

    @property
    def _outside(self) -> Tensor | int:
        return self._coordinates.outside  # (Q,)

    @lazy
    def _ridge(self) -> Tensor:
        return self._rho(self.input_eps)  # (M, Q): rho of what is to be inverted

    @lazy
    def _regular(self) -> Tensor:
        return self._shrunk(self._ridge)  # (M, K, K): S, definite enough to be inverted

    @lazy
    def _definite(self) -> Definite:
        return Definite(self._regular)

    @lazy
    def _log_determinants(self) -> Tensor:
        return self._log_determinant(self._definite, self._ridge)  # (M, Q)

    def _rho(self, eps: float) -> Tensor:
        rho = ridge(self._traces, self.mean_products.abs(), self._alpha, eps, self.dimension)  # (M, Q)
        return rho if self._coordinates.floor is None else rho.maximum(self._coordinates.floor)

    def _shrunk(self, rho: Tensor) -> Tensor:
        rows = self._coordinates.rows  # (N, K)
        covariances = scatter_of(rows, self.compared.weights.to(rows)).to(rho)  # (M, K, K)
        added = on_diagonal(rho.expand(-1, covariances.shape[-1]))
        if isinstance(self._alpha, Tensor):
            return added + (1 - self._alpha)[:, :, None] * covariances
        return torch.add(added, covariances, alpha=1 - self._alpha)

    def _log_determinant(self, matrix: Definite, rho: Tensor) -> Tensor:
        return self.compared.sums(matrix.log_pivots) + self._outside * rho.log()

    def _mahalanobis(self, inverse: Tensor, rho: Tensor) -> Tensor:
        offsets = torch.sub(*pairs(self._coordinates.means))  # (P, R, K)
        return ((offsets @ inverse) * offsets).sum(-1) + self.compared.pair_lengths(self._coordinates.beyond) / rho

    def _intensity(self, name: str) -> Tensor:
        members = self.compared.weights.sign().T  # (M, N): a covariance of one row has no samples
        counts = self.compared.sums(members).clamp(min=1)  # (M, Q)
        ratio = self.compared.degrees / counts  # from the denominator of the covariance to n
        squares = lengths_of(self.square_products.detach()) * ratio.square()
        fourths = self.compared.sums(members * self.squared_rows.detach().square()) / counts.square()
        return estimate(name, squares, fourths, self._traces.detach() * ratio, counts, self.dimension)


def lengths_of(products: Tensor) -> Tensor:
    """Return |v_a|^2 from the inner products of vectors, (M, M, R) -> (M, R)."""
    identity = torch.eye(len(products), dtype=products.dtype, device=products.device)
    return (products * identity[:, :, None]).sum(1)

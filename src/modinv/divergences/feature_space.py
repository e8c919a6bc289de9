"""Gaussians with full covariance in feature space: the D x D covariances themselves, for more rows than dimensions."""

import torch
from torch import Tensor
from typing_extensions import override

from modinv._lazy import lazy
from modinv.divergences.gaussians import Gaussians, Midpoint, Pooled, Relative, contrasts, ridge
from modinv.divergences.layout import Layout, Pairs
from modinv.divergences.noise import excess_of_squares, inverse_counts
from modinv.divergences.shrinkage import estimate
from modinv.divergences.spectra import product_nuclear_norm, trace_square_root
from modinv.statistics import Statistics

__all__ = ["FeatureGaussians"]


class FeatureGaussians(Gaussians):
    """Gaussians of whole modalities known by their covariances (M, D, D): O(N D^2) and O(D^3).

    Args:
        statistics: of the batch.
        layout: of level ``"modality"``.
        shrinkage: alpha, or the name of an estimate of it.
    """

    def __init__(self, statistics: Statistics, layout: Layout, shrinkage: float | str) -> None:
        self.layout = layout
        rows, self._means = statistics.centered  # (N, D), (M, D)
        self._degrees = layout.degrees[:, 0].clamp(min=1).to(rows.dtype)  # (M,)
        members = layout.covariance_rows.transpose(0, 1).to(rows.dtype)  # (M, N, 1)
        self._samples = members * self._degrees.rsqrt()[:, None, None] * rows  # (M, N, D)
        self._traces = self._samples.square().sum((1, 2))  # (M,)
        self._shrunk = shrinkage != 0
        if isinstance(shrinkage, str):
            self._alpha = self._intensity(shrinkage, members.sum((1, 2)).clamp(min=1))
        else:
            self._alpha = self._traces.new_full((), shrinkage)
        self._resolution = statistics.resolution

    @override
    def squared_mean_distance(self, pairs: Pairs) -> Tensor:
        return pairs.sum(lambda a, b: self._offset(a, b).square().sum())

    @override
    def trace_sum(self, pairs: Pairs) -> Tensor:
        return pairs.sum(lambda a, b: self._traces[a] + self._traces[b])

    @override
    def root_trace(self, pairs: Pairs) -> Tensor:
        if self._shrunk:
            return pairs.sum(lambda a, b: trace_square_root(self._regular[a] @ self._regular[b]))
        return pairs.sum(lambda a, b: product_nuclear_norm(self._samples[a], self._samples[b]))

    @override
    def squared_covariance_distance(self, pairs: Pairs) -> Tensor:
        return pairs.sum(lambda a, b: (self._regular[a] - self._regular[b]).square().sum())

    @override
    def relative(self, pairs: Pairs) -> Relative:
        return Relative(
            pairs.sum(lambda a, b: _solve(self._factors[b], self._offset(a, b)[:, None]).square().sum()),
            pairs.sum(lambda a, b: _solve(self._factors[b], self._factors[a]).square().sum() - self._means.shape[1]),
        )

    @override
    def log_determinant_ratio(self, pairs: Pairs) -> Tensor:
        return pairs.sum(lambda a, b: self._log_determinants[b] - self._log_determinants[a])

    @override
    def midpoint(self, pairs: Pairs) -> Midpoint:
        factors = {(a, b): _factor((self._regular[a] + self._regular[b]) / 2) for a, b in pairs.ordered}
        logarithms = self._log_determinants
        return Midpoint(
            pairs.sum(lambda a, b: _solve(factors[a, b], self._offset(a, b)[:, None]).square().sum()),
            pairs.sum(lambda a, b: self._log_determinant(factors[a, b]) - (logarithms[a] + logarithms[b]) / 2),
        )

    @override
    def pooled(self, weights: Tensor, present: Tensor) -> Pooled:
        shares = (present / present.sum().clamp(min=1)).to(self._means.dtype)  # (M,)
        factor = _factor((shares[:, None, None] * self._regular).sum(0))
        offsets = (self._means - shares @ self._means) * shares.sqrt()[:, None]  # (M, D)
        offsets = contrasts(shares).T @ offsets  # (M - 1, D)
        whitened = _solve(factor, offsets.T)  # (D, M - 1)
        identity = torch.eye(len(offsets), dtype=whitened.dtype, device=whitened.device)
        between = torch.linalg.slogdet(identity + whitened.T @ whitened).logabsdet
        covariances = self._log_determinant(factor) - shares @ self._log_determinants
        weight = weights.sum()
        return Pooled(weight * between.to(weights.dtype), weight * covariances.to(weights.dtype))

    @override
    def mean_noise(self, pairs: Pairs) -> Tensor:
        noise = self._traces * inverse_counts(self.layout)[:, 0].to(self._traces.dtype)  # (M,)
        return pairs.sum(lambda a, b: noise[a] + noise[b])

    @override
    def covariance_noise(self, pairs: Pairs) -> Tensor:
        noise = excess_of_squares(self._covariances.square().sum((1, 2)), self._traces, self._degrees)  # (M,)
        return pairs.sum(lambda a, b: noise[a] + noise[b])

    @lazy
    def _covariances(self) -> Tensor:
        return self._samples.mT @ self._samples  # (M, D, D)

    @property
    def _identity(self) -> Tensor:
        return torch.eye(self._means.shape[1], dtype=self._means.dtype, device=self._means.device)

    @lazy
    def _regular(self) -> Tensor:
        """S of all modalities, (M, D, D)."""
        if not self._shrunk:
            return self._covariances
        rho = ridge(
            self._traces, self._means.square().sum(1), self._alpha, self._resolution, self._means.shape[1]
        )  # (M,)
        kept = (1 - self._alpha).expand_as(rho)
        return kept[:, None, None] * self._covariances + rho[:, None, None] * self._identity

    @lazy
    def _factors(self) -> Tensor:
        return _factor(self._regular)  # (M, D, D)

    @lazy
    def _log_determinants(self) -> Tensor:
        return self._log_determinant(self._factors)  # (M,)

    def _log_determinant(self, factor: Tensor) -> Tensor:
        return 2 * (factor * self._identity).sum(-1).log().sum(-1)

    def _offset(self, first: int, second: int) -> Tensor:
        return self._means[first] - self._means[second]  # (D,)

    def _intensity(self, name: str, counts: Tensor) -> Tensor:
        ratio = self._degrees / counts  # (M,): from the denominator n - 1 to n
        lengths = self._samples.detach().square().sum(2)  # (M, N)
        squares = self._covariances.detach().square().sum((1, 2))
        return estimate(
            name,
            squares * ratio.square(),
            lengths.square().sum(1) * ratio.square(),
            self._traces.detach() * ratio,
            counts,
            self._means.shape[1],
        )


def _factor(covariances: Tensor) -> Tensor:
    factor: Tensor = torch.linalg.cholesky_ex(covariances).L
    return factor


def _solve(factor: Tensor, columns: Tensor) -> Tensor:
    solved: Tensor = torch.linalg.solve_triangular(factor, columns, upper=False)
    return solved

"""Gaussians with diagonal or isotropic covariance: every answer is a sum over dimensions."""

import torch
from torch import Tensor
from typing_extensions import override

from modinv.distances import safe_sqrt
from modinv.divergences.gaussians import Gaussians, Midpoint, Pooled, Relative
from modinv.divergences.shrinkage import ridge
from modinv.groups import Comparisons, both_ways, joint_weights, pairs
from modinv.statistics import Statistics, lazy

__all__ = ["DiagonalGaussians", "centered_samples", "diagonal_gaussians"]


class DiagonalGaussians(Gaussians):
    """Gaussians known by their means and variances, at O(M R D).

    Args:
        means: (M, R, D).
        variances: (M, Q, D), or (M, Q, 1) where all dimensions have one variance.
        shrinkage: alpha; moves each variance towards the mean variance, so isotropic ones do not change. Default: 0.
        eps: relative rounding error of what the moments were made of; variances have a floor there. Default: 0, none.
        compared: which modalities are compared where; default: all in each comparison.
    """

    def __init__(
        self,
        means: Tensor,
        variances: Tensor,
        shrinkage: float = 0.0,
        *,
        eps: float = 0.0,
        compared: Comparisons | None = None,
    ) -> None:
        self.means = means
        self.raw = variances
        self.dimension = means.shape[2]
        self.repeats = self.dimension // variances.shape[2]
        self._shrinkage = shrinkage
        self._eps = eps
        self._compared = compared

    @override
    def squared_mean_distances(self) -> Tensor:
        return self.squared_offsets.sum(-1)

    @override
    def traces(self) -> Tensor:
        return self.sums(self._variances)

    @override
    def root_traces(self) -> Tensor:
        deviations = safe_sqrt(self._variances)
        return self.sums(torch.mul(*pairs(deviations)))

    @override
    def squared_covariance_distances(self) -> Tensor:
        return self.sums(torch.sub(*pairs(self._variances)).square())

    @override
    def log_determinants(self) -> Tensor:
        return self.sums(self.regular.log())

    @override
    def relative(self) -> Relative:
        mine = both_ways(self.regular)  # (2, P, Q, D)
        other = mine.flip(0)
        return Relative((self.squared_offsets / other).sum(-1), self.sums((mine - other) / other))

    @override
    def midpoints(self) -> Midpoint:
        a, b = pairs(self.regular)
        # log of arithmetic over geometric mean, with no cancellation where the variances are close
        excess = self.sums(((a - b).square() / (a * b) / 4).log1p()) / 2
        return Midpoint((2 * self.squared_offsets / (a + b)).sum(-1), excess)

    @override
    def joint_weights(self) -> tuple[Tensor, Tensor]:
        if self._compared is not None:
            return joint_weights(self._compared)
        return self.means.new_ones(self.means.shape[1]), self.means.new_full((len(self.means),), 1 / len(self.means))

    @override
    def pooled(self, weights: Tensor, shares: Tensor) -> Pooled:
        shares = shares[:, None, None]  # (M, 1, 1)
        middle = (shares * self.regular).sum(0)  # (Q, D)
        between = (shares * (self.means - (shares * self.means).sum(0)).square()).sum(0)  # (R, D)
        if self.repeats > 1:
            between = between.mean(1, keepdim=True)
        excess = self.sums(middle.log() - (shares * self.regular.log()).sum(0))
        return Pooled(self.sums((between / middle).log1p()), excess)

    @lazy
    def squared_offsets(self) -> Tensor:
        """(mu_a - mu_b)^2 in each dimension, (P, R, D)."""
        return torch.sub(*pairs(self.means)).square()

    @lazy
    def regular(self) -> Tensor:
        """S of all Gaussians, positive, (M, Q, D or 1)."""
        if not self._eps:
            return self._variances
        traces, squared_means = self.sums(self.raw), self.means.square().sum(2)  # (M, Q), (M, R)
        rho = ridge(traces, squared_means, self._shrinkage, self._eps, self.dimension)
        return (1 - self._shrinkage) * self.raw + rho[:, :, None]

    @lazy
    def _variances(self) -> Tensor:
        """S of all Gaussians where it may be singular."""
        return self.raw.lerp(self.raw.mean(2, keepdim=True), self._shrinkage) if self._shrinkage else self.raw

    def sums(self, values: Tensor) -> Tensor:
        """Add up over all dimensions, (…, D or 1) -> (…)."""
        return self.repeats * values.sum(-1)


def diagonal_gaussians(
    statistics: Statistics, compared: Comparisons, shrinkage: float, *, isotropic: bool
) -> DiagonalGaussians:
    """Return the Gaussians of a batch with their variances, or the mean of their variances, without a Gram matrix."""
    rows, means = centered_samples(statistics, compared)
    weights = compared.weights[:, :, None]  # (N, M, Q)
    if compared.belongs is not None:
        weights = weights * compared.belongs[:, None]
    sums = weights.flatten(1).to(rows.dtype).T @ rows.square()  # (M Q, D)
    variances = sums.view(*weights.shape[1:], -1).to(means.dtype)
    if isotropic:
        variances = variances.mean(2, keepdim=True)
    return DiagonalGaussians(means, variances, shrinkage, eps=statistics.input_eps, compared=compared)


def centered_samples(statistics: Statistics, compared: Comparisons) -> tuple[Tensor, Tensor]:
    """Return the rows around the means of their covariances (N, D), and all means (M, R, D) in the full type."""
    rows, means = statistics.centered  # (N, D), (M, D)
    means = means[:, None].to(statistics.dtype)
    if compared.averaging is None:
        return rows, means
    sums = compared.averaging.flatten(1).to(rows.dtype).T @ rows  # (M R, D)
    means = means + sums.view(*compared.averaging.shape[1:], -1).to(statistics.dtype)
    return compared.around(rows), means

"""Gaussians with diagonal or isotropic covariance: every answer is a sum over dimensions."""

from torch import Tensor
from typing_extensions import override

from modinv._lazy import lazy
from modinv.distances import safe_sqrt
from modinv.divergences.gaussians import Gaussians, Midpoint, Pooled, Relative, ridge
from modinv.divergences.layout import Layout, Pair
from modinv.divergences.noise import inverse_counts, logarithm_excess, of_both
from modinv.statistics import Statistics

__all__ = ["DiagonalGaussians"]


class DiagonalGaussians(Gaussians):
    """Gaussians known by their variances, (M, R, D), or (M, R, 1) where all dimensions have one variance.

    Costs O(M N D) beside the variances, O(N R D) for them; no Gram matrix.

    Args:
        statistics: of the batch.
        layout: of the level.
        shrinkage: alpha; moves each variance towards the mean variance, so isotropic ones do not change.
        isotropic: whether the covariance is the mean variance times the identity.
    """

    def __init__(self, statistics: Statistics, layout: Layout, shrinkage: float, *, isotropic: bool) -> None:
        self.layout = layout
        rows, means = statistics.centered  # (N, D), (M, D)
        self._means = means[:, None].to(statistics.dtype)  # (M, 1, D)
        if layout.averaging is not None and layout.cells is not None:  # a level of identities has both
            self._means = self._means + (layout.averaging.to(rows.dtype).mT @ rows).to(statistics.dtype)  # (M, R, D)
            rows = rows - layout.cells.to(rows.dtype) @ rows
        sums = (layout.covariance_rows.to(rows.dtype).mT @ rows.square()).to(statistics.dtype)  # (M, R, D)
        self._raw = sums / layout.degrees.clamp(min=1)[:, :, None]
        if isotropic:
            self._raw = self._raw.mean(2, keepdim=True)  # (M, R, 1)
        self._repeats = rows.shape[1] // self._raw.shape[2]
        self._shrinkage = shrinkage
        self._resolution = statistics.resolution

    @override
    def squared_mean_distance(self, pair: Pair) -> Tensor:
        return self._squared_offset(pair).sum(1) @ pair.weights

    @override
    def trace_sum(self, pair: Pair) -> Tensor:
        return self._sum(self._variances[pair.first] + self._variances[pair.second]) @ pair.weights

    @override
    def root_trace(self, pair: Pair) -> Tensor:
        deviations = safe_sqrt(self._variances)
        return self._sum(deviations[pair.first] * deviations[pair.second]) @ pair.weights

    @override
    def squared_covariance_distance(self, pair: Pair) -> Tensor:
        return self._sum((self._variances[pair.first] - self._variances[pair.second]).square()) @ pair.weights

    @override
    def relative(self, pair: Pair) -> Relative:
        mine, other = self._regular[pair.first], self._regular[pair.second]
        mahalanobis = (self._squared_offset(pair) / other).sum(1)
        return Relative(mahalanobis @ pair.weights, self._sum(mine / other - 1) @ pair.weights)

    @override
    def log_determinant_ratio(self, pair: Pair) -> Tensor:
        logarithms = self._regular.log()
        return self._sum(logarithms[pair.second] - logarithms[pair.first]) @ pair.weights

    @override
    def midpoint(self, pair: Pair) -> Midpoint:
        mine, other = self._regular[pair.first], self._regular[pair.second]
        middle = (mine + other) / 2
        mahalanobis = (self._squared_offset(pair) / middle).sum(1)
        excess = self._sum(middle.log() - (mine.log() + other.log()) / 2)
        return Midpoint(mahalanobis @ pair.weights, excess @ pair.weights)

    @override
    def pooled(self, weights: Tensor, present: Tensor) -> Pooled:
        shares = (present / present.sum().clamp(min=1))[:, None, None]  # (M, 1, 1)
        middle = (shares * self._regular).sum(0)  # (R, D)
        between = (shares * (self._means - (shares * self._means).sum(0)).square()).sum(0)  # (R, D)
        if self._repeats > 1:
            between = between.mean(1, keepdim=True)
        excess = self._sum(middle.log() - (shares * self._regular.log()).sum(0))
        return Pooled(self._sum((between / middle).log1p()) @ weights, excess @ weights)

    @override
    def mean_noise(self, pair: Pair) -> Tensor:
        return of_both(self._sum(self._raw) * inverse_counts(self.layout), pair)

    @override
    def covariance_noise(self, pair: Pair) -> Tensor:
        return of_both(self._sum(2 * self._raw.square() / (self._variance_degrees + 2)), pair)

    @override
    def relative_noise(self, pair: Pair) -> Relative:
        mine, other = self._regular[pair.first], self._regular[pair.second]
        lost = 2 / self._variance_degrees[pair.second].clamp(min=3)  # (R, 1): by this share 1 / v_b is too large
        shares = inverse_counts(self.layout)[:, :, None]  # (M, R, 1)
        squares = lost * self._squared_offset(pair) + (1 - lost) * shares[pair.first] * mine  # (R, D)
        mahalanobis = (squares / other + shares[pair.second]).sum(1)
        return Relative(mahalanobis @ pair.weights, self._sum(lost * mine / other) @ pair.weights)

    @override
    def log_determinant_noise(self, pair: Pair) -> Tensor:
        excess = self._sum(logarithm_excess(self._variance_degrees.clamp(min=3)).expand_as(self._raw))  # (M, R)
        return (excess[pair.second] - excess[pair.first]) @ pair.weights

    @property
    def _variance_degrees(self) -> Tensor:
        """Degrees of each variance, (M, R, 1): where all dimensions have one variance, those of all of them."""
        return self._repeats * self.layout.degrees[:, :, None]

    @lazy
    def _variances(self) -> Tensor:
        """S of all Gaussians where it may be singular."""
        return self._raw.lerp(self._raw.mean(2, keepdim=True), self._shrinkage) if self._shrinkage else self._raw

    @lazy
    def _regular(self) -> Tensor:
        """S of all Gaussians, positive."""
        rho = ridge(
            self._raw.mean(2), self._means.square().mean(2), self._raw.new_tensor(self._shrinkage), self._resolution
        )  # (M, R)
        return (1 - self._shrinkage) * self._raw + rho[:, :, None]

    def _sum(self, values: Tensor) -> Tensor:
        return self._repeats * values.sum(-1)  # (R,) of (R, D)

    def _squared_offset(self, pair: Pair) -> Tensor:
        return (self._means[pair.first] - self._means[pair.second]).square()  # (R, D)

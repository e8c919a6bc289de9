"""Gaussians with diagonal or isotropic covariance: every answer is a sum over dimensions."""

from torch import Tensor
from typing_extensions import override

from modinv._lazy import lazy
from modinv.distances import safe_sqrt
from modinv.divergences.gaussians import Gaussians, Midpoint, Pooled, Relative, ridge
from modinv.divergences.layout import Layout, Pairs
from modinv.divergences.noise import inverse_counts, logarithm_excess
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
            self._means = self._means + _combine(layout.averaging, rows).to(statistics.dtype)  # (M, R, D)
            rows = rows - layout.cells.to(rows.dtype) @ rows
        sums = _combine(layout.covariance_rows, rows.square()).to(statistics.dtype)  # (M, R, D)
        self._raw = sums / layout.degrees.clamp(min=1)[:, :, None]
        if isotropic:
            self._raw = self._raw.mean(2, keepdim=True)  # (M, R, 1)
        self._repeats = rows.shape[1] // self._raw.shape[2]
        self._shrinkage = shrinkage
        self._resolution = statistics.resolution

    @override
    def squared_mean_distance(self, pairs: Pairs) -> Tensor:
        return pairs.sum(lambda a, b: self._squared_offset(a, b).sum(1))

    @override
    def trace_sum(self, pairs: Pairs) -> Tensor:
        return pairs.sum(lambda a, b: self._sum(self._variances[a] + self._variances[b]))

    @override
    def root_trace(self, pairs: Pairs) -> Tensor:
        deviations = safe_sqrt(self._variances)
        return pairs.sum(lambda a, b: self._sum(deviations[a] * deviations[b]))

    @override
    def squared_covariance_distance(self, pairs: Pairs) -> Tensor:
        return pairs.sum(lambda a, b: self._sum((self._variances[a] - self._variances[b]).square()))

    @override
    def relative(self, pairs: Pairs) -> Relative:
        precisions = 1 / self._regular
        return Relative(
            pairs.sum(lambda a, b: (self._squared_offset(a, b) * precisions[b]).sum(1)),
            pairs.sum(lambda a, b: self._sum(self._regular[a] * precisions[b] - 1)),
        )

    @override
    def log_determinant_ratio(self, pairs: Pairs) -> Tensor:
        logarithms = self._sum(self._regular.log())  # (M, R)
        return pairs.sum(lambda a, b: logarithms[b] - logarithms[a])

    @override
    def midpoint(self, pairs: Pairs) -> Midpoint:
        logarithms = self._regular.log()
        middles = {(a, b): (self._regular[a] + self._regular[b]) / 2 for a, b in pairs.ordered}
        return Midpoint(
            pairs.sum(lambda a, b: (self._squared_offset(a, b) / middles[a, b]).sum(1)),
            pairs.sum(lambda a, b: self._sum(middles[a, b].log() - (logarithms[a] + logarithms[b]) / 2)),
        )

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
    def mean_noise(self, pairs: Pairs) -> Tensor:
        return (self._sum(self._raw) * inverse_counts(self.layout) * pairs.degrees).sum()

    @override
    def covariance_noise(self, pairs: Pairs) -> Tensor:
        noise = self._sum(2 * self._raw.square() / (self._variance_degrees + 2))  # (M, R)
        return (noise * pairs.degrees).sum()

    @override
    def relative_noise(self, pairs: Pairs) -> Relative:
        variances, shares = self._regular, inverse_counts(self.layout)[:, :, None]  # (M, R, D), (M, R, 1)
        lost = 2 / self._variance_degrees.clamp(min=3)  # (M, R, 1): by this share 1 / v is too large

        def squares(a: int, b: int) -> Tensor:
            return lost[b] * self._squared_offset(a, b) + (1 - lost[b]) * shares[a] * variances[a]  # (R, D)

        return Relative(
            pairs.sum(lambda a, b: (squares(a, b) / variances[b] + shares[b]).sum(1)),
            pairs.sum(lambda a, b: self._sum(lost[b] * variances[a] / variances[b])),
        )

    @override
    def log_determinant_noise(self, pairs: Pairs) -> Tensor:
        excess = self._sum(logarithm_excess(self._variance_degrees.clamp(min=3)).expand_as(self._raw))  # (M, R)
        return pairs.sum(lambda a, b: excess[b] - excess[a])

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
        squared_means = self._means.square().sum(2)  # (M, R)
        traces = self._sum(self._raw)  # (M, R)
        rho = ridge(traces, squared_means, self._shrinkage, self._resolution, self._means.shape[2])
        return (1 - self._shrinkage) * self._raw + rho[:, :, None]

    def _sum(self, values: Tensor) -> Tensor:
        return self._repeats * values.sum(-1)  # (..., R)

    def _squared_offset(self, first: int, second: int) -> Tensor:
        return (self._means[first] - self._means[second]).square()  # (R, D)


def _combine(weights: Tensor, rows: Tensor) -> Tensor:
    """Return the weighted sums of the rows, (N, M, R) and (N, D) -> (M, R, D)."""
    sums = weights.flatten(1).to(rows.dtype).T @ rows  # (M R, D)
    return sums.view(*weights.shape[1:], rows.shape[1])

"""Gaussians with diagonal or isotropic covariance: every answer is a sum over dimensions."""

from torch import Tensor
from typing_extensions import override

from modinv.distances import safe_sqrt
from modinv.divergences.gaussians import Gaussians, Relative, ridge
from modinv.statistics import Statistics

__all__ = ["DiagonalGaussians"]


class DiagonalGaussians(Gaussians):
    """Gaussians with variances (M, D): O(N D) for the variances, O(M^2 D) for the rest.

    Args:
        statistics: of the batch.
        shrinkage: alpha; moves each variance towards the mean variance of its modality.
    """

    def __init__(self, statistics: Statistics, shrinkage: float) -> None:
        degrees = (statistics.counts - 1).clamp(min=1)  # (M,)
        rows, means = statistics.centered
        squares = statistics.membership.T.to(rows.dtype) @ rows.square()  # (M, D)
        variances = squares.to(statistics.dtype) / degrees[:, None]
        self.means = means.to(statistics.dtype)  # (M, D)
        self._raw = variances
        self._shrinkage = shrinkage
        self._resolution = statistics.resolution
        target = variances.mean(1, keepdim=True)
        self.variances = variances.lerp(target, shrinkage) if shrinkage else variances  # (M, D)

    @override
    def squared_mean_distances(self) -> Tensor:
        return _differences(self.means).square().sum(-1)

    @override
    def traces(self) -> Tensor:
        return self.variances.sum(1)

    @override
    def root_traces(self) -> Tensor:
        deviations = safe_sqrt(self.variances)
        return (deviations @ deviations.T).triu(1)

    @override
    def squared_covariance_distances(self) -> Tensor:
        return _differences(self.variances).square().sum(-1)

    @override
    def relative(self) -> Relative:
        rho = ridge(self._raw.mean(1), self.means.square().mean(1), self._shrinkage, self._resolution)  # (M,)
        shrunk = (1 - self._shrinkage) * self._raw + rho[:, None]  # (M, D)
        ratios = shrunk[:, None] / shrunk  # (M, M, D): v_a / v_b
        distances = _differences(self.means).square() / shrunk  # (M, M, D)
        return Relative((ratios - 1).sum(-1), distances.sum(-1))


def _differences(values: Tensor) -> Tensor:
    return values[:, None] - values  # (M, M, D)

"""What a divergence asks of the Gaussians that it compares, whatever form their covariances have.

S is a covariance after shrinkage, S = (1 - alpha) Sigma + alpha (tr Sigma / D) I. Every answer about pairs of Gaussians
is a number, the sum over all pairs (a, b) and comparisons with their weights.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from modinv.divergences.layout import Layout, Pairs

__all__ = ["Gaussians", "Midpoint", "Pooled", "Relative", "contrasts", "ridge"]


class Relative(NamedTuple):
    """The first Gaussian of each pair in the metric of the second."""

    mahalanobis: Tensor  # (): delta^T S_b^-1 delta, delta = mu_a - mu_b
    excess_trace: Tensor  # (): tr(S_b^-1 S_a) - D


class Midpoint(NamedTuple):
    """The pairs around the mean of their covariances, S* = (S_a + S_b) / 2."""

    mahalanobis: Tensor  # (): delta^T S*^-1 delta
    excess_log_determinant: Tensor  # (): log det S* - (log det S_a + log det S_b) / 2


class Pooled(NamedTuple):
    """All modalities against their pooled Gaussian, whose covariance is S* (their mean covariance) + S_means."""

    means: Tensor  # (): log det(S* + S_means) - log det S*
    covariances: Tensor  # (): log det S* - the mean of log det S_m


class Gaussians:
    """M Gaussians for each comparison, in a form that a subclass knows."""

    layout: Layout

    def squared_mean_distance(self, pairs: Pairs) -> Tensor:
        """Return |mu_a - mu_b|^2, ()."""
        raise NotImplementedError

    def trace_sum(self, pairs: Pairs) -> Tensor:
        """Return tr S_a + tr S_b, ()."""
        raise NotImplementedError

    def root_trace(self, pairs: Pairs) -> Tensor:
        """Return tr (S_a^(1/2) S_b S_a^(1/2))^(1/2), ()."""
        raise NotImplementedError

    def squared_covariance_distance(self, pairs: Pairs) -> Tensor:
        """Return the squared Frobenius norm of S_a - S_b, ()."""
        raise NotImplementedError

    def relative(self, pairs: Pairs) -> Relative:
        """Return the first Gaussians in the metric of the second."""
        raise NotImplementedError

    def log_determinant_ratio(self, pairs: Pairs) -> Tensor:
        """Return log det S_b - log det S_a, ()."""
        raise NotImplementedError

    def midpoint(self, pairs: Pairs) -> Midpoint:
        """Return the pairs around the mean of their covariances."""
        raise NotImplementedError

    def pooled(self, weights: Tensor, present: Tensor) -> Pooled:
        """Return all modalities at once against the Gaussian with their pooled moments.

        Args:
            weights: of the comparisons, (R,).
            present: which modalities take part, 0 or 1, (M,); each of them counts the same.
        """
        raise NotImplementedError

    # What sampling adds to an answer on the average (see modinv.divergences.noise): asked of the Gaussians of a batch.

    def mean_noise(self, pairs: Pairs) -> Tensor:
        """Return what sampling adds to |mu_a - mu_b|^2, ()."""
        raise NotImplementedError

    def covariance_noise(self, pairs: Pairs) -> Tensor:
        """Return what sampling adds to the squared Frobenius norm of Sigma_a - Sigma_b, ()."""
        raise NotImplementedError

    def relative_noise(self, pairs: Pairs) -> Relative:
        """Return what sampling adds to the parts of :meth:`relative`."""
        raise NotImplementedError

    def log_determinant_noise(self, pairs: Pairs) -> Tensor:
        """Return what sampling adds to log det S_b - log det S_a, ()."""
        raise NotImplementedError


def contrasts(shares: Tensor) -> Tensor:
    """Return an orthonormal basis of what is orthogonal to the square roots of the shares, (M, M - 1).

    Offsets from a weighted mean, each times the square root of its share, lie in that space: a determinant taken in it
    has no zero eigenvalue to lose its digits to. The last columns of a Householder reflection.

    Args:
        shares: not negative, of sum 1, (M,).
    """
    identity = torch.eye(len(shares), dtype=shares.dtype, device=shares.device)
    normal = shares.sqrt() + identity[0]
    return (identity - 2 * torch.outer(normal, normal) / normal.square().sum())[:, 1:]


def ridge(traces: Tensor, squared_means: Tensor, alpha: Tensor | float, resolution: float, dimension: int) -> Tensor:
    """Return what shrinkage adds to the diagonal of each covariance, alpha tr Sigma / D, with a floor.

    The floor is the variance that rounding the features leaves: rows that are all equal keep a positive definite
    covariance, and any other is as the formula says.

    Args:
        traces: tr Sigma of each Gaussian, (M, R).
        squared_means: |mu|^2 around a common origin, any shape; only its mean is used.
        alpha: shrinkage, a number or (M, R).
        resolution: relative rounding error of the features.
        dimension: D.
    """
    floor = (traces.detach().mean() + squared_means.detach().mean()) * (resolution**2 / dimension) + 1e-30
    return (alpha / dimension * traces).clamp(min=floor)

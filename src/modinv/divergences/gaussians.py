"""What a divergence asks of a set of M Gaussians, whatever form their covariances have.

Every answer is for all modalities or all ordered pairs at once. S_a is the covariance of modality a after shrinkage,
S_a = (1 - alpha) Sigma_a + alpha (tr Sigma_a / D) I, with Sigma_a of denominator n_a - 1.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["Gaussians", "Relative", "fill_pairs", "ridge"]


class Relative(NamedTuple):
    """The covariance and the mean of one Gaussian in the metric of another; entry [a, b] is measured with S_b."""

    excess_trace: Tensor  # (M, M): tr(S_b^-1 S_a) - D
    mahalanobis: Tensor  # (M, M): (mu_a - mu_b)^T S_b^-1 (mu_a - mu_b)


class Gaussians:
    """M Gaussians in D dimensions, in a form that a subclass knows."""

    def squared_mean_distances(self) -> Tensor:
        """Return |mu_a - mu_b|^2, (M, M)."""
        raise NotImplementedError

    def traces(self) -> Tensor:
        """Return tr S_a, (M,)."""
        raise NotImplementedError

    def root_traces(self) -> Tensor:
        """Return tr (S_a^(1/2) S_b S_a^(1/2))^(1/2), (M, M); the entries with a < b are filled, the rest is zero."""
        raise NotImplementedError

    def squared_covariance_distances(self) -> Tensor:
        """Return the squared Frobenius norm of S_a - S_b, (M, M)."""
        raise NotImplementedError

    def relative(self) -> Relative:
        """Return traces and means relative to each covariance; needs shrinkage above 0."""
        raise NotImplementedError


def ridge(variances: Tensor, means: Tensor, shrinkage: float, resolution: float) -> Tensor:
    """Return what shrinkage adds to the diagonal of each covariance, alpha tr Sigma_a / D, with a floor, (M,).

    The floor is the variance that rounding the features leaves: a modality whose rows are all equal keeps a positive
    definite covariance, and any other is as the formula says.

    Args:
        variances: mean variance of each modality, tr Sigma_a / D, (M,).
        means: mean square of each modality's mean, |mu_a|^2 / D, (M,).
        shrinkage: alpha.
        resolution: relative rounding error of the features.
    """
    floor = resolution**2 * (variances + means).detach().mean() + 1e-30
    return torch.maximum(shrinkage * variances, floor)


def fill_pairs(value: Callable[[int, int], Tensor], like: Tensor) -> Tensor:
    """Return the matrix of ``value(a, b)`` for a < b and zero elsewhere, (M, M), for ``like`` of shape (M,)."""
    size, zero = len(like), like.new_zeros(())
    return torch.stack([value(a, b) if a < b else zero for a in range(size) for b in range(size)]).view(size, size)

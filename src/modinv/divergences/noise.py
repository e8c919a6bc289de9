"""What sampling adds to a divergence on the average, where an estimate of it without bias exists.

Let n rows make a mean mu^, and nu degrees a covariance S^, of independent Gaussian rows with covariance Sigma (nu is
n - 1, or what the level says). Then, with variances v on the diagonal,

    E |mu_a^ - mu_b^|^2 = |mu_a - mu_b|^2 + tr Sigma_a / n_a + tr Sigma_b / n_b      (rows of any distribution)
    E tr S^^2           = (1 + 1 / nu) tr Sigma^2 + (tr Sigma)^2 / nu
    E (tr S^)^2         = (tr Sigma)^2 + (2 / nu) tr Sigma^2
    E 1 / v^            = nu / ((nu - 2) v)
    E log v^            = log v + digamma(nu / 2) - log(nu / 2)

and the mean, the covariance and the other Gaussian are independent of each other. Solved for the terms without a hat,
these are estimates whose average over many batches is the true value. A divergence that has no such form is not here.

Reference: the second and third line solved for tr Sigma^2 are the estimate of Srivastava, "Some tests concerning the
covariance matrix in high dimensional data", 2005; the last two are the moments of a chi-squared variable.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from modinv.divergences.formulas import Parts
from modinv.divergences.gaussians import Gaussians
from modinv.divergences.layout import Layout, Pairs

__all__ = ["NOISES", "Noise", "excess_of_squares", "inverse_counts", "logarithm_excess"]


class Noise(NamedTuple):
    """What sampling adds to a divergence, and how many degrees its covariances need for the estimate of it to exist."""

    of: Callable[[Gaussians, Pairs], Parts]
    least_degrees: int

    def comparable(self, layout: Layout) -> Layout:
        """Return the layout without the Gaussians that have too few degrees."""
        rows, degrees, present, *others = layout
        return Layout(rows, degrees, present * (degrees >= self.least_degrees), *others)


def _moments(gaussians: Gaussians, pairs: Pairs) -> Parts:
    return Parts(gaussians.mean_noise(pairs), gaussians.covariance_noise(pairs))


def _wasserstein(gaussians: Gaussians, pairs: Pairs) -> Parts:
    # Nothing is taken off the covariance part: the mean of a nuclear norm of samples has no closed form.
    noise = gaussians.mean_noise(pairs)
    return Parts(noise, torch.zeros_like(noise))


def _kl(gaussians: Gaussians, pairs: Pairs) -> Parts:
    relative = gaussians.relative_noise(pairs)
    excess = relative.excess_trace + gaussians.log_determinant_noise(pairs)
    return Parts(relative.mahalanobis / 2, excess / 2)


def _jeffreys(gaussians: Gaussians, pairs: Pairs) -> Parts:
    relative = gaussians.relative_noise(pairs.both_ways())
    return Parts(relative.mahalanobis / 4, relative.excess_trace / 4)


# By divergence and covariance. A variance estimated from two degrees has an inverse of infinite mean.
NOISES: Mapping[tuple[str, str], Noise] = {
    ("moments", "full"): Noise(_moments, 2),
    ("moments", "diagonal"): Noise(_moments, 1),
    ("moments", "isotropic"): Noise(_moments, 1),
    ("wasserstein", "full"): Noise(_wasserstein, 1),
    ("wasserstein", "diagonal"): Noise(_wasserstein, 1),
    ("wasserstein", "isotropic"): Noise(_wasserstein, 1),
    ("kl", "diagonal"): Noise(_kl, 3),
    ("kl", "isotropic"): Noise(_kl, 3),
    ("jeffreys", "diagonal"): Noise(_jeffreys, 3),
    ("jeffreys", "isotropic"): Noise(_jeffreys, 3),
}


def inverse_counts(layout: Layout) -> Tensor:
    """Return one over the rows of each mean, (M, R): the variance of the mean of rows of variance one."""
    return 1 / (layout.degrees + 1) if layout.averaging is None else layout.averaging.square().sum(0)


def excess_of_squares(squares: Tensor, traces: Tensor, degrees: Tensor) -> Tensor:
    """Return by how much tr S^^2 exceeds the estimate of tr Sigma^2 that is right on the average.

    The estimate is nu^2 / ((nu - 1)(nu + 2)) [tr S^^2 - (tr S^)^2 / nu], nu at least 2.

    Args:
        squares: tr S^^2.
        traces: tr S^.
        degrees: nu.
    """
    degrees = degrees.clamp(min=2)
    scale = degrees.square() / ((degrees - 1) * (degrees + 2))
    return squares - scale * (squares - traces.square() / degrees)


def logarithm_excess(degrees: Tensor) -> Tensor:
    """Return by how much log v^ exceeds log v on the average, a negative number."""
    return torch.digamma(degrees / 2) - (degrees / 2).log()

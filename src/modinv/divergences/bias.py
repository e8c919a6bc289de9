"""What sampling adds to a divergence on the average, where an estimate of it without bias exists.

Let the rows be independent and Gaussian, with covariance Sigma and variances v on its diagonal. Let n of them make a
mean mu^, and let their covariance S^ have nu degrees of freedom: n - 1, or what the level says. Then

    E |mu_a^ - mu_b^|^2 = |mu_a - mu_b|^2 + tr Sigma_a / n_a + tr Sigma_b / n_b      (rows of any distribution)
    E tr S^^2           = (1 + 1 / nu) tr Sigma^2 + (tr Sigma)^2 / nu
    E (tr S^)^2         = (tr Sigma)^2 + (2 / nu) tr Sigma^2
    E 1 / v^            = nu / ((nu - 2) v)
    E log v^            = log v + digamma(nu / 2) - log(nu / 2)

The mean, the covariance and the other Gaussian are independent of each other. Solved for the terms without a hat, these
lines are estimates: their average over many batches is the true value. A divergence without such a form is not here.

Reference: the second and third line give the estimate of tr Sigma^2 by Srivastava, "Some tests concerning the
covariance matrix in high dimensional data", 2005. The last two are moments of a chi-squared variable.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from modinv.divergences.dense import DenseGaussians
from modinv.divergences.diagonal import DiagonalGaussians
from modinv.divergences.gaussians import Gaussians, Parts, Relative, lengths_of
from modinv.groups import Comparisons, both_ways, pairs

__all__ = ["JEFFREYS", "KL", "MOMENTS", "WASSERSTEIN", "Bias"]


class Bias(NamedTuple):
    """What sampling adds to a divergence of Gaussians in one form."""

    of: Callable[[Any, Comparisons], Parts]  # the form, what is compared -> (P, R)
    least_degrees: int  # degrees of freedom that the covariances need for it to exist

    def taken_off(self, parts: Parts, gaussians: Gaussians, compared: Comparisons) -> Parts:
        """Return the parts of a divergence without it."""
        mean, covariance = self.of(gaussians, compared)
        return Parts(parts.mean - mean, parts.covariance - covariance)


def _mean(gaussians: Gaussians, compared: Comparisons) -> Tensor:
    """Return what sampling adds to |mu_a - mu_b|^2, (P, R)."""
    return torch.add(*pairs(gaussians.traces() / compared.counts.clamp(min=1)))


def _wasserstein(gaussians: Gaussians, compared: Comparisons) -> Parts:
    # Nothing is taken off the covariance part: the mean of a nuclear norm of samples has no closed form.
    mean = _mean(gaussians, compared)
    return Parts(mean, torch.zeros_like(mean))


def _full_moments(gaussians: DenseGaussians, compared: Comparisons) -> Parts:
    degrees, squares = compared.degrees.clamp(min=2), lengths_of(gaussians.square_products)  # (M, Q): nu, tr S^^2
    scale = degrees.square() / ((degrees - 1) * (degrees + 2))
    excess = squares - scale * (squares - gaussians.traces().square() / degrees)
    return Parts(_mean(gaussians, compared), torch.add(*pairs(excess)))


def _diagonal_moments(gaussians: DiagonalGaussians, compared: Comparisons) -> Parts:
    excess = gaussians.sums(2 * gaussians.raw.square() / (_degrees(gaussians, compared, 0) + 2))  # (M, Q)
    return Parts(_mean(gaussians, compared), torch.add(*pairs(excess)))


def _kl(gaussians: DiagonalGaussians, compared: Comparisons) -> Parts:
    degrees = _degrees(gaussians, compared, 3)
    excess = torch.digamma(degrees / 2) - (degrees / 2).log()  # (M, Q, 1): log v^ over log v on the average
    a, b = pairs(gaussians.sums(excess.expand_as(gaussians.raw)))  # (P, Q)
    relative = _relative(gaussians, compared)
    return Parts(relative.mahalanobis[0] / 2, (relative.excess_trace[0] + b - a) / 2)


def _jeffreys(gaussians: DiagonalGaussians, compared: Comparisons) -> Parts:
    relative = _relative(gaussians, compared)
    return Parts(relative.mahalanobis.sum(0) / 4, relative.excess_trace.sum(0) / 4)


def _relative(gaussians: DiagonalGaussians, compared: Comparisons) -> Relative:
    """Return what sampling adds to the parts of `DiagonalGaussians.relative`."""
    mine, shares, degrees = (
        both_ways(values)
        for values in (
            gaussians.regular,  # (2, P, Q, D)
            1 / compared.counts.clamp(min=1)[:, :, None],  # (2, P, R, 1)
            _degrees(gaussians, compared, 3),  # (2, P, Q, 1)
        )
    )
    other, lost = mine.flip(0), 2 / degrees.flip(0)  # by this share 1 / v is too large
    squares = lost * gaussians.squared_offsets + (1 - lost) * shares * mine  # (2, P, R, D)
    return Relative((squares / other + shares.flip(0)).sum(-1), gaussians.sums(lost * mine / other))


def _degrees(gaussians: DiagonalGaussians, compared: Comparisons, least: int) -> Tensor:
    """Degrees of freedom of each variance, (M, Q, 1): where all dimensions have one variance, those of all of them."""
    return (gaussians.repeats * compared.degrees[:, :, None]).clamp(min=least)


# By the form of the covariance. A variance estimated from two degrees of freedom has an inverse of infinite mean.
MOMENTS: Mapping[str, Bias] = {
    "full": Bias(_full_moments, 2),
    "diagonal": Bias(_diagonal_moments, 1),
    "isotropic": Bias(_diagonal_moments, 1),
}
WASSERSTEIN: Mapping[str, Bias] = dict.fromkeys(("full", "diagonal", "isotropic"), Bias(_wasserstein, 1))
KL: Mapping[str, Bias] = dict.fromkeys(("diagonal", "isotropic"), Bias(_kl, 3))
JEFFREYS: Mapping[str, Bias] = dict.fromkeys(("diagonal", "isotropic"), Bias(_jeffreys, 3))

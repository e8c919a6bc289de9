"""Two Gaussians to one number: each divergence written once, for every form of covariance.

All of them answer for all ordered pairs [a, b] of M Gaussians at once, in two parts: what the means contribute and
what the covariances contribute. Nothing is divided by D here.
"""

from typing import NamedTuple

from torch import Tensor

from modinv.divergences.gaussians import Gaussians

__all__ = ["Parts", "jeffreys", "moments", "wasserstein"]


class Parts(NamedTuple):
    """The two parts of a divergence for all ordered pairs; their sum is the divergence."""

    mean: Tensor  # (M, M)
    covariance: Tensor  # (M, M)


def wasserstein(gaussians: Gaussians) -> Parts:
    """Return the squared 2-Wasserstein distance.

    |mu_a - mu_b|^2 + tr S_a + tr S_b - 2 tr (S_a^(1/2) S_b S_a^(1/2))^(1/2), for a < b.

    Reference: Dowson and Landau, "The Fréchet distance between multivariate normal distributions", 1982, eq. 4.
    """
    traces = gaussians.traces()
    covariance = traces[:, None] + traces - 2 * gaussians.root_traces()
    return Parts(gaussians.squared_mean_distances(), covariance)


def jeffreys(gaussians: Gaussians) -> Parts:
    """Return the Jeffreys divergence, KL(a || b) / 2 + KL(b || a) / 2.

    (1/4) [tr S_b^-1 S_a + tr S_a^-1 S_b - 2 D + delta^T (S_a^-1 + S_b^-1) delta]: the log-determinants cancel.

    Reference: Jeffreys, "An invariant form for the prior probability in estimation problems", 1946 (there the sum of
    both directions, here their mean).
    """
    relative = gaussians.relative()
    mean = (relative.mahalanobis + relative.mahalanobis.T) / 4
    return Parts(mean, (relative.excess_trace + relative.excess_trace.T) / 4)


def moments(gaussians: Gaussians) -> Parts:
    """Return the squared distance of the first two moments, |mu_a - mu_b|^2 + |S_a - S_b|_F^2.

    Reference: the covariance part is that of Sun and Saenko, "Deep CORAL", 2016, eq. 1, without its 1 / (4 D^2); the
    mean part and their equal weights are our choice.
    """
    return Parts(gaussians.squared_mean_distances(), gaussians.squared_covariance_distances())

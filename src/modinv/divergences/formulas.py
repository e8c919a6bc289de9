"""Gaussians to one number: each divergence written once, for every form of covariance and every level.

Pairs of Gaussians come with weights; the number is the sum over them. It has two parts, what the means contribute and
what the covariances contribute. Nothing is divided by D here.
"""

from typing import NamedTuple

from torch import Tensor

from modinv.divergences.gaussians import Gaussians
from modinv.divergences.layout import Pairs

__all__ = ["Parts", "bhattacharyya", "jeffreys", "jensen_shannon", "kl", "moments", "wasserstein"]


class Parts(NamedTuple):
    """The two parts of a divergence; their sum is the divergence."""

    mean: Tensor  # ()
    covariance: Tensor  # ()


def wasserstein(gaussians: Gaussians, pairs: Pairs) -> Parts:
    """Return the squared 2-Wasserstein distance.

    |mu_a - mu_b|^2 + tr S_a + tr S_b - 2 tr (S_a^(1/2) S_b S_a^(1/2))^(1/2).

    Reference: Dowson and Landau, "The Fréchet distance between multivariate normal distributions", 1982, eq. 4.
    """
    covariance = gaussians.trace_sum(pairs) - 2 * gaussians.root_trace(pairs)
    return Parts(gaussians.squared_mean_distance(pairs), covariance)


def kl(gaussians: Gaussians, pairs: Pairs) -> Parts:
    """Return the Kullback-Leibler divergence of the second Gaussian from the first, KL(a || b).

    (1/2) [delta^T S_b^-1 delta + tr(S_b^-1 S_a) - D + log det S_b - log det S_a].

    Reference: Kullback and Leibler, "On information and sufficiency", 1951.
    """
    relative = gaussians.relative(pairs)
    excess = relative.excess_trace + gaussians.log_determinant_ratio(pairs)
    return Parts(relative.mahalanobis / 2, excess / 2)


def jeffreys(gaussians: Gaussians, pairs: Pairs) -> Parts:
    """Return the Jeffreys divergence, KL(a || b) / 2 + KL(b || a) / 2.

    (1/4) [delta^T (S_a^-1 + S_b^-1) delta + tr S_b^-1 S_a + tr S_a^-1 S_b - 2 D]: the log-determinants cancel.

    Reference: Jeffreys, "An invariant form for the prior probability in estimation problems", 1946 (there the sum of
    both directions, here their mean).
    """
    relative = gaussians.relative(pairs.both_ways())
    return Parts(relative.mahalanobis / 4, relative.excess_trace / 4)


def bhattacharyya(gaussians: Gaussians, pairs: Pairs) -> Parts:
    """Return the Bhattacharyya distance.

    (1/8) delta^T S*^-1 delta + (1/2) [log det S* - (log det S_a + log det S_b) / 2], S* = (S_a + S_b) / 2.

    Reference: Bhattacharyya, "On a measure of divergence between two statistical populations", 1943.
    """
    midpoint = gaussians.midpoint(pairs)
    return Parts(midpoint.mahalanobis / 8, midpoint.excess_log_determinant / 2)


def jensen_shannon(gaussians: Gaussians, weights: Tensor, present: Tensor) -> Parts:
    """Return the moment-matched Jensen-Shannon divergence of all modalities at once, sum_m w_m KL(p_m || pooled).

    With w_m = 1 / M and the pooled covariance S = sum_m w_m (S_m + (mu_m - mu) (mu_m - mu)^T), this is
    (1/2) [log det S - sum_m w_m log det S_m]; its mean part is what the means add to S.

    Reference: the pooled Gaussian in place of the mixture is our choice; Lin, "Divergence measures based on the Shannon
    entropy", 1991, has the mixture.
    """
    pooled = gaussians.pooled(weights, present)
    return Parts(pooled.means / 2, pooled.covariances / 2)


def moments(gaussians: Gaussians, pairs: Pairs) -> Parts:
    """Return the squared distance of the first two moments, |mu_a - mu_b|^2 + |S_a - S_b|_F^2.

    Reference: the covariance part is that of Sun and Saenko, "Deep CORAL", 2016, eq. 1, without its 1 / (4 D^2); the
    mean part and their equal weights are our choice.
    """
    return Parts(gaussians.squared_mean_distance(pairs), gaussians.squared_covariance_distance(pairs))

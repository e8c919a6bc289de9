"""Gaussians to one number: each divergence written once, for every form of covariance and every level.

A formula has two parts, what the means contribute and what the covariances contribute, for each pair of modalities and
comparison. :func:`modinv.groups.average` weighs them.
"""

from collections.abc import Callable, Mapping
from typing import Literal, NamedTuple, TypeAlias

import torch

from modinv.divergences.bias import JEFFREYS, KL, MOMENTS, WASSERSTEIN, Bias
from modinv.divergences.gaussians import Gaussians, Parts
from modinv.groups import pairs

__all__ = [
    "DIVERGENCES",
    "Covariance",
    "Divergence",
    "DivergenceName",
    "bhattacharyya",
    "jeffreys",
    "jensen_shannon",
    "kl",
    "moments",
    "wasserstein",
]

DivergenceName: TypeAlias = Literal["wasserstein", "kl", "jeffreys", "bhattacharyya", "jensen_shannon", "moments"]
Covariance: TypeAlias = Literal["full", "diagonal", "isotropic"]


def wasserstein(gaussians: Gaussians) -> Parts:
    """Return the squared 2-Wasserstein distance.

    |mu_a - mu_b|^2 + tr S_a + tr S_b - 2 tr (S_a^(1/2) S_b S_a^(1/2))^(1/2).

    Reference: Dowson and Landau, "The Fréchet distance between multivariate normal distributions", 1982, eq. 4.
    """
    a, b = pairs(gaussians.traces())
    return Parts(gaussians.squared_mean_distances(), torch.sub(a + b, gaussians.root_traces(), alpha=2))


def kl(gaussians: Gaussians) -> Parts:
    """Return the Kullback-Leibler divergence KL(a || b) of the first Gaussian a and the second b.

    (1/2) [delta^T S_b^-1 delta + tr(S_b^-1 S_a) - D + log det S_b - log det S_a].

    Reference: Kullback and Leibler, "On information and sufficiency", 1951.
    """
    relative, (a, b) = gaussians.relative(), pairs(gaussians.log_determinants())
    return Parts(relative.mahalanobis[0] / 2, (relative.excess_trace[0] + b - a) / 2)


def jeffreys(gaussians: Gaussians) -> Parts:
    """Return the Jeffreys divergence, KL(a || b) / 2 + KL(b || a) / 2.

    (1/4) [delta^T (S_a^-1 + S_b^-1) delta + tr S_b^-1 S_a + tr S_a^-1 S_b - 2 D]: the log-determinants cancel.

    Reference: Jeffreys, "An invariant form for the prior probability in estimation problems", 1946 (there the sum of
    both directions, here their mean).
    """
    relative = gaussians.relative()
    return Parts(relative.mahalanobis.sum(0) / 4, relative.excess_trace.sum(0) / 4)


def bhattacharyya(gaussians: Gaussians) -> Parts:
    """Return the Bhattacharyya distance.

    (1/8) delta^T S*^-1 delta + (1/2) [log det S* - (log det S_a + log det S_b) / 2], S* = (S_a + S_b) / 2.

    Reference: Bhattacharyya, "On a measure of divergence between two statistical populations", 1943.
    """
    midpoint = gaussians.midpoints()
    return Parts(midpoint.mahalanobis / 8, midpoint.excess_log_determinant / 2)


def moments(gaussians: Gaussians) -> Parts:
    """Return the squared distance of the first two moments, |mu_a - mu_b|^2 + |S_a - S_b|_F^2.

    Reference: the covariance part is that of Sun and Saenko, "Deep CORAL", 2016, eq. 1, without its 1 / (4 D^2); the
    mean part and their equal weights are our choice.
    """
    return Parts(gaussians.squared_mean_distances(), gaussians.squared_covariance_distances())


def jensen_shannon(gaussians: Gaussians) -> Parts:
    """Return the moment-matched Jensen-Shannon divergence of all modalities at once, sum_m w_m KL(p_m || pooled), ().

    This is (1/2) [log det S - sum_m w_m log det S_m], with w_m = 1 / M and the pooled covariance
    S = sum_m w_m (S_m + (mu_m - mu) (mu_m - mu)^T). The mean part is what the means add to S. There are no pairs, so
    the comparisons are weighed here.

    Reference: the pooled Gaussian in place of the mixture is our choice; Lin, "Divergence measures based on the Shannon
    entropy", 1991, has the mixture.
    """
    weights, shares = gaussians.joint_weights()
    pooled, weights = gaussians.pooled(weights, shares), weights / 2
    return Parts(weights @ pooled.means, weights @ pooled.covariances.expand_as(weights))


class Divergence(NamedTuple):
    """A divergence and what there is to know about it."""

    of: Callable[[Gaussians], Parts]  # for each pair and comparison, (P, R)
    inverts: bool  # whether it inverts covariances, which then must be of full rank
    bias: Mapping[str, Bias] = {}  # by form of covariance: what sampling adds to it on the average


DIVERGENCES: Mapping[DivergenceName, Divergence] = {
    "wasserstein": Divergence(wasserstein, inverts=False, bias=WASSERSTEIN),
    "kl": Divergence(kl, inverts=True, bias=KL),
    "jeffreys": Divergence(jeffreys, inverts=True, bias=JEFFREYS),
    "bhattacharyya": Divergence(bhattacharyya, inverts=True),
    "jensen_shannon": Divergence(jensen_shannon, inverts=True),
    "moments": Divergence(moments, inverts=False, bias=MOMENTS),
}

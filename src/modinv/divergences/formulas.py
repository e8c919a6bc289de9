"""Gaussians to one number: each divergence written once, for every form of covariance and every level.

A formula has two parts, what the means contribute and what the covariances contribute, for each pair of modalities and
comparison. :func:`consistency` weighs them and adds them up.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from modinv.divergences.bias import JEFFREYS, KL, MOMENTS, WASSERSTEIN, Bias
from modinv.divergences.gaussians import Gaussians, Parts
from modinv.groups import Comparisons, joint_weights, pair_weights, pairs

__all__ = ["DIVERGENCES", "Divergence", "bhattacharyya", "jeffreys", "jensen_shannon", "kl", "moments", "wasserstein"]


def wasserstein(gaussians: Gaussians) -> Parts:
    """Return the squared 2-Wasserstein distance.

    |mu_a - mu_b|^2 + tr S_a + tr S_b - 2 tr (S_a^(1/2) S_b S_a^(1/2))^(1/2).

    Reference: Dowson and Landau, "The Fréchet distance between multivariate normal distributions", 1982, eq. 4.
    """
    a, b = pairs(gaussians.traces())
    return Parts(gaussians.squared_mean_distances(), torch.sub(a + b, gaussians.root_traces(), alpha=2))


def kl(gaussians: Gaussians) -> Parts:
    """Return the Kullback-Leibler divergence of the second Gaussian from the first, KL(a || b).

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


def jensen_shannon(gaussians: Gaussians, weights: Tensor, shares: Tensor) -> Parts:
    """Return the moment-matched Jensen-Shannon divergence of all modalities at once, sum_m w_m KL(p_m || pooled).

    With the pooled covariance S = sum_m w_m (S_m + (mu_m - mu) (mu_m - mu)^T) this is
    (1/2) [log det S - sum_m w_m log det S_m]; its mean part is what the means add to S.

    Args:
        gaussians: of all modalities.
        weights: of the comparisons, (R,).
        shares: w, (M,), of sum 1.

    Reference: the pooled Gaussian in place of the mixture is our choice; Lin, "Divergence measures based on the Shannon
    entropy", 1991, has the mixture.
    """
    pooled = gaussians.pooled(weights, shares)
    return Parts(pooled.means / 2, pooled.covariances / 2)


class Divergence(NamedTuple):
    """A divergence and what there is to know about it."""

    of: Callable[[Gaussians], Parts] | None  # of each pair, (P, R); None: :func:`jensen_shannon`, of all at once
    inverts: bool  # whether it inverts covariances, which then must be of full rank
    bias: Mapping[str, Bias] = {}  # by form of covariance: what sampling adds to it on the average


DIVERGENCES: Mapping[str, Divergence] = {
    "wasserstein": Divergence(wasserstein, inverts=False, bias=WASSERSTEIN),
    "kl": Divergence(kl, inverts=True, bias=KL),
    "jeffreys": Divergence(jeffreys, inverts=True, bias=JEFFREYS),
    "bhattacharyya": Divergence(bhattacharyya, inverts=True),
    "jensen_shannon": Divergence(None, inverts=True),
    "moments": Divergence(moments, inverts=False, bias=MOMENTS),
}


def consistency(divergence: Divergence, gaussians: Gaussians, compared: Comparisons, debias: str | None) -> Parts:
    """Return the divergence of what is compared over D, (): each pair counts the same, all of them one.

    Args:
        divergence: one of :data:`DIVERGENCES`.
        gaussians: of the modalities.
        compared: which of them are compared.
        debias: the form of the covariances, to take off what sampling adds on the average; None: keep it.
    """
    if divergence.of is None:
        weights, shares = joint_weights(compared)
        return _weigh(jensen_shannon(gaussians, weights, shares), weights / gaussians.dimension)
    parts, least_degrees = divergence.of(gaussians), int(divergence.inverts)
    if debias is not None:
        excess, least_degrees = divergence.bias[debias].of(gaussians, compared), divergence.bias[debias].least_degrees
        parts = Parts(*(part - added for part, added in zip(parts, excess, strict=True)))
    return _weigh(parts, pair_weights(compared, least_degrees) / gaussians.dimension)


def _weigh(parts: Parts, weights: Tensor) -> Parts:
    shared = weights.sum(-1, keepdim=True) if weights.shape[-1] > 1 else weights  # what all comparisons share
    values = [part.flatten() @ (weights if part.shape == weights.shape else shared).flatten() for part in parts]
    return Parts(*values)

"""What a user would pick today for a divergence of two Gaussians: D x D covariances, differentiated by autograd.

Each takes the rows of the two modalities, (n, D) and (n, D). They are plain uses of the named packages, or the textbook
form written out where the package offers no gradient, and see the same covariances as the library's loss: raw ones for
the Wasserstein distance and the moments, shrunk ones where an inverse is taken.
"""

from collections.abc import Callable

import ot
import torch
from torch import Tensor
from torch.distributions import MultivariateNormal, kl_divergence

__all__ = ["COMPETITORS", "on_batch"]

_SHRINKAGE = 0.1


def on_batch(competitor: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """Return the competitor as a loss of ``(features, labels, modalities)``."""

    def loss(features: Tensor, _labels: Tensor, modalities: Tensor) -> Tensor:
        return competitor(features[modalities == 0], features[modalities == 1])

    return loss


def pot(first: Tensor, second: Tensor) -> Tensor:
    """Return POT's Bures-Wasserstein distance; squared, it is the squared 2-Wasserstein distance."""
    means = first.mean(0), second.mean(0)
    distance: Tensor = ot.gaussian.bures_wasserstein_distance(*means, first.T.cov(), second.T.cov())
    return distance.square()


def decomposed(first: Tensor, second: Tensor) -> Tensor:
    """Return the squared 2-Wasserstein distance through two decompositions of symmetric D x D matrices."""
    one, two = first.T.cov(), second.T.cov()
    values, vectors = torch.linalg.eigh(one)
    root = (vectors * values.clamp(min=1e-12).sqrt()) @ vectors.T
    roots: Tensor = torch.linalg.eigvalsh(root @ two @ root).clamp(min=1e-12).sqrt().sum()
    return _apart(first, second) + one.trace() + two.trace() - 2 * roots


def frechet_inception(first: Tensor, second: Tensor) -> Tensor:
    """Return the squared 2-Wasserstein distance as FID code does, by the eigenvalues of the product."""
    one, two = first.T.cov(), second.T.cov()
    roots: Tensor = torch.linalg.eigvals(one @ two).sqrt().real.sum()
    return _apart(first, second) + one.trace() + two.trace() - 2 * roots


def kl(first: Tensor, second: Tensor) -> Tensor:
    """Return the Kullback-Leibler divergence of ``torch.distributions``."""
    return kl_divergence(_normal(first), _normal(second))


def jeffreys(first: Tensor, second: Tensor) -> Tensor:
    """Return the mean of both directions of the Kullback-Leibler divergence of ``torch.distributions``."""
    normals = _normal(first), _normal(second)
    return (kl_divergence(*normals) + kl_divergence(*normals[::-1])) / 2


def coral(first: Tensor, second: Tensor) -> Tensor:
    """Return the squared distances of means and of D x D covariances."""
    return _apart(first, second) + (first.T.cov() - second.T.cov()).square().sum()


def _apart(first: Tensor, second: Tensor) -> Tensor:
    return (first.mean(0) - second.mean(0)).square().sum()


def _normal(rows: Tensor) -> MultivariateNormal:
    covariance = rows.T.cov()
    size = len(covariance)
    shrunk = (1 - _SHRINKAGE) * covariance + _SHRINKAGE * covariance.trace() / size * torch.eye(size)
    return MultivariateNormal(rows.mean(0), shrunk, validate_args=False)


COMPETITORS: dict[str, dict[str, Callable[[Tensor, Tensor], Tensor]]] = {
    "wasserstein": {
        "POT `bures_wasserstein_distance`": pot,
        "D x D `eigh` written out": decomposed,
        "FID style, `eigvals` of the product": frechet_inception,
    },
    "jeffreys": {"`torch.distributions`, both directions": jeffreys},
    "kl": {"`torch.distributions` KL": kl},
    "moments": {"D x D CORAL and means": coral},
}

"""What a divergence asks of the Gaussians that it compares, whatever form their covariances have.

There are M modalities in R comparisons. They make P = M (M - 1) / 2 pairs (a, b) of modalities, a < b. An answer is a
tensor (M, R) or (P, R): a number for each Gaussian, or each pair, in each comparison. Where all comparisons share their
covariances, R may be 1. S is a covariance after shrinkage, S = (1 - alpha) Sigma + alpha (tr Sigma / D) I.
"""

from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
from torch import Tensor

from modinv.groups import pairs

__all__ = ["Gaussians", "Midpoint", "Parts", "Pooled", "Relative", "between_of", "lengths_of"]


class Parts(NamedTuple):
    """The two parts of a divergence; their sum is the divergence."""

    mean: Tensor
    covariance: Tensor


class Relative(NamedTuple):
    """The first Gaussian of each pair in the metric of the second, then the second in that of the first."""

    mahalanobis: Tensor  # (2, P, R): delta^T S_b^-1 delta, delta = mu_a - mu_b; then with S_a
    excess_trace: Tensor  # (2, P, R): tr(S_b^-1 S_a) - D; then tr(S_a^-1 S_b) - D


class Midpoint(NamedTuple):
    """The pairs around the mean of their covariances, S* = (S_a + S_b) / 2."""

    mahalanobis: Tensor  # (P, R): delta^T S*^-1 delta
    excess_log_determinant: Tensor  # (P, R): log det S* - (log det S_a + log det S_b) / 2


class Pooled(NamedTuple):
    """All modalities against their pooled Gaussian, whose covariance is S* (their mean covariance) + S_means."""

    means: Tensor  # (R,): log det(S* + S_means) - log det S*
    covariances: Tensor  # (R,): log det S* - the mean of log det S_m


class Gaussians(ABC):
    """M Gaussians in R comparisons, in D dimensions."""

    dimension: int  # D

    @abstractmethod
    def squared_mean_distances(self) -> Tensor:
        """Return |mu_a - mu_b|^2, (P, R)."""

    @abstractmethod
    def traces(self) -> Tensor:
        """Return tr S, (M, R)."""

    @abstractmethod
    def root_traces(self) -> Tensor:
        """Return tr (S_a^(1/2) S_b S_a^(1/2))^(1/2), (P, R)."""

    @abstractmethod
    def squared_covariance_distances(self) -> Tensor:
        """Return the squared Frobenius norm of S_a - S_b, (P, R)."""

    @abstractmethod
    def log_determinants(self) -> Tensor:
        """Return log det S, (M, R)."""

    @abstractmethod
    def relative(self) -> Relative:
        """Return each Gaussian of a pair in the metric of the other."""

    @abstractmethod
    def midpoints(self) -> Midpoint:
        """Return the pairs around the mean of their covariances."""

    @abstractmethod
    def joint_weights(self) -> tuple[Tensor, Tensor]:
        """Return what each comparison of all modalities counts, (R,), and the share of each modality in it, (M,)."""

    @abstractmethod
    def pooled(self, weights: Tensor, shares: Tensor) -> Pooled:
        """Return all modalities at once against the Gaussian with their pooled moments.

        Args:
            weights: of the comparisons, (R,); one of weight zero may have any value.
            shares: of the modalities in the pooled Gaussian, (M,), of sum 1.
        """


def between_of(squares: Tensor, weights: Tensor, shares: Tensor) -> Tensor:
    """Return log det(S* + S_means) - log det S*, (R,), S_means = sum_m s_m (mu_m - mu) (mu_m - mu)^T.

    Args:
        squares: delta^T S*^-1 delta for each pair, (P, R).
        weights: of the comparisons, (R,).
        shares: s, (M,).
    """
    if len(shares) == 2:  # S_means is of rank one; rounding may leave less than 0
        return (shares.prod() * squares[0]).clamp(min=0).log1p()
    roots = shares.sqrt()
    a, b = pairs(roots[:, None] * _contrasts(roots))  # (P, M - 1): means to the offsets that are left
    products = -torch.einsum("pr,pi,pj->rij", squares, a, b)
    # A comparison that does not count may have no spread at all, and its determinant no digit.
    products = (products + products.mT).where((weights > 0)[:, None, None], 0) / 2
    identity = torch.eye(products.shape[1], dtype=products.dtype, device=products.device)
    return torch.linalg.slogdet(identity + products).logabsdet


def lengths_of(products: Tensor) -> Tensor:
    """Return |v_a|^2 from the inner products of vectors, (M, M, R) -> (M, R)."""
    identity = torch.eye(len(products), dtype=products.dtype, device=products.device)
    return (products * identity[:, :, None]).sum(1)


def _contrasts(roots: Tensor) -> Tensor:
    """Return an orthonormal basis of what is orthogonal to a vector of length 1, (M,) -> (M, M - 1).

    Take square roots of shares. Offsets from the mean weighted by the shares, each times its root, lie in that space. A
    determinant taken there has no zero eigenvalue that costs digits. The basis is the last columns of a reflection.
    """
    identity = torch.eye(len(roots), dtype=roots.dtype, device=roots.device)
    normal = roots + identity[0]
    unit = normal / torch.linalg.vector_norm(normal)
    return torch.addr(identity, unit, unit, alpha=-2)[:, 1:]

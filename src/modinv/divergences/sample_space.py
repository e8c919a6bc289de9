"""Gaussians with full covariance in sample space: every answer from the Gram matrix, nothing of size D x D.

Write B_ab for the Gram block of the rows of modalities a and b, each divided by sqrt(n - 1) and multiplied by
sqrt(1 - alpha), so that S_a = rho_a I + Y_a^T Y_a with Y_a Y_b^T = B_ab. Then

    tr(Sigma_a Sigma_b)                = |B_ab|_F^2            (alpha = 0)
    tr (S_a^(1/2) S_b S_a^(1/2))^(1/2) = |B_ab|_*, the nuclear norm            (alpha = 0)
    S_a^-1                             = (I - Y_a^T M_a^-1 Y_a) / rho_a,   M_a = rho_a I + B_aa   (Woodbury)

The blocks are not cut out, since their sizes depend on the data, but masked: M_a of all modalities together is one
block-diagonal N x N matrix in the batch's own row order, and one inverse serves them all. The cheaper form while
N <= D; exact in either case.
"""

import torch
from torch import Tensor
from typing_extensions import override

from modinv.distances import diagonal, squared_distances
from modinv.divergences.gaussians import Gaussians, Relative, fill_pairs, ridge
from modinv.divergences.spectra import nuclear_norm, trace_square_root
from modinv.statistics import Statistics

__all__ = ["SampleGaussians"]


class SampleGaussians(Gaussians):
    """Gaussians known by the Gram matrix of their samples.

    Args:
        statistics: of the batch.
        shrinkage: alpha.
    """

    def __init__(self, statistics: Statistics, shrinkage: float) -> None:
        self.gram, self.membership, self.counts = statistics.gram, statistics.membership, statistics.counts
        self.dimension = statistics.features.shape[1]
        self.shrinkage = shrinkage
        self._resolution = statistics.resolution
        self._shares = self.membership / (self.counts - 1).clamp(min=1)  # (N, M): 1 / (n_m - 1) for the rows of m

    @override
    def squared_mean_distances(self) -> Tensor:
        return squared_distances(self.gram.means)

    @override
    def traces(self) -> Tensor:
        return diagonal(self.gram.rows) @ self._shares

    @override
    def root_traces(self) -> Tensor:
        root_trace = self._shrunk_root_trace if self.shrinkage else self._root_trace
        return fill_pairs(root_trace, self.counts)

    @override
    def squared_covariance_distances(self) -> Tensor:
        inner = self._shares.T @ self.gram.rows.square() @ self._shares  # (M, M): tr(Sigma_a Sigma_b)
        if self.shrinkage:
            kept, traces = (1 - self.shrinkage) ** 2, self.traces()
            inner = kept * inner + (1 - kept) / self.dimension * traces[:, None] * traces
        return squared_distances(inner)

    @override
    def relative(self) -> Relative:
        rho, blocks = self._ridge(), self._scaled()
        own = blocks * (self.membership @ self.membership.T)  # (N, N): B_aa of all modalities
        inverse, _ = torch.linalg.inv_ex(own + torch.diag_embed(self.membership @ rho))
        return self._relative(rho, blocks - own, inverse)

    def _relative(self, rho: Tensor, cross: Tensor, inverse: Tensor) -> Relative:
        """Return the relative moments from B_ab of all pairs and M_a^-1 of all modalities, both (N, N)."""
        overlap = self.membership.T @ ((inverse @ cross) * cross) @ self.membership  # [b, a]: tr B_ab M_b^-1 B_ba
        offsets = self._scale()[:, None] * (self.gram.cross - (self.gram.cross * self.membership).sum(1, keepdim=True))
        along = self.membership.T @ ((inverse @ offsets) * offsets)  # [b, a]: |M_b^(-1/2) Y_b (mu_a - mu_b)|^2
        kept = (1 - self.shrinkage) * self.traces() + self.dimension * rho  # (M,): tr S_a
        inverse_traces = diagonal(inverse) @ self.membership  # (M,): tr M_b^-1
        added = rho[:, None] * (rho * inverse_traces - self.counts)  # [a, b]
        excess = kept[:, None] - self.dimension * rho + added - overlap.T
        return Relative(excess / rho, (self.squared_mean_distances() - along.T) / rho)

    def _ridge(self) -> Tensor:
        means = diagonal(self.gram.means) / self.dimension  # (M,)
        return ridge(self.traces() / self.dimension, means, self.shrinkage, self._resolution)

    def _scale(self) -> Tensor:
        """Return sqrt((1 - alpha) / (n_m(i) - 1)) for each row, (N,)."""
        return ((1 - self.shrinkage) * self._shares.sum(1)).sqrt()

    def _scaled(self) -> Tensor:
        """Return B_ab of all modalities, (N, N)."""
        scale = self._scale()
        return self.gram.rows * (scale[:, None] * scale)

    def _root_trace(self, a: int, b: int) -> Tensor:
        # The smaller modality has at most N / 2 rows: with its rows in front, the rest of the block is zero.
        swap = self.counts[a] > self.counts[b]
        few, many = (
            self._shares[:, b].where(swap, self._shares[:, a]),
            self._shares[:, a].where(swap, self._shares[:, b]),
        )
        front = few.argsort(descending=True, stable=True)[: len(few) // 2]  # (N / 2,)
        mask = few[front].sqrt()[:, None] * many.sqrt()
        return nuclear_norm(self.gram.rows.index_select(0, front) * mask)

    def _shrunk_root_trace(self, a: int, b: int) -> Tensor:
        # S_a S_b Y^T = Y^T X with X = rho_a rho_b I + [[rho_b I, B_ab], [0, rho_a I]] B, so the square root of the
        # N x N matrix X has the eigenvalues that we want, and D - N more are sqrt(rho_a rho_b).
        rho, first, second = self._ridge(), self.membership[:, a], self.membership[:, b]
        pair = first + second
        blocks = self._scaled() * pair[:, None] * pair
        upper = torch.diag_embed(rho[b] * first + rho[a] * second) + blocks * first[:, None] * second
        product = torch.diag_embed(rho[a] * rho[b] * torch.ones_like(pair)) + upper @ blocks
        rest = self.dimension - len(pair)
        return trace_square_root(product) + rest * (rho[a] * rho[b]).sqrt()

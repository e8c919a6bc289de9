"""Gaussians with full covariance in sample space: every answer from the N x N Gram matrix, nothing of size D x D.

Write B_ab for the Gram block of the rows of modalities a and b, each divided by sqrt(n - 1) and multiplied by
sqrt(1 - alpha), so that S_a = rho_a I + Y_a^T Y_a with Y_a Y_b^T = B_ab. Then

    tr(Sigma_a Sigma_b)           = |B_ab|_F^2
    tr (C_a^(1/2) C_b C_a^(1/2))^(1/2) = |B_ab|_*              (nuclear norm; alpha = 0)
    S_a^-1                        = (I - Y_a^T M_a^-1 Y_a) / rho_a,   M_a = rho_a I + B_aa      (Woodbury)

The blocks are not cut out, since their sizes depend on the data, but masked: M_a of all modalities together is one
block-diagonal N x N matrix in the batch's own row order, and one Cholesky factor serves them all. The cheaper form
while N <= D; exact in either case.
"""

import torch
from torch import Tensor
from typing_extensions import override

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
        num_rows, self.dimension = statistics.rows.shape
        # The algebra below is N x N: float64 costs next to nothing there and keeps the digits that 1 / rho takes.
        double = statistics.rows.device.type != "mps"
        gram = statistics.gram.double() if double else statistics.gram
        self.membership = statistics.membership.to(gram.dtype)  # (N, M)
        self.counts = statistics.counts.to(gram.dtype)  # (M,)
        weights = self.membership @ (self.counts - 1).clamp(min=1).rsqrt()  # (N,)
        self.rows = gram[:num_rows, :num_rows] * weights[:, None] * weights  # (N, N): Sigma_a = rows^T rows
        self.rows_to_means = gram[:num_rows, num_rows:] * weights[:, None]  # (N, M)
        self.means = gram[num_rows:, num_rows:]  # (M, M)
        self.shrinkage = shrinkage
        self.identity = torch.eye(num_rows, dtype=gram.dtype, device=gram.device)
        self._traces = self.membership.T @ (self.rows * self.identity).sum(1)  # (M,)
        self._squared_means = (self.means * torch.eye(len(self.means), device=gram.device)).sum(1)  # (M,)
        self._resolution = statistics.resolution

    @override
    def squared_mean_distances(self) -> Tensor:
        return self._squared_means[:, None] + self._squared_means - 2 * self.means

    @override
    def traces(self) -> Tensor:
        return self._traces

    @override
    def root_traces(self) -> Tensor:
        return fill_pairs(self._root_trace, self._traces)

    @override
    def squared_covariance_distances(self) -> Tensor:
        mean = self._traces / self.dimension  # (M,)
        inner = (1 - self.shrinkage) ** 2 * self._sum_blocks(self.rows.square())
        inner = inner + (1 - (1 - self.shrinkage) ** 2) * self.dimension * mean[:, None] * mean  # (M, M)
        squares = (inner * torch.eye(len(mean), device=mean.device)).sum(1)
        return squares[:, None] + squares - 2 * inner

    @override
    def relative(self) -> Relative:
        rho = self._ridge()
        blocks = (1 - self.shrinkage) * self.rows
        same = self.membership @ self.membership.T  # (N, N)
        outside = 1 - self.membership.sum(1)  # rows of no modality keep the matrix definite
        factor, _ = torch.linalg.cholesky_ex(blocks * same + self.identity * (self.membership @ rho + outside))
        own = (self.rows_to_means * self.membership).sum(1, keepdim=True)
        offsets = (1 - self.shrinkage) ** 0.5 * (self.rows_to_means - own)  # (N, M): y_i . (mu_a - mu_m(i))
        right = torch.cat([blocks * (1 - same), self.identity, offsets], dim=1)
        cross, inverse, along = (
            torch.linalg.solve_triangular(factor, right, upper=False)
            .square()
            .split([len(same), len(same), len(rho)], dim=1)
        )
        inverse_trace = self.membership.T @ inverse.sum(1)  # (M,): tr M_b^-1
        trace = (1 - self.shrinkage) * self._traces[:, None] + self.dimension * (rho[:, None] - rho)  # [a, b]
        excess = trace + rho[:, None] * (rho * inverse_trace - self.counts) - self._sum_blocks(cross).T
        mahalanobis = self.squared_mean_distances() - (self.membership.T @ along).T  # [a, b]
        return Relative(excess / rho, mahalanobis / rho)

    def _ridge(self) -> Tensor:
        variances, squares = self._traces / self.dimension, self._squared_means / self.dimension
        return ridge(variances, squares, self.shrinkage, self._resolution)  # (M,)

    def _sum_blocks(self, entries: Tensor) -> Tensor:
        """Sum (N, N) entries over the rows of modality a and the columns of modality b, (M, M)."""
        return self.membership.T @ entries @ self.membership

    def _root_trace(self, a: int, b: int) -> Tensor:
        first, second = self.membership[:, a], self.membership[:, b]  # (N,)
        if not self.shrinkage:
            return nuclear_norm(self.rows * first[:, None] * second)
        # S_a S_b Y^T = Y^T X with X = rho_a rho_b I + [[rho_b I, B_ab], [0, rho_a I]] B, so the square root of the
        # N x N matrix X has the eigenvalues that we want, and D - N more are sqrt(rho_a rho_b).
        rho = self._ridge()
        pair = first + second
        blocks = (1 - self.shrinkage) * self.rows * pair[:, None] * pair
        upper = self.identity * (rho[b] * first + rho[a] * second) + blocks * first[:, None] * second
        product = rho[a] * rho[b] * self.identity + upper @ blocks
        rest = self.dimension - len(self.identity)
        return trace_square_root(product) + rest * (rho[a] * rho[b]).sqrt()

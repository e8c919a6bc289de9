"""Gaussians with full covariance in sample space: every answer from the Gram matrix, nothing of size D x D.

Write y_i for row i around the mean of its covariance, divided by sqrt(degrees) and multiplied by sqrt(1 - alpha), and
B for the Gram matrix of the y, with blocks B_ab. Then S_a = rho_a I + Y_a^T Y_a, and

    tr(Sigma_a Sigma_b)                = |B_ab|_F^2                            (alpha = 0)
    tr (S_a^(1/2) S_b S_a^(1/2))^(1/2) = |B_ab|_*, the nuclear norm            (alpha = 0)
    S_a^-1                             = (I - Y_a^T M_a^-1 Y_a) / rho_a,   M_a = rho_a I + B_aa   (Woodbury)
    log det S_a                        = (D - n_a) log rho_a + log det M_a

The blocks are not cut out, since their sizes depend on the data, but masked: the M_a of all modalities and identities
together are one block-diagonal N x N matrix in the batch's own row order, and one factor serves them all.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from typing_extensions import override

from modinv._lazy import lazy
from modinv.distances import diagonal, on_diagonal
from modinv.divergences.gaussians import Gaussians, Midpoint, Pooled, Relative, contrasts, ridge
from modinv.divergences.layout import Layout, Pair
from modinv.divergences.noise import excess_of_squares, inverse_counts, of_both
from modinv.divergences.shrinkage import estimate
from modinv.divergences.spectra import nuclear_norm, trace_square_root
from modinv.statistics import Statistics

__all__ = ["SampleGaussians"]


class _Mixture(NamedTuple):
    """The mean covariance S* = rho* I + T^T T of some modalities."""

    rho: Tensor  # (R,)
    factor: Tensor  # (N, N): Cholesky factor of rho* I + T T^T, one block for each comparison
    scale: Tensor  # (N, R): what makes a row of T of a centered row; 0 where it has no part in the comparison
    log_determinant: Tensor  # (R,)


class SampleGaussians(Gaussians):
    """Gaussians known by the Gram matrix of their samples; the cheaper form while N <= D, exact in either case.

    Args:
        statistics: of the batch.
        layout: of the level.
        shrinkage: alpha, or the name of an estimate of it.
    """

    def __init__(self, statistics: Statistics, layout: Layout, shrinkage: float | str) -> None:
        self.layout = layout
        self._gram = statistics.gram  # (N + M, N + M)
        self._members = statistics.membership.T  # (M, N)
        self._dimension = statistics.features.shape[1]
        self._resolution = statistics.resolution
        num_rows = self._members.shape[1]
        self._rows = self._around_cells(self._around_cells(self._gram[:num_rows, :num_rows]).T)  # (N, N)
        self._degrees = layout.degrees.clamp(min=1)  # (M, R)
        self._shrunk = shrinkage != 0
        self._alpha = self._intensity(shrinkage) if isinstance(shrinkage, str) else layout.degrees.new_tensor(shrinkage)

    @override
    def squared_mean_distance(self, pair: Pair) -> Tensor:
        return self._offsets(pair).squared_length @ pair.weights

    @override
    def trace_sum(self, pair: Pair) -> Tensor:
        return (self._traces[pair.first] + self._traces[pair.second]) @ pair.weights

    @override
    def squared_covariance_distance(self, pair: Pair) -> Tensor:
        # |C_a - C_b|^2 is one quadratic form of the squared Gram matrix, with the samples of b counted negatively.
        difference = self._kept_shares[pair.first] - self._kept_shares[pair.second]  # (N, R)
        squared = ((self._rows.square() @ difference) * difference).sum(0)
        if self._shrunk:
            alpha, traces = self._alpha.expand_as(self._traces), self._traces
            kept = (1 - alpha) * traces
            added = (alpha * traces)[pair.first] - (alpha * traces)[pair.second]
            squared = squared + (2 * (kept[pair.first] - kept[pair.second]) * added + added.square()) / self._dimension
        return squared @ pair.weights

    @override
    def root_trace(self, pair: Pair) -> Tensor:
        return self._shrunk_root_trace(pair) if self._shrunk else self._plain_root_trace(pair)

    @override
    def relative(self, pair: Pair) -> Relative:
        first, second = pair.first, pair.second
        mine, other = self.layout.covariance_rows[first], self.layout.covariance_rows[second]  # (N, R)
        rho = self._rho[second]  # (R,)
        overlap = ((self._overlaps @ mine) * other).sum(0)  # (R,): tr B_ab M_b^-1 B_ba
        kept = ((1 - self._alpha) * self._traces)[first]
        inverse_trace = diagonal(self._inverse) @ other  # (R,): tr M_b^-1
        added = self._rho[first] * (rho * inverse_trace - self._sizes[second])
        excess = (kept + self._dimension * (self._rho[first] - rho) + added - overlap) / rho
        offsets = self._offsets(pair)
        along = offsets.along_rows * self._scale[:, None] * other  # (N, R): Y_b delta
        mahalanobis = (offsets.squared_length - ((self._inverse @ along) * along).sum(0)) / rho
        return Relative(mahalanobis @ pair.weights, excess @ pair.weights)

    @override
    def log_determinant_ratio(self, pair: Pair) -> Tensor:
        return (self._log_determinants[pair.second] - self._log_determinants[pair.first]) @ pair.weights

    @override
    def midpoint(self, pair: Pair) -> Midpoint:
        numbers = torch.arange(len(self._members), device=self._members.device)
        in_pair = (numbers == pair.first) | (numbers == pair.second)
        mixture = self._mixture(in_pair.to(self._members) / 2)
        offsets = self._offsets(pair)
        whitened = self._whiten(mixture, offsets.along_rows)
        mahalanobis = (offsets.squared_length - whitened.square().sum(0)) / mixture.rho
        log_determinants = (self._log_determinants[pair.first] + self._log_determinants[pair.second]) / 2
        excess = mixture.log_determinant - log_determinants
        return Midpoint(mahalanobis @ pair.weights, excess @ pair.weights)

    @override
    def pooled(self, weights: Tensor, present: Tensor) -> Pooled:
        shares = present / present.sum().clamp(min=1)  # (M,)
        mixture = self._mixture(shares)
        means = self._mean_coefficients  # (M, N + M, R)
        means = (means - (shares[:, None, None] * means).sum(0)) * shares.sqrt()[:, None, None]
        means = torch.einsum("mp,mkr->pkr", contrasts(shares), means)  # (M - 1, N + M, R)
        projected = self._gram @ means  # (M - 1, N + M, R)
        whitened = self._whiten(mixture, self._around_cells(projected[:, : len(self._rows)]))  # (M - 1, N, R)
        inner = torch.einsum("mkr,nkr->rmn", means, projected) - torch.einsum("mkr,nkr->rmn", whitened, whitened)
        identity = torch.eye(len(means), dtype=inner.dtype, device=inner.device)
        # A comparison that does not count may have no spread at all, and its determinant no digit.
        ratio = (inner / mixture.rho[:, None, None]).where((weights > 0)[:, None, None], 0)
        between = torch.linalg.slogdet(identity + ratio).logabsdet  # (R,)
        covariances = mixture.log_determinant - shares @ self._log_determinants
        return Pooled(between @ weights, covariances @ weights)

    @override
    def mean_noise(self, pair: Pair) -> Tensor:
        return of_both(self._traces * inverse_counts(self.layout), pair)

    @override
    def covariance_noise(self, pair: Pair) -> Tensor:
        squares = ((self._rows.square() @ self.layout.covariance_rows) * self.layout.covariance_rows).sum(1)  # (M, R)
        return of_both(excess_of_squares(squares / self._degrees.square(), self._traces, self._degrees), pair)

    @lazy
    def _squares(self) -> Tensor:
        return diagonal(self._rows)  # (N,)

    @lazy
    def _traces(self) -> Tensor:
        return (self.layout.covariance_rows.mT @ self._squares) / self._degrees  # (M, R): tr Sigma

    @lazy
    def _sizes(self) -> Tensor:
        return self.layout.covariance_rows.sum(1)  # (M, R): samples of each covariance

    @lazy
    def _kept_shares(self) -> Tensor:
        """What a sample counts in (1 - alpha) Sigma, (M, N, R)."""
        shares = self.layout.covariance_rows / self._degrees[:, None]
        return (1 - self._alpha.expand_as(self._degrees))[:, None] * shares if self._shrunk else shares

    @lazy
    def _rho(self) -> Tensor:
        return self._ridge(self._resolution)  # (M, R): definite enough to be inverted

    def _ridge(self, resolution: float) -> Tensor:
        squared_means = diagonal(self._gram[len(self._rows) :, len(self._rows) :]) / self._dimension
        return ridge(self._traces / self._dimension, squared_means, self._alpha, resolution)

    @lazy
    def _scale(self) -> Tensor:
        return self._of_rows((1 - self._alpha) / self._degrees).sqrt()  # (N,): what makes y_i of a centered row

    @lazy
    def _blocks(self) -> Tensor:
        return self._rows * (self._scale[:, None] * self._scale)  # (N, N): B

    @lazy
    def _own(self) -> Tensor:
        same = self.layout.same_covariance
        return self._blocks * (self._members.T @ self._members if same is None else same)  # (N, N): all B_aa

    @lazy
    def _regular(self) -> Tensor:
        return self._own + on_diagonal(self._of_rows(self._rho))  # (N, N): the M_a of all Gaussians

    @lazy
    def _inverse(self) -> Tensor:
        inverse: Tensor = torch.linalg.inv_ex(self._regular).inverse
        return inverse

    @lazy
    def _overlaps(self) -> Tensor:
        cross = self._blocks - self._own
        return (self._inverse @ cross) * cross

    @lazy
    def _log_determinants(self) -> Tensor:
        logarithms = diagonal(torch.linalg.cholesky_ex(self._regular).L).log()  # (N,)
        samples = 2 * (self.layout.covariance_rows.mT @ logarithms)
        return (self._dimension - self._sizes) * self._rho.log() + samples  # (M, R): log det S

    @lazy
    def _mean_coefficients(self) -> Tensor:
        """The means as sums of the stacked rows and means, (M, N + M, R)."""
        num_modalities, num_rows = self._members.shape
        if self.layout.averaging is None:
            own = torch.eye(num_modalities, num_rows + num_modalities, dtype=self._gram.dtype, device=self._gram.device)
            return own.roll(num_rows, dims=1)[:, :, None]
        own = torch.eye(num_modalities, dtype=self._gram.dtype, device=self._gram.device)[:, :, None]
        return torch.cat([self.layout.averaging, own.expand(-1, -1, num_rows)], dim=1)

    @lazy
    def _comparison_rows(self) -> Tensor:
        """Which rows take part in which comparison, (N, R)."""
        same = self.layout.same_comparison
        return self._degrees.new_ones(self._members.shape[1], self._degrees.shape[1]) if same is None else same

    def _around_cells(self, rows: Tensor) -> Tensor:
        """Take the mean of each cell off its rows, where covariances are around cells; (..., N, k)."""
        return rows if self.layout.cells is None else rows - self.layout.cells @ rows

    def _of_rows(self, values: Tensor) -> Tensor:
        """Return for each row what belongs to its own Gaussian, (M, R) -> (N,)."""
        return (self._members * values).sum(0)

    def _intensity(self, name: str) -> Tensor:
        rows, members = self._rows.detach(), self.layout.covariance_rows  # (N, N), (M, N, R)
        count = members.sum(1).clamp(min=1)  # (M, R)
        squares = ((rows.square() @ members) * members).sum(1) / count.square()
        diagonals = diagonal(rows)
        fourths = (members.mT @ diagonals.square()) / count.square()
        return estimate(name, squares, fourths, (members.mT @ diagonals) / count, count, self._dimension)

    def _offsets(self, pair: Pair) -> "_Offsets":
        coefficients = self._mean_coefficients[pair.first] - self._mean_coefficients[pair.second]  # (N + M, R)
        projected = self._gram @ coefficients
        return _Offsets((projected * coefficients).sum(0), self._around_cells(projected[: len(self._rows)]))

    def _mixture(self, shares: Tensor) -> _Mixture:
        share = self._of_rows(shares[:, None])  # (N,)
        rho = shares @ self._rho  # (R,)
        scale = self._scale * share.sqrt()
        products = self._rows * (scale[:, None] * scale)
        if self.layout.same_comparison is not None:
            products = products * self.layout.same_comparison
        factor = torch.linalg.cholesky_ex(products + on_diagonal(rho.expand(len(share)))).L
        taking_part = self._comparison_rows * (share > 0)[:, None]  # (N, R)
        logarithms = 2 * (diagonal(factor).log() @ taking_part)
        log_determinant = (self._dimension - taking_part.sum(0)) * rho.log() + logarithms
        return _Mixture(rho, factor, scale[:, None] * taking_part, log_determinant)

    def _whiten(self, mixture: _Mixture, along_rows: Tensor) -> Tensor:
        scaled = along_rows * mixture.scale  # (..., N, R)
        whitened: Tensor = torch.linalg.solve_triangular(mixture.factor, scaled, upper=False)
        return whitened

    def _row_weights(self, pair: Pair) -> Tensor:
        """Return what a row's comparison weighs, over all of its duplicates, (N,)."""
        return self._comparison_rows @ pair.weights

    def _plain_root_trace(self, pair: Pair) -> Tensor:
        # The smaller modality has at most N / 2 rows: with its rows in front, the rest of the block is zero.
        first, second = self._members[pair.first], self._members[pair.second]  # (N,)
        swap = first.sum() > second.sum()
        few, many = second.where(swap, first), first.where(swap, second)
        front = few.argsort(descending=True, stable=True)[: len(few) // 2]  # (N / 2,)
        scale = self._scale
        left = (few * scale * self._row_weights(pair))[front, None]
        mask = left * (many * scale)
        if self.layout.same_comparison is not None:
            mask = mask * self.layout.same_comparison[front]
        return nuclear_norm(self._rows.index_select(0, front) * mask)

    def _shrunk_root_trace(self, pair: Pair) -> Tensor:
        # S_a S_b Y^T = Y^T X with X = rho_a rho_b I + [[rho_b I, B_ab], [0, rho_a I]] B, so the square root of X has
        # the eigenvalues that we want, for every comparison in a block of its own; D - n_a - n_b more are sqrt(rho_a
        # rho_b).
        first, second = self._members[pair.first], self._members[pair.second]  # (N,)
        weights = self._row_weights(pair)
        rho = self._ridge(torch.finfo(self._gram.dtype).eps)  # (M, R): nothing is inverted, the floor can be lower
        active = (first + second) * (weights > 0)  # (N,)
        partner = first * rho[pair.second] + second * rho[pair.first]  # (N,)
        blocks = self._blocks * (active[:, None] * active)
        if self.layout.same_comparison is not None:
            blocks = blocks * self.layout.same_comparison
        across = blocks * (first[:, None] * second)
        idle = 1 - active  # rows of 1, which add their number to the trace
        product = on_diagonal(active * partner * self._of_rows(rho) + idle)
        product = product + (on_diagonal(active * partner) + across) @ blocks
        rest = self._dimension - self._sizes[pair.first] - self._sizes[pair.second]  # (R,)
        remaining = rest * (rho[pair.first] * rho[pair.second]).sqrt()
        return weights.amax() * (trace_square_root(product) - idle.sum()) + remaining @ pair.weights


class _Offsets(NamedTuple):
    """The difference delta of the means of a pair."""

    squared_length: Tensor  # (R,): |delta|^2
    along_rows: Tensor  # (N, R): the products of the centered rows with delta

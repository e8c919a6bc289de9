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
from modinv.divergences.definite import Definite
from modinv.divergences.gaussians import Gaussians, Midpoint, Pooled, Relative, contrasts, ridge
from modinv.divergences.layout import Layout, Pairs
from modinv.divergences.noise import excess_of_squares, inverse_counts
from modinv.divergences.sample_means import SampleMeans, around_cells, means_of
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
        self._members, self._counts = statistics.membership, statistics.counts  # (N, M), (M,)
        self._num_rows, self._dimension = statistics.features.shape
        self._resolution, self._precision = statistics.resolution, statistics.precision
        gram = self._gram[: self._num_rows, : self._num_rows]
        self._rows = around_cells(around_cells(gram, layout).T, layout)  # (N, N)
        self._samples = layout.covariance_rows.flatten(1)  # (N, M R)
        self._degrees = layout.degrees.clamp(min=1)  # (M, R)
        self._shrunk = shrinkage != 0
        self._alpha = self._intensity(shrinkage) if isinstance(shrinkage, str) else shrinkage

    @override
    def squared_mean_distance(self, pairs: Pairs) -> Tensor:
        return (self._means.products * pairs.laplacian).sum()

    @override
    def trace_sum(self, pairs: Pairs) -> Tensor:
        # A covariance keeps its trace, shrunk or not.
        shares = self._samples @ (pairs.degrees / self._degrees).flatten()  # (N,)
        return (self._rows * on_diagonal(shares)).sum()

    @override
    def squared_covariance_distance(self, pairs: Pairs) -> Tensor:
        # With s_iar what row i counts in the covariance of a: sum_ab L_ab tr S_a S_b, one form in the squared Gram.
        shares = self._kept(self.layout.covariance_rows / self._degrees)  # (N, M, R)
        weighted = (shares[:, :, None] * pairs.laplacian).sum(1)  # (N, M, R)
        squared = (self._rows.square() * (weighted.flatten(1) @ shares.flatten(1).T)).sum()
        if not self._shrunk:
            return squared
        kept, added = self._kept(self._traces), self._alpha * self._traces  # (M, R)
        return squared + pairs.sum(
            lambda a, b: (2 * (kept[a] - kept[b]) + added[a] - added[b]) * (added[a] - added[b]) / self._dimension
        )

    @override
    def root_trace(self, pairs: Pairs) -> Tensor:
        root_trace = self._shrunk_root_trace if self._shrunk else self._plain_root_trace
        terms = [root_trace(a, b, pairs.weights[a, b]) for a, b in pairs.ordered]
        return sum(terms[1:], terms[0])

    @override
    def relative(self, pairs: Pairs) -> Relative:
        rows, rho = self.layout.covariance_rows, self._rho  # (N, M, R), (M, R)
        weights = pairs.weights / rho  # (M, M, R)
        cross = self._blocks - self._own
        overlaps = ((self._regular.inverse @ cross) * cross) @ self._samples  # (N, M R)
        overlap = self._over_samples(overlaps.view_as(rows))  # (M, M, R): tr B_ab M_b^-1 B_ba
        inverse_trace = (diagonal(self._regular.inverse) @ self._samples).view_as(rho)  # (M, R): tr M_b^-1
        spread = self._kept(self._traces) + self._dimension * rho
        own = rho * inverse_trace - self._sizes
        excess = spread[:, None] + rho[:, None] * own - overlap - self._dimension * rho
        along = self._along_offsets  # (N, M, R): Y_b (mu_a - mu_b) in the rows of b
        explained = self._over_samples(along * (self._regular.inverse @ along.flatten(1)).view_as(along))
        lengths = self._means.squared_lengths[:, None] + self._means.squared_lengths - 2 * self._means.products
        return Relative(((lengths - explained) * weights).sum(), (excess * weights).sum())

    @override
    def log_determinant_ratio(self, pairs: Pairs) -> Tensor:
        return pairs.sum(lambda a, b: self._log_determinants[b] - self._log_determinants[a])

    @override
    def midpoint(self, pairs: Pairs) -> Midpoint:
        answers = {pair: self._midpoint(*pair) for pair in pairs.ordered}
        return Midpoint(pairs.sum(lambda a, b: answers[a, b][0]), pairs.sum(lambda a, b: answers[a, b][1]))

    @override
    def pooled(self, weights: Tensor, present: Tensor) -> Pooled:
        shares = present / present.sum().clamp(min=1)  # (M,)
        mixture = self._mixture(shares)
        coefficients = shares.sqrt()[:, None] * contrasts(shares)  # (M, M - 1): means to the offsets that are left
        inner = torch.einsum("mnr,mp,nq->rpq", self._means.products, coefficients, coefficients)
        whitened = self._whiten(mixture, torch.einsum("imr,mp->pir", self._means.along_rows, coefficients))
        inner = inner - torch.einsum("pir,qir->rpq", whitened, whitened)
        identity = torch.eye(inner.shape[1], dtype=inner.dtype, device=inner.device)
        # A comparison that does not count may have no spread at all, and its determinant no digit.
        ratio = (inner / mixture.rho[:, None, None]).where((weights > 0)[:, None, None], 0)
        between = torch.linalg.slogdet(identity + ratio).logabsdet  # (R,)
        covariances = mixture.log_determinant - shares @ self._log_determinants
        return Pooled(between @ weights, covariances @ weights)

    @override
    def mean_noise(self, pairs: Pairs) -> Tensor:
        return (self._traces * inverse_counts(self.layout) * pairs.degrees).sum()

    @override
    def covariance_noise(self, pairs: Pairs) -> Tensor:
        squares = self._square_traces(self._rows) / self._degrees.square()
        noise = excess_of_squares(squares, self._traces, self._degrees)  # (M, R)
        return (noise * pairs.degrees).sum()

    @lazy
    def _means(self) -> SampleMeans:
        return means_of(self._gram, self.layout)

    @lazy
    def _along_offsets(self) -> Tensor:
        """Products of y_i with mu_ar - mu_br, b the modality of the row; 0 outside of its comparison, (N, M, R)."""
        along = self._means.along_rows
        own = (along * self._members[:, :, None]).sum(1, keepdim=True)
        scaled = (along - own) * self._scale[:, None, None]
        same = self.layout.same_comparison
        return scaled if same is None else scaled * same[:, None]

    @lazy
    def _squares(self) -> Tensor:
        return diagonal(self._rows)  # (N,)

    @lazy
    def _traces(self) -> Tensor:
        return (self._squares @ self._samples).view_as(self._degrees) / self._degrees  # (M, R): tr Sigma

    @lazy
    def _sizes(self) -> Tensor:
        return self.layout.covariance_rows.sum(0)  # (M, R): samples of each covariance

    @lazy
    def _rho(self) -> Tensor:
        return self._ridge(self._resolution)  # (M, R): definite enough to be inverted

    def _ridge(self, resolution: float) -> Tensor:
        return ridge(self._traces, self._means.squared_lengths, self._alpha, resolution, self._dimension)

    def _kept(self, values: Tensor) -> Tensor:
        """Return (1 - alpha) times what belongs to covariances, (..., M, R)."""
        return (1 - self._alpha) * values if self._shrunk else values

    @lazy
    def _scale(self) -> Tensor:
        return self._of_rows(self._kept(1 / self._degrees)).sqrt()  # (N,): what makes y_i of a centered row

    @lazy
    def _blocks(self) -> Tensor:
        return self._rows * (self._scale[:, None] * self._scale)  # (N, N): B

    @lazy
    def _own(self) -> Tensor:
        same = self.layout.same_covariance
        return self._blocks * (self._members @ self._members.T if same is None else same)  # (N, N): all B_aa

    @lazy
    def _regular(self) -> Definite:
        return Definite(self._own + on_diagonal(self._of_rows(self._rho)))  # the M_a of all Gaussians

    @lazy
    def _log_determinants(self) -> Tensor:
        samples = (self._regular.log_pivots @ self._samples).view_as(self._degrees)
        return (self._dimension - self._sizes) * self._rho.log() + samples  # (M, R): log det S

    def _of_rows(self, values: Tensor) -> Tensor:
        """Return for each row what belongs to its own Gaussian, (M, R) -> (N,)."""
        return (self._members @ values).squeeze(1) if values.shape[1] == 1 else (self._members * values.T).sum(1)

    def _over_samples(self, values: Tensor) -> Tensor:
        """Return the sums of what each row says about a, over the samples of b, (N, M, R) -> (M, M, R)."""
        if values.shape[2] == 1:
            return (values.squeeze(2).T @ self._samples)[:, :, None]
        return (values[:, :, None] * self.layout.covariance_rows[:, None]).sum(0)

    def _square_traces(self, rows: Tensor) -> Tensor:
        """Return tr of the square of each scatter matrix from the products of its rows, (N, N) -> (M, R)."""
        members = self.layout.covariance_rows
        return ((rows.square() @ self._samples).view_as(members) * members).sum(0)

    def _intensity(self, name: str) -> Tensor:
        rows, count = self._rows.detach(), self._sizes.clamp(min=1)  # (N, N), (M, R)
        squares = self._square_traces(rows) / count.square()
        diagonals = diagonal(rows)
        fourths, trace = (part.view_as(count) for part in torch.stack([diagonals.square(), diagonals]) @ self._samples)
        return estimate(name, squares, fourths / count.square(), trace / count, count, self._dimension)

    def _midpoint(self, first: int, second: int) -> tuple[Tensor, Tensor]:
        numbers = torch.arange(self._members.shape[1], device=self._members.device)
        mixture = self._mixture(((numbers == first) | (numbers == second)).to(self._members) / 2)
        along, lengths = self._means.along_rows, self._means.squared_lengths
        whitened = self._whiten(mixture, along[:, first] - along[:, second])
        squared_length = lengths[first] + lengths[second] - 2 * self._means.products[first, second]
        mahalanobis = (squared_length - whitened.square().sum(0)) / mixture.rho
        log_determinants = (self._log_determinants[first] + self._log_determinants[second]) / 2
        return mahalanobis, mixture.log_determinant - log_determinants

    def _mixture(self, shares: Tensor) -> _Mixture:
        share = self._of_rows(shares[:, None])  # (N,)
        rho = shares @ self._rho  # (R,)
        scale = self._scale * share.sqrt()
        products = self._rows * (scale[:, None] * scale)
        if self.layout.same_comparison is not None:
            products = products * self.layout.same_comparison
        factor = torch.linalg.cholesky_ex(products + on_diagonal(rho.expand(len(share)))).L
        taking_part = (share > 0).to(scale)[:, None]  # (N, 1)
        if self.layout.same_comparison is not None:
            taking_part = taking_part * self.layout.same_comparison  # (N, R)
        logarithms = 2 * (diagonal(factor).log() @ taking_part)
        log_determinant = (self._dimension - taking_part.sum(0)) * rho.log() + logarithms
        return _Mixture(rho, factor, scale[:, None] * taking_part, log_determinant)

    def _whiten(self, mixture: _Mixture, along_rows: Tensor) -> Tensor:
        scaled = along_rows * mixture.scale  # (..., N, R)
        whitened: Tensor = torch.linalg.solve_triangular(mixture.factor, scaled, upper=False)
        return whitened

    def _row_weights(self, weights: Tensor) -> Tensor:
        """Return what a row's comparison weighs, over all of its duplicates, (R,) -> (N,) or ()."""
        same = self.layout.same_comparison
        return weights.sum() if same is None else same @ weights

    def _plain_root_trace(self, first: int, second: int, weights: Tensor) -> Tensor:
        # The smaller modality has at most N / 2 rows: with its rows in front, the rest of the block is zero.
        scaled = (self._members / self._degrees.T).sqrt()  # (N, M)
        swap = self._counts[first] > self._counts[second]
        few = scaled[:, second].where(swap, scaled[:, first])  # (N,)
        many = scaled[:, first].where(swap, scaled[:, second])
        front = few.argsort(descending=True, stable=True)[: self._num_rows // 2]  # (N / 2,)
        mask = (few * self._row_weights(weights))[front, None] * many
        if self.layout.same_comparison is not None:
            mask = mask * self.layout.same_comparison[front]
        return nuclear_norm(self._rows.index_select(0, front) * mask, self._precision)

    def _shrunk_root_trace(self, first: int, second: int, weights: Tensor) -> Tensor:
        # S_a S_b Y^T = Y^T X with X = rho_a rho_b I + [[rho_b I, B_ab], [0, rho_a I]] B, so the square root of X has
        # the eigenvalues that we want, for every comparison in a block of its own; D - n_a - n_b more are sqrt(rho_a
        # rho_b).
        mine, other = self._members[:, first], self._members[:, second]  # (N,)
        rho = self._ridge(torch.finfo(self._gram.dtype).eps)  # (M, R): nothing is inverted, the floor can be lower
        row_weights = self._row_weights(weights)
        active = (mine + other) * (row_weights > 0)  # (N,)
        partner = mine * rho[second] + other * rho[first]  # (N,)
        blocks = self._blocks * (active[:, None] * active)
        if self.layout.same_comparison is not None:
            blocks = blocks * self.layout.same_comparison
        across = blocks * (mine[:, None] * other)
        idle = 1 - active  # rows of 1, which add their number to the trace
        product = on_diagonal(active * partner * self._of_rows(rho) + idle)
        product = product + (on_diagonal(active * partner) + across) @ blocks
        rest = self._dimension - self._sizes[first] - self._sizes[second]  # (R,)
        remaining = rest * (rho[first] * rho[second]).sqrt()
        return row_weights.amax() * (trace_square_root(product) - idle.sum()) + (remaining * weights).sum()

"""Gaussians with full covariance from the Gram matrix of N <= D rows: no matrix is D x D.

Let the rows Z have weights w, and let T be diagonal with sqrt(w / rho). With K = I + T Z Z^T T,

    S         = rho I + sum_i w_i z_i z_i^T
    S^-1      = (I - Z^T T K^-1 T Z) / rho       (Woodbury)
    log det S = D log rho + log det K            (Sylvester)

The matrices K of all modalities and identities are the blocks of one N x N matrix, in the batch's own row order.
"""

from itertools import combinations
from typing import NamedTuple

import torch
from torch import Tensor
from typing_extensions import override

from modinv.distances import diagonal
from modinv.divergences.definite import Definite, coordinates_of
from modinv.divergences.dense import Coordinates, DenseGaussians, Mixture, RowGaussians
from modinv.divergences.gaussians import Relative
from modinv.divergences.square_roots import nuclear_norm
from modinv.groups import Comparisons, both_ways, pairs
from modinv.statistics import Statistics, lazy

__all__ = ["GramGaussians", "full_gaussians"]


def full_gaussians(statistics: Statistics, compared: Comparisons, shrinkage: float | str) -> DenseGaussians:
    """Return Gaussians with full covariance in the cheaper of the two exact forms.

    Args:
        statistics: of the batch.
        compared: which Gaussians.
        shrinkage: alpha in [0, 1], or the name of an estimate of it.
    """
    num_rows, dimension = statistics.features.shape
    if num_rows > dimension and compared.belongs is None:
        return RowGaussians(statistics, compared, shrinkage)
    return GramGaussians(statistics, statistics.gram, compared, shrinkage)


class _Own(NamedTuple):
    """Each covariance by its own rows."""

    roots: Tensor  # (N,): T
    scaled: Tensor  # (N, N): T Z Z^T, of all rows
    matrix: Definite  # (N, N): K


class GramGaussians(DenseGaussians):
    """Gaussians known by the Gram matrix of the batch, at O(N^2 D + N^3).

    Where comparisons have covariances of their own, products between rows of different identities are set to zero. All
    matrices are block-diagonal then: place k belongs to the identity of row k.
    """

    def __init__(self, statistics: Statistics, gram: Tensor, compared: Comparisons, shrinkage: float | str) -> None:
        self.compared, self.shrinkage = compared, shrinkage
        self.dimension = statistics.features.shape[1]
        self.eps, self.input_eps = statistics.eps, statistics.input_eps
        self._statistics, self._gram = statistics, gram
        self._products, self._along_means, self.mean_products = _products_of(gram, compared)
        self._squares: Tensor | None = None

    @override
    def squared_mean_distances(self) -> Tensor:
        return self.compared.differences @ self.mean_products.flatten(0, 1)

    @override
    def traces(self) -> Tensor:
        return self._spread(self.squared_rows)

    @override
    def root_traces(self) -> Tensor:
        if self.shrinkage != 0:
            return self.shrunk_root_traces(self.coordinates())
        norms, belongs = [], self.compared.belongs
        for a, b in combinations(range(self.compared.weights.shape[1]), 2):
            block, front = self._block(a, b)
            shares = nuclear_norm(block, self.eps)
            norms.append(shares.sum().expand(1, 1) if belongs is None else (shares @ belongs[front])[None])
        if len(norms) == 1:
            return norms[0]
        return torch.cat(norms) if norms else self._gram[:0, :1]

    @override
    def log_determinants(self) -> Tensor:
        pivots = self._statistics.membership.T * self._own.matrix.log_pivots  # (M, N)
        # Not torch.add with alpha: after a matrix product, torch 2.13 compiles it as if alpha were 1.
        return self.compared.sums(pivots) + self.dimension * self._ridge.log()

    @override
    def relative(self) -> Relative:
        rho, kept = both_ways(self._ridge), both_ways(self._kept_weights.T)  # (2, P, Q), (2, P, N)
        inverse, members = rho.reciprocal().flip(0), both_ways(self._statistics.membership.T).flip(0)  # of the metric
        own, ratio = self._own, rho * inverse
        # One solve for the rows and what the means are apart, (N, N + P R).
        columns = torch.cat([own.scaled, own.roots[:, None] * self._offsets.movedim(0, 1).flatten(1)], 1)
        of_rows, of_means = own.matrix.shares(columns).split([len(columns), columns.shape[1] - len(columns)], 1)
        lengths = (self.squared_rows - members @ of_rows) * inverse  # (2, P, N): z^T S_b^-1 z
        # Of S_b in its own metric all is known but the trace of its inverse: D = sum_i w_i lengths_i + rho tr S_b^-1.
        excess = self.compared.sums(lengths * torch.addcmul(kept, ratio, kept.flip(0), value=-1))  # (2, P, Q)
        of_means = of_means.view(len(columns), *self._offsets.shape[::2]).movedim(1, 0)  # (P, N, R)
        lengths = self.squared_mean_distances() - (members[:, :, None] @ of_means).squeeze(2)  # (2, P, R)
        return Relative(lengths * inverse, excess + self.dimension * (ratio - 1))

    @override
    def mixture(self, shares: Tensor) -> Mixture:
        rho, offsets = shares @ self._ridge, self._offsets  # (S, Q), (P, N, R)
        roots = (shares @ self._kept_weights.T).sqrt() * rho.rsqrt()  # (S, N)
        matrix = Definite(torch.addcmul(self._identity(), roots[..., None] * self._products, roots[:, None]))
        if len(shares) == 1:  # one metric for all pairs
            offsets = offsets.movedim(0, 1).flatten(1)[None]  # (1, N, P R)
        explained = matrix.shares(roots[..., None] * offsets).sum(1).view(self._offsets.shape[::2])  # (P, R)
        squares = (self.squared_mean_distances() - explained) / rho
        return Mixture(squares, self.compared.sums(matrix.log_pivots) + self.dimension * rho.log())

    @property
    def squared_rows(self) -> Tensor:
        """|z|^2 of each row, (N,)."""
        if self._squares is None:
            self._squares = (self._products * self._identity()).sum(-1)  # no view: see modinv.distances.diagonal
        return self._squares

    @lazy
    def square_products(self) -> Tensor:
        """tr Sigma_a Sigma_b of all modalities, (M, M, Q)."""
        weights, belongs = self.compared.weights, self.compared.belongs  # (N, M)
        along = self._products.square() @ weights  # (N, M)
        if belongs is None:
            return (weights.T @ along)[:, :, None]
        return ((weights[:, :, None] * along[:, None]).flatten(1).T @ belongs).unflatten(0, (-1, weights.shape[1]))

    def coordinates(self) -> Coordinates:
        """Return rows with the inner products of the features, which stand for them."""
        num_rows, compared = len(self._products), self.compared
        squares, averaging = diagonal(self._gram.detach())[:num_rows], compared.cells
        if averaging is None:
            averaging = self._statistics.membership @ self._statistics.averaging.T  # (N, N): to the modality's mean
        # Rows around a mean sum to zero, so their Gram matrix is singular. An offset that all rows of a mean share, in
        # a dimension of its own, makes it regular; it is taken off again below.
        offsets = averaging * (averaging @ squares)[:, None]
        # Products that are rounded to eps may miss being positive semidefinite by that much for each row.
        rounding = num_rows * torch.finfo(squares.dtype).eps
        jitter = max(4 * self.eps, rounding)
        scale = (squares + offsets.amax(1)).sqrt()
        rows = coordinates_of(self._products + offsets, scale, jitter)
        # In a cell of equal rows the jitter is all that is left, and rounding it must not make a covariance indefinite.
        floor = None if compared.cells is None else rounding * jitter * self._spread(scale.square())
        outside = num_rows if compared.belongs is None else compared.belongs.sum(0)  # (R,)
        return Coordinates(rows - averaging @ rows, self.dimension - outside, floor)

    @lazy
    def _ridge(self) -> Tensor:
        rho = self._rho(self.input_eps)  # (M, Q)
        if self.compared.cells is None:
            return rho
        # The products were rounded before the means of the cells were taken off; that must not make K indefinite.
        squares = diagonal(self._gram.detach())[: len(self._products)]
        return rho.maximum(4 * self.eps * self._spread(squares))

    @lazy
    def _offsets(self) -> Tensor:
        """Products of the rows with mu_a - mu_b for each pair, (P, N, R)."""
        return torch.sub(*pairs(self._along_means.movedim(1, 0)))

    @lazy
    def _own(self) -> _Own:
        members = self._statistics.membership
        roots = (self._kept_weights.sqrt() * self._ridge.rsqrt().T).sum(1)  # (N,)
        scaled = roots[:, None] * self._products
        return _Own(roots, scaled, Definite(torch.addcmul(self._identity(), scaled, roots * (members @ members.T))))

    def _identity(self) -> Tensor:
        return torch.eye(len(self._products), dtype=self._products.dtype, device=self._products.device)

    def _spread(self, squares: Tensor) -> Tensor:
        """Add up squared lengths (N,) over the degrees of freedom of each covariance, (M, Q)."""
        weights, belongs = self.compared.weights, self.compared.belongs  # (N, M)
        return weights.T @ squares[:, None] if belongs is None else (weights * squares[:, None]).T @ belongs

    def _block(self, a: int, b: int) -> tuple[Tensor, Tensor]:
        """Return the products between the scaled rows of two modalities, (N / 2, N), and which rows come first."""
        # The smaller modality has at most N / 2 rows: with its rows in front, the rest of the block is zero.
        scaled, counts = self.compared.weights.sqrt(), self._statistics.counts
        swap = counts[a] > counts[b]
        few, many = scaled[:, b].where(swap, scaled[:, a]), scaled[:, a].where(swap, scaled[:, b])  # (N,)
        few, front = (part[: len(few) // 2] for part in few.sort(descending=True, stable=True))  # (N / 2,)
        return self._products.index_select(0, front) * (few[:, None] * many), front


def _products_of(gram: Tensor, compared: Comparisons) -> tuple[Tensor, Tensor, Tensor]:
    """Return the inner products of rows (N, N), of rows with means (N, M, R), and of means (M, M, R)."""
    averaging, num_rows, num_modalities = compared.averaging, *compared.weights.shape
    if averaging is None:
        rows, means = (part.split([num_rows, num_modalities], 1) for part in gram.split([num_rows, num_modalities]))
        return rows[0], rows[1][:, :, None], means[1][:, :, None]  # split: its gradient is put together in one step
    products = compared.around(compared.around(gram[:num_rows, :num_rows]).T)
    # A mean of some rows is one of centered rows, and the mean of their modality.
    own = torch.eye(averaging.shape[1], dtype=gram.dtype, device=gram.device)[:, :, None]
    coefficients = torch.cat([averaging, own.expand(-1, -1, num_rows)])  # (N + M, M, R)
    stacked = (gram @ coefficients.flatten(1)).view_as(coefficients)
    along = compared.around(stacked[:num_rows].flatten(1)).view_as(averaging)
    if compared.belongs is not None:
        products, along = products * compared.belongs, along * compared.belongs[:, None]
    return products, along, (coefficients[:, :, None] * stacked[:, None]).sum(0)

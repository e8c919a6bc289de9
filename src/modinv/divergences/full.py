"""Gaussians with full covariance, from the Gram matrix of N <= D rows or from the N > D rows themselves."""

from itertools import combinations

import torch
from torch import Tensor
from typing_extensions import override

from modinv.divergences.definite import coordinates_of, scatter_of
from modinv.divergences.dense import Coordinates, DenseGaussians
from modinv.divergences.square_roots import nuclear_norm, product_nuclear_norm
from modinv.groups import Comparisons
from modinv.statistics import Statistics, diagonal, lazy

__all__ = ["GramGaussians", "RowGaussians", "around", "full_gaussians"]


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


class GramGaussians(DenseGaussians):
    """Gaussians known by the Gram matrix of the batch, at O(N^2 D) and N^3 for what needs coordinates.

    The rows of a triangular matrix C with C C^T = G stand for the rows of the features. Where comparisons have
    covariances of their own, the products between rows of different identities are set to zero before that. C is
    block-diagonal in the batch's own order then: coordinate k belongs to the identity of row k, and one K x K matrix
    for each modality holds the covariances of all identities.
    """

    def __init__(self, statistics: Statistics, gram: Tensor, compared: Comparisons, shrinkage: float | str) -> None:
        self.compared, self.shrinkage = compared, shrinkage
        num_rows, self.dimension = statistics.features.shape
        self.eps, self.input_eps = statistics.eps, statistics.input_eps
        self._statistics, self._gram = statistics, gram
        self.mean_products, self._along_means = _means_of(gram, compared)  # (M, M, R), (N, M, R)
        products = gram[:num_rows, :num_rows]
        if compared.cells is not None:
            products = around(around(products, compared.cells).T, compared.cells)
        self._products = products if compared.belongs is None else products * compared.belongs  # (N, N)

    @override
    def squared_mean_distances(self) -> Tensor:
        return self.compared.differences @ self.mean_products.flatten(0, 1)

    @override
    def traces(self) -> Tensor:
        return self._spread(diagonal(self._products))

    def _spread(self, squares: Tensor) -> Tensor:
        """Add up squared lengths (N,) over the degrees of freedom of each covariance, (M, Q)."""
        weights, belongs = self.compared.weights, self.compared.belongs  # (N, M)
        return weights.T @ squares[:, None] if belongs is None else (weights * squares[:, None]).T @ belongs

    @override
    def root_traces(self) -> Tensor:
        if self.shrinkage != 0:
            return super().root_traces()
        norms, belongs = [], self.compared.belongs
        for a, b in combinations(range(self.compared.weights.shape[1]), 2):
            block, front = self._block(a, b)
            shares = nuclear_norm(block, self.eps)
            norms.append(shares.sum().expand(1, 1) if belongs is None else (shares @ belongs[front])[None])
        if len(norms) == 1:
            return norms[0]
        return torch.cat(norms) if norms else self._gram[:0, :1]

    def _block(self, a: int, b: int) -> tuple[Tensor, Tensor]:
        """Return the products between the scaled rows of two modalities, (N / 2, N), and which rows come first."""
        # The smaller modality has at most N / 2 rows: with its rows in front, the rest of the block is zero.
        scaled, counts = self.compared.weights.sqrt(), self._statistics.counts
        swap = counts[a] > counts[b]
        few, many = scaled[:, b].where(swap, scaled[:, a]), scaled[:, a].where(swap, scaled[:, b])  # (N,)
        front = few.argsort(descending=True, stable=True)[: len(few) // 2]  # (N / 2,)
        return self._products.index_select(0, front) * (few[front, None] * many), front

    @lazy
    def squared_rows(self) -> Tensor:
        """|z|^2 of each row, (N,)."""
        return diagonal(self._products)

    @lazy
    def square_products(self) -> Tensor:
        """tr Sigma_a Sigma_b of all modalities, (M, M, Q)."""
        weights, belongs = self.compared.weights, self.compared.belongs  # (N, M)
        along = self._products.square() @ weights  # (N, M)
        if belongs is None:
            return (weights.T @ along)[:, :, None]
        return ((weights[:, :, None] * along[:, None]).flatten(1).T @ belongs).unflatten(0, (-1, weights.shape[1]))

    @override
    def coordinates(self) -> Coordinates:
        num_rows, along = len(self._products), self._along_means
        squares, averaging = diagonal(self._gram.detach())[:num_rows], self.compared.cells
        outside: Tensor | int = self.dimension - num_rows
        if averaging is None:
            averaging = self._statistics.membership @ self._statistics.averaging.T  # (N, N): to the modality's mean
        if self.compared.belongs is not None:
            outside = self.dimension - self.compared.belongs.sum(0)  # (R,)
        # Rows around a mean sum to zero, so their Gram matrix is singular. An offset that all rows of a mean share, in
        # a dimension of its own, makes it regular; it is taken off again below.
        offsets = averaging * (averaging @ squares)[:, None]
        # Products that are rounded to eps may miss being positive semidefinite by that much for each row.
        rounding = num_rows * torch.finfo(squares.dtype).eps
        jitter = max(4 * self.eps, rounding)
        scale = (squares + offsets.amax(1)).sqrt()
        rows, means = coordinates_of(self._products + offsets, along.flatten(1), scale, jitter)
        means = means.view_as(along).permute(1, 2, 0)  # (M, R, N)
        # In a cell of equal rows the jitter is all that is left, and rounding it must not make a covariance indefinite.
        floor = None if self.compared.cells is None else rounding * jitter * self._spread(scale.square())
        beyond = self.mean_products - torch.einsum("mrk,nrk->mnr", means, means)
        return Coordinates(around(rows, averaging), means, beyond, outside, floor)


class RowGaussians(DenseGaussians):
    """Gaussians known by their rows, which are coordinates themselves, at O(N D^2); all share their covariances."""

    def __init__(self, statistics: Statistics, compared: Comparisons, shrinkage: float | str) -> None:
        self.compared, self.shrinkage = compared, shrinkage
        self.dimension = statistics.features.shape[1]
        self.eps, self.input_eps = statistics.eps, statistics.input_eps
        self._rows, self._means = centered_samples(statistics, compared)
        self.mean_products = torch.einsum("mrk,nrk->mnr", self._means, self._means)

    @override
    def squared_mean_distances(self) -> Tensor:
        return self.compared.differences @ self.mean_products.flatten(0, 1)

    @override
    def traces(self) -> Tensor:
        return self.compared.weights.T @ self.squared_rows[:, None]

    @override
    def root_traces(self) -> Tensor:
        if self.shrinkage != 0:
            return super().root_traces()
        scaled = self.compared.weights.sqrt().to(self._rows).T[:, :, None] * self._rows  # (M, N, D)
        norms = [product_nuclear_norm(scaled[a], scaled[b]) for a, b in combinations(range(len(scaled)), 2)]
        return torch.stack(norms)[:, None].to(self._means) if norms else self._means[:0, :, 0]

    @lazy
    def squared_rows(self) -> Tensor:
        """|z|^2 of each row, (N,)."""
        return self._rows.square().sum(1).to(self._means)

    @lazy
    def square_products(self) -> Tensor:
        """tr Sigma_a Sigma_b of all modalities, (M, M, Q)."""
        covariances = scatter_of(self._rows, self.compared.weights.to(self._rows)).flatten(1)  # (M, D^2)
        return (covariances @ covariances.T)[:, :, None].to(self._means)

    @override
    def coordinates(self) -> Coordinates:
        nothing = self._means.new_zeros(1)
        return Coordinates(self._rows, self._means, nothing.expand_as(self.mean_products), 0)


def centered_samples(statistics: Statistics, compared: Comparisons) -> tuple[Tensor, Tensor]:
    """Return the rows around the means of their covariances (N, D), and all means (M, R, D) in the full type."""
    rows, means = statistics.centered  # (N, D), (M, D)
    if compared.averaging is None or compared.cells is None:  # a level of identities has both
        return rows, means[:, None].to(statistics.dtype)
    sums = compared.averaging.flatten(1).to(rows.dtype).T @ rows  # (M R, D)
    means = means[:, None].to(statistics.dtype) + sums.view(*compared.averaging.shape[1:], -1).to(statistics.dtype)
    return around(rows, compared.cells.to(rows.dtype)), means


def _means_of(gram: Tensor, compared: Comparisons) -> tuple[Tensor, Tensor]:
    """Return the inner products of means with each other (M, M, R), and with rows around their means (N, M, R)."""
    averaging, num_rows = compared.averaging, len(compared.weights)
    if averaging is None or compared.cells is None:  # a level of identities has both
        return gram[num_rows:, num_rows:, None], gram[:num_rows, num_rows:, None]
    # A mean of some rows is one of centered rows, and the mean of their modality.
    own = torch.eye(averaging.shape[1], dtype=gram.dtype, device=gram.device)[:, :, None]
    coefficients = torch.cat([averaging, own.expand(-1, -1, num_rows)])  # (N + M, M, R)
    stacked = (gram @ coefficients.flatten(1)).view_as(coefficients)
    along = around(stacked[:num_rows].flatten(1), compared.cells).view_as(averaging)
    if compared.belongs is not None:
        along = along * compared.belongs[:, None]
    return (coefficients[:, :, None] * stacked[:, None]).sum(0), along


def around(rows: Tensor, cells: Tensor) -> Tensor:
    """Take the mean of each cell off its rows, (N, k)."""
    return rows - cells @ rows

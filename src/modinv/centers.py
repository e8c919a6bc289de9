"""The centers of cells and identities: how far they are apart, and how far rows are from them."""

from typing import NamedTuple

import torch
from torch import Tensor

from modinv import groups
from modinv.directions import cosine_distances
from modinv.distances import diagonal, safe_sqrt, squared_distances
from modinv.statistics import Statistics, lazy, row_products

__all__ = ["CellCenters", "IdentityCenters", "RowsToCenters", "identity_centers"]


class CellCenters:
    """The centers of the cells, C of them: ``statistics.kept(CellCenters)``.

    Where the labels can be read for free a cell stands here once. Elsewhere each row of the batch stands for its cell,
    and no shape depends on the labels. A loss gives each center 1 / ``times`` votes.

    Attributes:
        labels, modalities: of the cells, (C,).
        same_identity, same_modality: of the cells, bool (C, C).
        times: how often the cell stands here, (C,).
    """

    def __init__(self, statistics: Statistics) -> None:
        self._statistics = statistics
        self._places = groups.places_of(statistics.labels, statistics.modalities)
        if self._places is None:
            self.labels, self.modalities = statistics.labels, statistics.modalities
            self.same_identity, self.same_modality = statistics.same_identity, statistics.same_modality
            self.times = statistics.cell_sizes
        else:
            first = self._places.first
            self.labels, self.modalities = statistics.labels[first], statistics.modalities[first]
            self.same_identity = groups.same_identity(self.labels)
            self.same_modality = groups.same_modality(self.modalities)
            self.times = torch.ones(len(first), dtype=statistics.dtype)

    @lazy
    def distances(self) -> Tensor:
        """The distances between the centers, (C, C)."""
        statistics = self._statistics
        if self._places is None:  # from the shared Gram matrix
            return statistics.kept(RowsToCenters).between_cells
        # Of few centers a Gram matrix of their own is cheaper; around the mean, it is exact under a common offset.
        centers = self._places.means(statistics.shifted)
        return safe_sqrt(squared_distances(row_products(centers, statistics.dtype)))

    @lazy
    def cosine_distances(self) -> Tensor:
        """One minus the cosine of the angle between the centers, (C, C)."""
        return cosine_distances(self.as_rows)

    @lazy
    def as_rows(self) -> Statistics:
        """The statistics of the centers, as if they were rows."""
        features = self._statistics.features.to(self._statistics.kind)
        if self._places is None:
            return self._statistics.of(self._statistics.cells.means(features))
        return self._statistics.of(self._places.means(features), self.labels, self.modalities)


class IdentityCenters(NamedTuple):
    """The centers of the identities over all modalities, C of them, each once or once for each row as above."""

    others: Tensor  # bool (C, C): which two are of two identities
    times: Tensor  # (C,): how often the identity stands here
    distances: Tensor  # (C, C): between the centers
    of_rows: Tensor  # (N,): of each row to the center of its identity


def identity_centers(statistics: Statistics) -> IdentityCenters:
    """Return the centers of the identities: ``statistics.kept(identity_centers)``."""
    places = groups.places_of(statistics.labels)
    if places is None:
        to_centers = statistics.kept(RowsToCenters)
        own = diagonal(to_centers.of_identities)
        times = to_centers.identities.sizes
        return IdentityCenters(~statistics.same_identity, times, to_centers.between_identities, own)
    rows = statistics.shifted
    centers = places.means(rows)
    products = row_products(centers, statistics.dtype)
    own = torch.linalg.vector_norm(rows - centers.index_select(0, places.groups), dim=1).to(statistics.dtype)
    # The mean of equal rows rounds. What is left has no direction, and would have a gradient.
    noise = 16 * statistics.eps * diagonal(products.detach()).sqrt().index_select(0, places.groups)
    return IdentityCenters(
        others=~groups.same_identity(statistics.labels[places.first]),
        times=torch.ones(len(centers), dtype=statistics.dtype),
        distances=safe_sqrt(squared_distances(products)),
        of_rows=own.masked_fill(own <= noise, 0),
    )


class RowsToCenters:
    """The distances of all rows to centers, one for each row: ``statistics.kept(RowsToCenters)``."""

    def __init__(self, statistics: Statistics) -> None:
        self._statistics = statistics

    @lazy
    def cell_products(self) -> Tensor:
        """Inner products of all rows and the centers of the cells of all rows, x_i . c_j, (N, N)."""
        return self._statistics.cells.means(self._statistics.row_gram).T

    @lazy
    def of_cells(self) -> Tensor:
        """The distances |x_i - c(j)| of all rows to the centers of the cells of all rows, (N, N)."""
        return self._distances_to(self.cell_products, self._statistics.cells)

    @lazy
    def between_cells(self) -> Tensor:
        """The distances between the centers of the cells of all rows, a cell of k images in k equal rows, (N, N)."""
        return safe_sqrt(squared_distances(self._statistics.cells.means(self.cell_products)))

    @lazy
    def squared_of_own_cell(self) -> Tensor:
        """The squared distance |x_i - c(i)|^2 of each row to its own cell's center, (N,)."""
        statistics, own = self._statistics, diagonal(self.cell_products)  # (N,): x_i . c_i
        return (diagonal(statistics.row_gram) - 2 * own + statistics.cells.means(own)).clamp(min=0)

    @lazy
    def identities(self) -> groups.Groups:
        """The identities as groups of rows."""
        return groups.groups_of(self._statistics.same_identity, self._statistics.dtype)

    @lazy
    def identity_products(self) -> Tensor:
        """Inner products of all rows and the centers of the identities of all rows, (N, N)."""
        return self.identities.means(self._statistics.row_gram).T

    @lazy
    def of_identities(self) -> Tensor:
        """The distances of all rows to the centers of the identities of all rows, over all modalities, (N, N)."""
        return self._distances_to(self.identity_products, self.identities)

    @lazy
    def between_identities(self) -> Tensor:
        """The distances between the centers of the identities of all rows, (N, N)."""
        return safe_sqrt(squared_distances(self.identities.means(self.identity_products)))

    def _distances_to(self, products: Tensor, members: groups.Groups) -> Tensor:
        """Return the distances of all rows to the means of groups, from their inner products x_i . c_j, (N, N)."""
        scales = diagonal(self._statistics.row_gram)[:, None] + members.means(diagonal(products))
        squares = scales - 2 * products
        # The mean of equal rows rounds. What is left has no direction, and its root would give it a gradient.
        noise = 8 * torch.finfo(squares.dtype).eps * scales
        return safe_sqrt(squares.masked_fill(squares <= noise, 0))

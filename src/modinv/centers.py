"""The centers of cells and identities: how far they are apart, and how far rows are from them."""

import torch
from torch import Tensor

from modinv import groups
from modinv.distances import diagonal, safe_sqrt
from modinv.statistics import Statistics, lazy, product_type

__all__ = ["CellCenters", "RowsToCenters"]


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
        self._places = groups.places_of_cells(statistics.labels, statistics.modalities)
        if self._places is None:
            self.labels, self.modalities = statistics.labels, statistics.modalities
            self.same_identity, self.same_modality = statistics.same_identity, statistics.same_modality
            self.times = statistics.cell_sizes
        else:
            first = self._places.first
            self.labels, self.modalities = statistics.labels[first], statistics.modalities[first]
            self.same_identity = groups.same_identity(self.labels)
            self.same_modality = groups.same_modality(self.modalities)
            self.times = torch.ones(len(self.labels), dtype=statistics.dtype)

    @lazy
    def distances(self) -> Tensor:
        """The distances between the centers, (C, C)."""
        if self._places is None:
            return self._statistics.center_distances  # from the shared Gram matrix
        # Of few centers a Gram matrix of their own is cheaper; around the mean, it is exact under a common offset.
        features = self._statistics.features
        return self._as_rows(features - features.mean(0).detach()).row_distances

    @lazy
    def cosine_distances(self) -> Tensor:
        """One minus the cosine of the angle between the centers, (C, C)."""
        return self.as_rows.cosine_distances

    @lazy
    def as_rows(self) -> Statistics:
        """The statistics of the centers, as if they were rows."""
        return self._as_rows(self._statistics.features)

    def _as_rows(self, features: Tensor) -> Statistics:
        features = features.to(product_type(features))
        if self._places is None:
            return self._statistics.of(self._statistics.cells.means(features))
        cells, labels = self._places.cells, self.labels
        sums = features.new_zeros(len(labels), features.shape[1]).index_add(0, cells, features)
        counts = features.new_zeros(len(labels), 1).index_add(0, cells, torch.ones_like(features[:, :1]))
        return self._statistics.of(sums / counts, labels, self.modalities)


class RowsToCenters:
    """The distances of all rows to centers, one for each row: ``statistics.kept(RowsToCenters)``."""

    def __init__(self, statistics: Statistics) -> None:
        self._statistics = statistics

    @lazy
    def of_cells(self) -> Tensor:
        """The distances |x_i - c(j)| of all rows to the centers of the cells of all rows, (N, N)."""
        return self._distances_to(self._statistics.cell_products, self._statistics.cells)

    @lazy
    def squared_of_own_cell(self) -> Tensor:
        """The squared distance |x_i - c(i)|^2 of each row to its own cell's center, (N,)."""
        statistics, own = self._statistics, diagonal(self._statistics.cell_products)  # (N,): x_i . c_i
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

    def _distances_to(self, products: Tensor, members: groups.Groups) -> Tensor:
        """Return the distances of all rows to the means of groups, from their inner products x_i . c_j, (N, N)."""
        scales = diagonal(self._statistics.row_gram)[:, None] + members.means(diagonal(products))
        squares = scales - 2 * products
        # The mean of equal rows rounds. What is left has no direction, and its root would give it a gradient.
        noise = 8 * torch.finfo(squares.dtype).eps * scales
        return safe_sqrt(squares.masked_fill(squares <= noise, 0))

"""The means of Gaussians in the coordinates of the Gram matrix: their inner products with each other and with rows."""

import torch
from torch import Tensor

from modinv._lazy import lazy
from modinv.divergences.layout import Layout

__all__ = ["SampleMeans", "around_cells", "means_of"]


class SampleMeans:
    """The means mu_ar around the common shift, known by their inner products.

    Args:
        products: <mu_ar, mu_br>, (M, M, R).
        along_rows: <z_i, mu_ar>, with z_i as the covariances have it, (N, M, R).
    """

    def __init__(self, products: Tensor, along_rows: Tensor) -> None:
        self.products = products
        self.along_rows = along_rows

    @lazy
    def squared_lengths(self) -> Tensor:
        """Return |mu_ar|^2, (M, R)."""
        identity = torch.eye(len(self.products), dtype=self.products.dtype, device=self.products.device)
        return (self.products * identity[:, :, None]).sum(1)


def means_of(gram: Tensor, layout: Layout) -> SampleMeans:
    """Return the means of all Gaussians of a layout.

    Args:
        gram: of centered rows and, after them, the means of modalities, (N + M, N + M).
        layout: says which rows make a mean.
    """
    count, num_modalities = layout.covariance_rows.shape[:2]
    if layout.averaging is None:
        return SampleMeans(gram[count:, count:, None], gram[:count, count:, None])
    # A mean of some rows is one of centered rows, and the mean of their modality.
    own = torch.eye(num_modalities, dtype=gram.dtype, device=gram.device)[:, :, None].expand(-1, -1, count)
    coefficients = torch.cat([layout.averaging, own])  # (N + M, M, R)
    stacked = (gram @ coefficients.flatten(1)).view_as(coefficients)
    products = (coefficients[:, :, None] * stacked[:, None]).sum(0)
    return SampleMeans(products, around_cells(stacked[:count].flatten(1), layout).view_as(layout.averaging))


def around_cells(rows: Tensor, layout: Layout) -> Tensor:
    """Take the mean of each cell off its rows, where covariances are around cells; (N, k)."""
    return rows if layout.cells is None else rows - layout.cells @ rows

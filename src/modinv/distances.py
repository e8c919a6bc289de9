"""Gram matrix to Euclidean distances, between rows and between the centers of cells.

The square root of an exact zero has gradient zero here: one image per identity, duplicate rows and collapsed features
are ordinary batches, and the infinite derivative of a plain ``sqrt`` would make all of their gradients NaN.
"""

import torch
from torch import Tensor

from modinv.statistics import Statistics

__all__ = [
    "center_distances",
    "diagonal",
    "farthest",
    "nearest",
    "on_diagonal",
    "row_distances",
    "safe_sqrt",
    "squared_distances",
    "squared_distances_to_centers",
    "squared_norms",
]


def row_distances(statistics: Statistics) -> Tensor:
    """Return the distances |x_i - x_j| between all rows, (N, N)."""
    return safe_sqrt(squared_distances(statistics.row_gram))


def center_distances(statistics: Statistics) -> Tensor:
    """Return the distances between the centers of the cells of all rows, (N, N).

    Row i stands for its cell (identity and modality), so that a cell of k images fills k equal rows: shapes that
    depend on the data are never made.
    """
    averaging = _cell_averaging(statistics)  # (N, N)
    return safe_sqrt(squared_distances(averaging @ statistics.row_gram @ averaging.T))


def squared_distances_to_centers(statistics: Statistics) -> Tensor:
    """Return the squared distance |x_i - c(i)|^2 of each row to its own cell's center, (N,)."""
    averaging = _cell_averaging(statistics)
    around = torch.eye(len(averaging), dtype=averaging.dtype, device=averaging.device) - averaging
    return diagonal(around @ statistics.row_gram @ around.T).clamp(min=0)


def squared_norms(statistics: Statistics) -> Tensor:
    """Return the squared distance |z_i|^2 of each row to its modality's mean, (N,)."""
    num_rows = len(statistics.features)
    return diagonal(statistics.gram[:num_rows, :num_rows])


def _cell_averaging(statistics: Statistics) -> Tensor:
    """Return the matrix that replaces each row by the mean of its cell, (N, N)."""
    same = statistics.same_cell.to(statistics.dtype)
    return same / statistics.cell_sizes[:, None]


def farthest(distances: Tensor, mask: Tensor) -> Tensor:
    """Return the largest distance of each row over the mask (N, N), 0 where the mask is empty, (N,)."""
    return distances.masked_fill(~mask, 0).amax(1) if len(distances) else distances.sum(1)


def nearest(distances: Tensor, mask: Tensor) -> Tensor:
    """Return the smallest distance of each row over the mask (N, N), 0 where the mask is empty, (N,)."""
    # Not infinity there: an infinite value that is masked later still makes the gradient 0 x inf.
    excluded = ~mask & mask.any(1, keepdim=True)
    smallest = distances.masked_fill(excluded, torch.inf).amin(1) if len(distances) else distances.sum(1)
    return smallest.where(mask.any(1), 0)


def safe_sqrt(squares: Tensor) -> Tensor:
    """Return the square root, with value and gradient 0 at 0 and below; NaN stays NaN."""
    flat = squares <= 0
    return squares.masked_fill(flat, 1).sqrt().masked_fill(flat, 0)


def squared_distances(gram: Tensor) -> Tensor:
    """Return |v_i - v_j|^2 from the inner products v_i . v_j, both (N, N)."""
    squares = diagonal(gram)
    return squares[:, None] + squares - 2 * gram


def diagonal(gram: Tensor) -> Tensor:
    """Return the diagonal without a view of it: the compiled gradient of one is wrong in torch 2.13 on CPU.

    That holds for ``Tensor.diagonal`` and for a strided slice of the flattened matrix.
    """
    return (gram * torch.eye(gram.shape[0], dtype=gram.dtype, device=gram.device)).sum(1)


def on_diagonal(values: Tensor) -> Tensor:
    """Return the matrix with ``values`` (N,) on its diagonal; ``torch.diag_embed`` would break the compiled graph."""
    return values[:, None] * torch.eye(len(values), dtype=values.dtype, device=values.device)

"""Distances from inner products, with a gradient where they are zero, and diagonals that can be compiled."""

import torch
from torch import Tensor

__all__ = ["diagonal", "on_diagonal", "safe_sqrt", "squared_distances"]


def safe_sqrt(squares: Tensor) -> Tensor:
    """Return the square root, with value and gradient 0 at 0 and below; NaN stays NaN.

    One image per identity, duplicate rows and collapsed features are ordinary batches. The infinite derivative of a
    plain ``sqrt`` at an exact zero would make all of their gradients NaN.
    """
    flat = squares <= 0
    return squares.masked_fill(flat, 1).sqrt().masked_fill(flat, 0)


def squared_distances(gram: Tensor) -> Tensor:
    """Return |v_i - v_j|^2 from the inner products v_i . v_j, both (N, N)."""
    squares = diagonal(gram)
    return torch.sub(squares[:, None] + squares, gram, alpha=2)  # one pass over N x N less, and one backward


def diagonal(matrix: Tensor) -> Tensor:
    """Return the diagonals of (…, N, N) without a view: the compiled gradient of one is wrong in torch 2.13 on CPU.

    That holds for ``Tensor.diagonal`` and for a strided slice of the flattened matrix.
    """
    return (matrix * torch.eye(matrix.shape[-1], dtype=matrix.dtype, device=matrix.device)).sum(-1)


def on_diagonal(values: Tensor) -> Tensor:
    """Return matrices with ``values`` (…, K) on their diagonals; ``torch.diag_embed`` would break a compiled graph."""
    return values[..., None] * torch.eye(values.shape[-1], dtype=values.dtype, device=values.device)

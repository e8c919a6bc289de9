"""Finds the rows of a matrix that are equal to an earlier one, without sorting the matrix."""

import torch
from torch import Tensor

__all__ = ["first_equal_row"]

# Elements that are compared or hashed at a time: 8 MiB of 64-bit integers.
_BLOCK_ELEMENTS = 1 << 20


def first_equal_row(matrix: Tensor) -> Tensor:
    """Find the first row that each row is equal to.

    Each row is hashed to an integer, whose sums do not round, and rows with equal hashes are compared. A row
    with NaN is equal to none. Costs one pass over the matrix and eight bytes a row.

    Args:
        matrix: floating, shape ``(N, D)``.

    Returns:
        ``(N,)`` int64: i where row i is the first of its kind.

    """
    rows = torch.arange(len(matrix), device=matrix.device)
    inverse = torch.unique(_hashes(matrix), return_inverse=True)[1]  # (N,)
    first = torch.full_like(rows, len(rows)).scatter_reduce(0, inverse, rows, "amin")[inverse]
    repeated = (first != rows).nonzero()[:, 0]
    step = _rows_at_a_time(matrix)
    for start in range(0, len(repeated), step):
        some = repeated[start : start + step]
        equal = (matrix[some] == matrix[first[some]]).all(dim=1)
        first[some] = torch.where(equal, first[some], some)
    return first


def _hashes(matrix: Tensor) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    weights = torch.randint(-(2**62), 2**62, (matrix.shape[1],), generator=generator).to(matrix.device)
    hashes = torch.empty(len(matrix), dtype=torch.int64, device=matrix.device)
    step = _rows_at_a_time(matrix)
    for start in range(0, len(matrix), step):
        values = matrix[start : start + step].double() + 0.0  # so that -0.0, which equals 0.0, has its bits
        bits = values.view(torch.int64)
        # The bits of short numbers end in zeros, which a product keeps: fold the upper half onto them.
        hashes[start : start + step] = ((bits ^ (bits >> 32)) * weights).sum(dim=1)  # wraps around
    return hashes


def _rows_at_a_time(matrix: Tensor) -> int:
    return max(1, _BLOCK_ELEMENTS // max(1, matrix.shape[1]))

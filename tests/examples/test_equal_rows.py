"""Tests of reid.evaluation.equal_rows against a plain loop."""

import math

import pytest
import torch
from torch import Tensor

from reid.evaluation import equal_rows
from reid.evaluation.equal_rows import first_equal_row


def oracle(matrix: Tensor) -> list[int]:
    rows = matrix.tolist()
    return [next((j for j in range(i) if rows[j] == row), i) for i, row in enumerate(rows)]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("block", [1, 50, 1 << 20])
def test_first_equal_rows_are_those_of_a_plain_loop(
    dtype: torch.dtype, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(equal_rows, "_BLOCK_ELEMENTS", block)
    generator = torch.Generator().manual_seed(0)
    matrix = torch.randint(-1, 2, (200, 4), generator=generator).to(dtype) / 3
    assert first_equal_row(matrix).tolist() == oracle(matrix)


def test_rows_with_one_hash_are_still_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    matrix = torch.tensor([[1.0, 2.0], [2.0, 1.0], [1.0, 2.0]])
    monkeypatch.setattr(equal_rows, "_hashes", lambda matrix: torch.zeros(len(matrix), dtype=torch.int64))
    assert first_equal_row(matrix).tolist() == [0, 1, 0]


def test_hashes_of_different_rows_differ() -> None:
    matrix = torch.eye(300) + torch.arange(300)[:, None].remainder(3)
    assert len(set(equal_rows._hashes(matrix).tolist())) == 300


def test_both_zeros_are_equal() -> None:
    assert first_equal_row(torch.tensor([[0.0, 1.0], [-0.0, 1.0]])).tolist() == [0, 0]


def test_row_that_is_not_a_number_is_equal_to_none() -> None:
    assert first_equal_row(torch.full((2, 1), math.nan)).tolist() == [0, 1]

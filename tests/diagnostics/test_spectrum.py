"""The effective rank, against the singular values of the centered rows."""

import math

import numpy as np
import pytest
import torch

from batches import make_batch
from modinv.diagnostics import effective_rank

from .plain_loops import Rows, rows_of


def rank_of(rows: Rows) -> float:
    values = np.linalg.svd(np.array(rows) - np.mean(rows, axis=0), compute_uv=False)
    shares = values / values.sum()
    return math.exp(-sum(p * math.log(p) for p in shares.tolist() if p > 1e-12))


@pytest.mark.parametrize("dimension", [5, 40])  # fewer than the rows, and more
def test_effective_rank_is_the_exponential_entropy_of_the_singular_values(dimension: int) -> None:
    features, _, modalities = make_batch((13, 9, 4), dimension=dimension)
    expected = [rank_of(rows) for rows in rows_of(features, modalities).values()]
    assert effective_rank(features, modalities).tolist() == pytest.approx(expected, rel=1e-9)


def test_rows_that_spread_alike_in_k_directions_have_rank_k() -> None:
    features = torch.cat([torch.eye(7)[:4], -torch.eye(7)[:4]]) + 3
    assert effective_rank(features, torch.zeros(8).long()).tolist() == pytest.approx([4, 0])


@pytest.mark.parametrize("scale", [1e-3, 1e3])
def test_effective_rank_ignores_scale_and_position(scale: float) -> None:
    features, _, modalities = make_batch((13, 9))
    ranks = effective_rank(features, modalities)
    torch.testing.assert_close(effective_rank(scale * (features + 5), modalities), ranks, rtol=1e-6, atol=0)


def test_modality_without_rows_or_without_spread_has_rank_zero() -> None:
    features = torch.cat([torch.full((9, 24), 1e4 / 3), torch.randn(9, 24)])
    numbers = torch.arange(18) // 9
    assert effective_rank(features, 2 * numbers)[:2].tolist() == [0, 0]

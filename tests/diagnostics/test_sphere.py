"""Uniformity on the sphere, against torch's own distances of pairs."""

import math

import pytest
import torch

from batches import make_batch
from modinv.diagnostics import rows, uniformity


def test_uniformity_is_the_log_mean_of_a_gaussian_over_the_pairs() -> None:
    features = make_batch((13, 10)).features
    pairs = torch.pdist(torch.nn.functional.normalize(features)).square()
    assert float(uniformity(features)) == pytest.approx(float((-2 * pairs).exp().mean().log()), rel=1e-12)


@pytest.mark.parametrize("pairs", [1, 60])
def test_uniformity_does_not_depend_on_the_size_of_a_chunk(pairs: int, monkeypatch: pytest.MonkeyPatch) -> None:
    features = make_batch((13, 10)).features
    whole = float(uniformity(features))
    monkeypatch.setattr(rows, "CHUNK_PAIRS", pairs)
    assert float(uniformity(features)) == pytest.approx(whole, rel=1e-13)


def test_rows_in_one_direction_are_at_zero_and_opposite_ones_at_minus_eight() -> None:
    assert float(uniformity(torch.tensor([[1.0, 2.0], [2.0, 4.0], [3.0, 6.0]]))) == pytest.approx(0, abs=1e-14)
    assert float(uniformity(torch.tensor([[1.0, 2.0], [-1.0, -2.0]]))) == pytest.approx(-8, rel=1e-14)


@pytest.mark.parametrize("count", [0, 1])
def test_no_pair_is_nan(count: int) -> None:
    assert math.isnan(float(uniformity(torch.ones(count, 3))))


def test_malformed_features_are_named() -> None:
    with pytest.raises(TypeError, match="features must be a floating tensor"):
        uniformity(torch.ones(4, 3).long())
    with pytest.raises(ValueError, match=r"features must have shape \(N, D\), got"):
        uniformity(torch.ones(4))

"""Shrinkage intensities out of the Gram matrix, against scikit-learn."""

import pytest
import sklearn.covariance
import torch

from modinv.divergences import INTENSITIES


@pytest.mark.parametrize("name", INTENSITIES)
@pytest.mark.parametrize("shape", [(5, 40), (40, 5), (12, 12), (200, 3)], ids=str)
def test_intensity_is_that_of_scikit_learn(name: str, shape: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(1)
    rows = torch.randn(*shape, dtype=torch.float64, generator=generator) * torch.linspace(0.5, 2, shape[1])
    centered = rows - rows.mean(0)
    gram = centered @ centered.T / len(rows)
    count = torch.tensor(float(len(rows)), dtype=torch.float64)
    actual = INTENSITIES[name](gram.square().sum(), torch.diag(gram).square().sum(), torch.trace(gram), count, shape[1])
    expected = getattr(sklearn.covariance, name)(rows.numpy())[1]
    assert float(actual) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("name", INTENSITIES)
def test_intensity_of_equal_rows_is_one(name: str) -> None:
    zero, count = torch.zeros(()), torch.tensor(4.0)
    assert INTENSITIES[name](zero, zero, zero, count, 7) == 1

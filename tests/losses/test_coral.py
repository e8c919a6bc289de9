"""CORAL against its formula in D x D matrices, and against the Gaussian loss that it is a preset of."""

from typing import Any

import pytest
import torch

from batches import make_batch
from modinv import CoralLoss, GaussianDistributionConsistencyLoss


def test_value_is_that_of_deep_coral() -> None:
    features, labels, modalities = make_batch(dimension=24)
    gap = features[modalities == 0].T.cov() - features[modalities == 1].T.cov()
    expected = gap.square().sum() / (4 * 24**2)
    torch.testing.assert_close(CoralLoss()(features, labels, modalities), expected, rtol=1e-12, atol=0)


@pytest.mark.parametrize("level", ["modality", "identity", "within"])
def test_value_is_the_covariance_part_of_moments_by_4_d(level: Any) -> None:
    batch = make_batch((12, 10), dimension=24)
    moments = GaussianDistributionConsistencyLoss(divergence="moments", level=level).terms(*batch)
    torch.testing.assert_close(CoralLoss(level=level)(*batch), moments.covariance / (4 * 24), rtol=1e-12, atol=0)


def test_means_are_left_alone() -> None:
    features, labels, modalities = make_batch()
    moved = features + 3 * (modalities == 1)[:, None]
    torch.testing.assert_close(CoralLoss()(moved, labels, modalities), CoralLoss()(features, labels, modalities))


def test_level_is_shown_and_an_unknown_one_refused() -> None:
    assert "level='within'" in repr(CoralLoss(level="within"))
    with pytest.raises(ValueError, match="level must be one of 'modality', 'identity', 'within', got 'pooled'"):
        CoralLoss(level="pooled")  # type: ignore[arg-type]

"""Distances out of the Gram matrix."""

import torch

from batches import make_batch
from modinv import distances
from modinv.statistics import statistics_of


def test_row_distances_are_euclidean() -> None:
    batch = make_batch()
    expected = torch.cdist(batch.features, batch.features, compute_mode="donot_use_mm_for_euclid_dist")
    actual = distances.row_distances(statistics_of(*batch))
    torch.testing.assert_close(actual, expected, rtol=1e-12, atol=1e-6)  # the diagonal is a root of rounding errors


def test_center_distances_are_those_of_the_cells() -> None:
    features, labels, modalities = batch = make_batch()
    centers = torch.stack(
        [features[(labels == y) & (modalities == m)].mean(0) for y, m in zip(labels, modalities, strict=True)]
    )
    expected = torch.cdist(centers, centers, compute_mode="donot_use_mm_for_euclid_dist")
    actual = distances.center_distances(statistics_of(*batch))
    torch.testing.assert_close(actual, expected, rtol=1e-12, atol=1e-6)


def test_squared_distances_to_centers_are_those_of_the_rows_to_their_cell() -> None:
    features, labels, modalities = batch = make_batch()
    actual = distances.squared_distances_to_centers(statistics_of(*batch))
    for row, label, modality, value in zip(features, labels, modalities, actual, strict=True):
        center = features[(labels == label) & (modalities == modality)].mean(0)
        torch.testing.assert_close(value, (row - center).square().sum(), rtol=1e-12, atol=1e-12)


def test_safe_sqrt_has_value_and_gradient_zero_at_zero_and_below() -> None:
    squares = torch.tensor([4.0, 0.0, -1e-7], requires_grad=True)
    roots = distances.safe_sqrt(squares)
    (gradient,) = torch.autograd.grad(roots.sum(), squares)
    assert roots.tolist() == [2.0, 0.0, 0.0]
    assert gradient.tolist() == [0.25, 0.0, 0.0]


def test_safe_sqrt_lets_nan_through() -> None:
    assert distances.safe_sqrt(torch.tensor(torch.nan)).isnan()


def test_extremes_over_a_mask_are_zero_where_it_is_empty() -> None:
    values = torch.tensor([[3.0, 1.0, 2.0], [5.0, 4.0, 6.0]])
    mask = torch.tensor([[True, False, True], [False, False, False]])
    assert distances.farthest(values, mask).tolist() == [3.0, 0.0]
    assert distances.nearest(values, mask).tolist() == [2.0, 0.0]

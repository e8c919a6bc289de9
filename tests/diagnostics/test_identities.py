"""Distances of the images of one identity, against plain loops over the pairs."""

import math

import pytest
import torch
from torch import Tensor

from batches import make_batch
from modinv import Batch
from modinv.diagnostics import alignment, distance_histograms, identity_distances

from .plain_loops import cosine_distance


def distances_of(batch: Batch, label: int, *, cross: bool) -> list[float]:
    rows, labels, modalities = (part.tolist() for part in batch)
    return [
        cosine_distance(rows[i], rows[j])
        for i in range(len(rows))
        for j in range(i)
        if labels[i] == labels[j] == label and (modalities[i] != modalities[j]) == cross
    ]


@pytest.mark.parametrize("counts", [(13, 10), (8, 9, 7)])
def test_distances_are_means_over_the_pairs_of_each_identity(counts: tuple[int, ...]) -> None:
    batch = make_batch(counts)
    measured = identity_distances(*batch)
    assert measured.labels.tolist() == sorted(set(batch.labels.tolist()))
    for label, within, cross in zip(*(part.tolist() for part in measured), strict=True):
        for value, pairs in (
            (within, distances_of(batch, label, cross=False)),
            (cross, distances_of(batch, label, cross=True)),
        ):
            assert value == pytest.approx(sum(pairs) / len(pairs), rel=1e-12)


def test_identity_without_such_a_pair_has_nan() -> None:
    features = make_batch().features[:4]
    measured = identity_distances(features, torch.tensor([3, 3, 5, 5]), torch.tensor([0, 0, 0, 1]))
    assert measured.within.isnan().tolist() == [False, True]
    assert measured.cross.isnan().tolist() == [True, False]


def test_alignment_is_the_mean_squared_distance_of_positives_on_the_sphere() -> None:
    batch = make_batch((13, 10))
    rows = torch.nn.functional.normalize(batch.features)
    squares = [
        float((rows[i] - rows[j]).square().sum())
        for i in range(23)
        for j in range(i)
        if batch.labels[i] == batch.labels[j] and batch.modalities[i] != batch.modalities[j]
    ]
    assert float(alignment(*batch)) == pytest.approx(sum(squares) / len(squares), rel=1e-12)


@pytest.mark.parametrize("scale", [1e-200, 1e200])
def test_length_of_the_rows_does_not_matter(scale: float) -> None:
    features, labels, modalities = make_batch((13, 10))
    lengths = scale * (1 + torch.arange(23, dtype=torch.float64))[:, None]
    assert float(alignment(lengths * features, labels, modalities)) == pytest.approx(
        float(alignment(features, labels, modalities)), rel=1e-12
    )


def test_row_of_zeros_is_at_distance_one_as_in_the_histograms() -> None:
    features, labels, modalities = (
        torch.tensor([[0.0, 0], [0, 0], [3, 4]]),
        torch.zeros(3).long(),
        torch.tensor([0, 0, 1]),
    )
    measured = identity_distances(features, labels, modalities)
    assert (float(measured.within), float(measured.cross)) == (1, 1)
    assert distance_histograms(features, labels, modalities, bins=4).cross_same.tolist() == [0, 0, 2, 0]


def equal_rows(count: int) -> Tensor:
    return torch.full((count, 24), 1 / 3)


def test_images_that_coincide_are_aligned_up_to_rounding() -> None:
    value = float(alignment(equal_rows(9), torch.zeros(9).long(), torch.arange(9) % 2))
    assert 0 <= value < 1e-14
    assert math.isnan(float(alignment(equal_rows(9), torch.arange(9), torch.arange(9) % 2)))

"""The centers of cells and identities, against their definition."""

import pytest
import torch
from torch import Tensor

from batches import make_batch
from modinv import Batch, groups
from modinv.centers import CellCenters, IdentityCenters, RowsToCenters, identity_centers
from modinv.statistics import Statistics, statistics_of


def test_distances_to_centers_are_those_of_the_rows_to_all_cells() -> None:
    features, labels, modalities = batch = make_batch()
    centers = torch.stack(
        [features[(labels == y) & (modalities == m)].mean(0) for y, m in zip(labels, modalities, strict=True)]
    )
    expected = torch.cdist(features, centers, compute_mode="donot_use_mm_for_euclid_dist")
    torch.testing.assert_close(RowsToCenters(statistics_of(*batch)).of_cells, expected, rtol=1e-12, atol=1e-12)


def test_distances_to_identity_centers_are_those_of_the_rows_to_all_identities() -> None:
    features, labels, _ = batch = make_batch()
    centers = torch.stack([features[labels == y].mean(0) for y in labels])
    expected = torch.cdist(features, centers, compute_mode="donot_use_mm_for_euclid_dist")
    torch.testing.assert_close(RowsToCenters(statistics_of(*batch)).of_identities, expected, rtol=1e-12, atol=1e-12)


def centers_of(batch: Batch) -> Tensor:
    """The centers in the order of ``CellCenters``."""
    cells = CellCenters(statistics_of(*batch))
    return torch.stack(
        [
            batch.features[(batch.labels == y) & (batch.modalities == m)].mean(0)
            for y, m in zip(cells.labels, cells.modalities, strict=True)
        ]
    )


def test_distances_between_centers_are_euclidean() -> None:
    batch = make_batch((9, 7, 5))
    expected = torch.cdist(centers_of(batch), centers_of(batch), compute_mode="donot_use_mm_for_euclid_dist")
    torch.testing.assert_close(CellCenters(statistics_of(*batch)).distances, expected, rtol=1e-12, atol=1e-6)


def test_cosine_distances_between_centers_are_around_the_origin() -> None:
    batch = make_batch((9, 7, 5))
    centers = centers_of(batch)
    expected = 1 - torch.nn.functional.cosine_similarity(centers[:, None], centers, dim=2)
    torch.testing.assert_close(CellCenters(statistics_of(*batch)).cosine_distances, expected, rtol=0, atol=1e-12)


def test_center_stands_once_where_labels_can_be_read_and_for_each_row_elsewhere(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    batch = make_batch((9, 7, 5))
    cells = set(zip(batch.labels.tolist(), batch.modalities.tolist(), strict=True))
    once = CellCenters(statistics_of(*batch))
    assert len(once.labels) == len(cells)
    assert once.times.tolist() == [1.0] * len(cells)
    monkeypatch.setattr(groups, "places_of", lambda *_: None)
    statistics = statistics_of(*batch)
    each = CellCenters(statistics)
    assert len(each.labels) == len(batch.labels)
    assert torch.equal(each.times, statistics.cell_sizes)


def test_squared_distances_to_centers_are_those_of_the_rows_to_their_cell() -> None:
    features, labels, modalities = batch = make_batch()
    actual = RowsToCenters(statistics_of(*batch)).squared_of_own_cell
    for row, label, modality, value in zip(features, labels, modalities, actual, strict=True):
        center = features[(labels == label) & (modalities == modality)].mean(0)
        torch.testing.assert_close(value, (row - center).square().sum(), rtol=1e-12, atol=1e-12)


def test_functions_of_one_name_do_not_share_what_is_kept_of_a_batch() -> None:
    statistics = statistics_of(*make_batch())

    class Other:
        @staticmethod
        def identity_centers(statistics: Statistics) -> int:
            return len(statistics.features)

    assert isinstance(statistics.kept(identity_centers), IdentityCenters)
    assert statistics.kept(Other.identity_centers) == len(statistics.features)


def test_losses_share_what_is_kept_of_a_batch() -> None:
    statistics = statistics_of(*make_batch())
    assert statistics.kept(CellCenters) is statistics.kept(CellCenters)


def test_identity_centers_are_the_same_once_and_for_each_row(monkeypatch: pytest.MonkeyPatch) -> None:
    features, labels, _ = batch = make_batch((9, 7, 5))
    once = identity_centers(statistics_of(*batch))
    assert len(once.times) == len(labels.unique())
    assert once.times.tolist() == [1.0] * len(once.times)
    monkeypatch.setattr(groups, "places_of", lambda *_: None)
    each = identity_centers(statistics_of(*batch))
    expected = torch.stack(
        [(row - features[labels == label].mean(0)).norm() for row, label in zip(features, labels, strict=True)]
    )
    for found in (once, each):
        torch.testing.assert_close(found.of_rows, expected, rtol=1e-12, atol=1e-12)
    assert each.times.tolist() == [int((labels == label).sum()) for label in labels]
    # Every identity once, in the order of its first row.
    first = [labels.tolist().index(label) for label in dict.fromkeys(labels.tolist())]
    torch.testing.assert_close(each.distances[first][:, first], once.distances, rtol=1e-12, atol=1e-6)
    assert torch.equal(each.others[first][:, first], once.others)


@pytest.mark.parametrize("kind", [torch.float32, torch.float64])
def test_equal_rows_are_at_no_distance_from_the_center_of_their_identity(kind: torch.dtype) -> None:
    row = torch.randn(5, dtype=kind, generator=torch.Generator().manual_seed(0))
    features = torch.stack([row, row, row, row + 1]).requires_grad_()
    labels, modalities = torch.tensor([0, 0, 0, 1]), torch.tensor([0, 1, 0, 1])
    of_rows = identity_centers(statistics_of(features, labels, modalities)).of_rows
    (gradient,) = torch.autograd.grad(of_rows.sum(), features)
    assert of_rows.tolist() == [0.0] * 4
    assert not gradient.any()

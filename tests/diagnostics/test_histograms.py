"""The histograms of distances, against plain loops over the pairs."""

import pytest
import torch

from batches import make_batch
from modinv import groups
from modinv.diagnostics import distance_histograms, rows

from .plain_loops import pairs_of


def test_histograms_count_the_pairs_of_each_kind() -> None:
    batch = make_batch((13, 10))
    histograms = distance_histograms(*batch, bins=17)
    assert {name: getattr(histograms, name).tolist() for name in histograms._fields[1:]} == pairs_of(*batch, bins=17)
    assert histograms.edges.tolist() == pytest.approx([2 * k / 17 for k in range(18)], abs=1e-15)


@pytest.mark.parametrize("pairs", [1, 60, 1000])
def test_histograms_do_not_depend_on_the_size_of_a_chunk(pairs: int, monkeypatch: pytest.MonkeyPatch) -> None:
    batch = make_batch((13, 10))
    whole = distance_histograms(*batch)
    monkeypatch.setattr(rows, "CHUNK_PAIRS", pairs)
    assert all(torch.equal(a, b) for a, b in zip(whole, distance_histograms(*batch), strict=True))


def test_no_chunk_of_pairs_is_a_square_of_many_rows() -> None:
    sizes = [chunk.distances.numel() for chunk in rows.pair_chunks(torch.rand(6000, 2))]
    assert max(sizes) <= 1 << 21 < 6000**2
    assert len(sizes) > 10


@pytest.mark.parametrize("scale", [1e-200, 1.0, 1e200])
def test_histograms_ignore_the_length_of_the_rows(scale: float) -> None:
    features, labels, modalities = make_batch((13, 10))
    lengths = scale * (1 + torch.arange(23, dtype=torch.float64))[:, None]
    histograms = distance_histograms(lengths * features, labels, modalities)
    assert histograms.cross_same.tolist() == distance_histograms(features, labels, modalities).cross_same.tolist()


def test_row_of_zeros_is_at_distance_one() -> None:
    histograms = distance_histograms(torch.tensor([[0.0, 0], [0, 0], [3, 4]]), *torch.zeros(2, 3).long(), bins=4)
    assert histograms.intra_same.tolist() == [0, 0, 3, 0]


def test_opposite_and_equal_rows_are_in_the_outermost_bins() -> None:
    rows = torch.tensor([[0.1, 0.7], [0.1, 0.7], [-0.1, -0.7]])
    assert distance_histograms(rows, *torch.zeros(2, 3).long(), bins=5).intra_same.tolist() == [1, 0, 0, 0, 2]


def test_bins_must_be_a_count() -> None:
    with pytest.raises(ValueError, match="bins must be at least 1, got 0"):
        distance_histograms(*make_batch(), bins=0)


def test_rows_are_compared_with_other_rows() -> None:
    labels, others = torch.tensor([4, 5]), torch.tensor([5, 4, 5])
    assert groups.same_identity(labels, others).tolist() == [[False, True, False], [True, False, True]]
    assert groups.same_modality(labels, others).tolist() == [[False, True, False], [True, False, True]]

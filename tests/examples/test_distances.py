"""Tests of reid.evaluation.distances: plain loops, and what must be equal to the last bit."""

import math
import re
from typing import Any

import pytest
import torch
from torch import Tensor

from reid.evaluation import distances as room
from reid.evaluation.distances import Metric, distances, distances_to, prepare_gallery


def features(queries: int, images: int, dimension: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    query, gallery = (
        torch.randn(rows, dimension, generator=generator, dtype=torch.float64) for rows in (queries, images)
    )
    return query, gallery


def test_cosine_distance_is_minus_the_cosine_of_the_angle() -> None:
    query, gallery = torch.tensor([[3.0, 4.0]]), torch.tensor([[30.0, 40.0], [4.0, -3.0], [-1.0, 0.0]])
    expected = torch.tensor([[-1.0, 0.0, 0.6]], dtype=torch.float64)
    torch.testing.assert_close(distances(query, gallery), expected, rtol=0, atol=1e-15)


def test_euclidean_distance_equals_that_of_a_plain_loop() -> None:
    generator = torch.Generator().manual_seed(0)
    query = torch.randn(30, 6, generator=generator, dtype=torch.float64)
    gallery = torch.randn(40, 6, generator=generator, dtype=torch.float64)
    expected = [[math.dist(q, g) for g in gallery.tolist()] for q in query.tolist()]
    distance = distances(query, gallery, "euclidean")
    torch.testing.assert_close(distance, torch.tensor(expected, dtype=torch.float64), rtol=1e-12, atol=0)


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_short_features_have_the_distances_of_their_float64_values(metric: Metric, dtype: torch.dtype) -> None:
    query, gallery = (part.to(dtype) for part in features(8, 5, 4))
    distance = distances(query, gallery, metric)
    assert distance.dtype == torch.float64
    assert torch.equal(distance, distances(query.double(), gallery.double(), metric))


def test_feature_without_direction_is_at_right_angles_to_all() -> None:
    assert distances(torch.zeros(1, 3), torch.ones(2, 3)).tolist() == [[0.0, 0.0]]


def test_unknown_metric_is_refused_with_the_known_ones() -> None:
    metric: Any = "manhattan"
    with pytest.raises(ValueError, match="one of cosine, euclidean, got 'manhattan'"):
        distances(torch.ones(1, 2), torch.ones(1, 2), metric)


def test_features_of_different_width_are_refused() -> None:
    with pytest.raises(ValueError, match=re.escape("got (1, 2) and (1, 3)")):
        distances(torch.ones(1, 2), torch.ones(1, 3))


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("queries", [1, 3, 69])
def test_equal_gallery_images_are_equally_far_to_the_last_bit(metric: Metric, queries: int) -> None:
    query, gallery = features(queries, 1, 100)
    distance = distances(query, gallery.repeat(301, 1), metric)
    assert torch.equal(distance, distance[:, :1].expand(-1, 301))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("block", [1, 50, 1 << 20])
def test_repeated_rows_are_those_of_a_plain_loop(
    dtype: torch.dtype, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "_BLOCK_ELEMENTS", block)
    gallery = torch.randint(-1, 2, (200, 4), generator=torch.Generator().manual_seed(0)).to(dtype) / 3
    gallery[gallery == 0] *= -1  # both zeros are equal
    rows = gallery.tolist()
    first = [rows.index(row) for row in rows]
    prepared = prepare_gallery(gallery, "cosine")
    assert prepared.repeated.tolist() == [place for place in range(200) if first[place] != place]
    assert prepared.originals.tolist() == [first[place] for place in prepared.repeated.tolist()]


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_features_of_few_bits_have_exact_ties(metric: Metric) -> None:
    # Signs: the squared distance of two rows is 4 times the number of places where they differ, and so is the angle.
    query, gallery = (part.sign() for part in features(40, 301, 12))
    distance = distances(query, gallery, metric)
    differing = (query[:, None] != gallery).sum(dim=2)
    for row, counts in zip(distance, differing, strict=True):
        assert len(row.unique()) == len(counts.unique())


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize(("tile", "block"), [(1, 1), (100, 60), (1 << 20, 1 << 20)])
def test_tiles_and_blocks_do_not_change_exact_distances(
    metric: Metric, tile: int, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    query, gallery = ((part * 8).round() for part in features(23, 37, 6))
    expected = distances(query, gallery, metric)
    monkeypatch.setattr(room, "_TILE_ELEMENTS", tile)
    monkeypatch.setattr(room, "_TILE_ROWS", 1)
    monkeypatch.setattr(room, "_BLOCK_ELEMENTS", block)
    assert torch.equal(distances(query, gallery, metric), expected)


@pytest.mark.parametrize("offset", [1e4, -1e6])
@pytest.mark.parametrize("stray", [0.0, 1e8])
def test_euclidean_distance_keeps_its_digits_under_a_common_offset(offset: float, stray: float) -> None:
    query, gallery = (part + offset for part in features(40, 60, 16))
    gallery[0] += stray  # what is taken off must not be that of one image
    expected = (query[:, None] - gallery).norm(dim=2)
    torch.testing.assert_close(distances(query, gallery, "euclidean"), expected, rtol=1e-12, atol=0)


def test_common_offset_keeps_exact_ties() -> None:
    query, gallery = (part.sign() for part in features(40, 301, 12))
    moved = distances(query + 3e4, gallery + 3e4, "euclidean")
    assert torch.equal(moved, distances(query, gallery, "euclidean"))


def test_an_image_is_at_no_distance_from_itself() -> None:
    query, _ = features(20, 1, 64)
    assert distances(query, query, "euclidean").diagonal().max() < 1e-6


def test_gradients_are_not_recorded() -> None:
    query, gallery = features(2, 3, 4)
    assert not distances(query.requires_grad_(), gallery.requires_grad_()).requires_grad


def test_prepared_gallery_serves_any_queries() -> None:
    query, gallery = features(9, 11, 5)
    prepared = prepare_gallery(gallery, "euclidean")
    both = torch.cat([distances_to(prepared, query[:4]), distances_to(prepared, query[4:])])
    torch.testing.assert_close(both, distances(query, gallery, "euclidean"), rtol=1e-14, atol=0)


def test_gallery_that_is_no_matrix_is_refused() -> None:
    with pytest.raises(ValueError, match=re.escape("a row per image, got shape (3,)")):
        prepare_gallery(torch.ones(3), "cosine")

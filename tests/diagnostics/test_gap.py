"""The gap between the modalities, against plain loops in float64."""

import math

import pytest
import torch

from batches import make_batch
from modinv.diagnostics import modality_gap

from .plain_loops import pair_gap, rows_of


@pytest.mark.parametrize("counts", [(9, 7), (2, 11), (1, 8)])
def test_gap_is_the_distance_of_the_means_over_the_pooled_spread(counts: tuple[int, int]) -> None:
    features, _, modalities = make_batch(counts)
    gap = modality_gap(features, modalities)
    assert [float(value) for value in gap] == pytest.approx(
        pair_gap(*rows_of(features, modalities).values()), rel=1e-12
    )


def test_gap_of_three_modalities_is_the_mean_over_their_pairs() -> None:
    features, _, modalities = make_batch((6, 4, 5))
    rows = rows_of(features, modalities)
    pairs = [pair_gap(rows[a], rows[b]) for a, b in ((0, 1), (0, 2), (1, 2))]
    expected = [sum(values) / 3 for values in zip(*pairs, strict=True)]
    assert [float(value) for value in modality_gap(features, modalities)] == pytest.approx(expected, rel=1e-12)


def test_modality_without_rows_makes_no_pair() -> None:
    features, _, modalities = make_batch((6, 4))
    gap, skipping = modality_gap(features, modalities), modality_gap(features, 2 * modalities)
    assert float(skipping.relative) == pytest.approx(float(gap.relative), rel=1e-14)


def test_relative_gap_ignores_scale_position_and_row_order() -> None:
    features, _, modalities = make_batch()
    order = torch.randperm(len(features), generator=torch.Generator().manual_seed(1))
    changed = modality_gap(1e-3 * features[order] + 5, modalities[order]).relative
    assert float(changed) == pytest.approx(float(modality_gap(features, modalities).relative), rel=1e-9)


def test_gap_grows_with_what_lies_between_the_modalities() -> None:
    gaps = [float(modality_gap(b.features, b.modalities).relative) for b in (make_batch(gap=g) for g in (0.1, 1, 10))]
    assert gaps[0] < gaps[1] < gaps[2]


def test_samples_of_one_distribution_show_the_gap_of_chance() -> None:
    generator = torch.Generator().manual_seed(0)
    modalities = torch.arange(48) % 3 % 2  # 32 and 16 rows
    squares = [modality_gap(torch.randn(48, 200, generator=generator), modalities) for _ in range(40)]
    measured = math.sqrt(sum(float(gap.relative) ** 2 for gap in squares) / 40)
    assert measured == pytest.approx(float(squares[0].chance), rel=0.02)
    assert float(squares[0].chance) == pytest.approx(math.sqrt(1 / 32 + 1 / 16), rel=1e-12)


def test_equal_rows_have_no_gap_at_any_offset() -> None:
    modalities = (torch.arange(9) % 3 == 0).long()  # with these counts the means are rounded to different numbers
    rows = torch.full((9, 24), 1e4 / 3, dtype=torch.float64)
    assert [float(value) for value in modality_gap(rows, modalities)[:3]] == [0, 0, 0]
    assert float(modality_gap(rows + modalities[:, None], modalities).relative) == math.inf


def test_two_points_without_spread_are_infinitely_far_apart() -> None:
    modalities = torch.tensor([0, 0, 0, 1, 1])
    gap = modality_gap(modalities[:, None] * torch.full((5, 3), 0.1) + 0.7, modalities)
    assert float(gap.relative) == math.inf
    assert float(gap.distance) == pytest.approx(0.1 * math.sqrt(3), rel=1e-6)
    assert float(gap.spread) == 0


def test_half_precision_is_computed_in_float64() -> None:
    features, _, modalities = make_batch(dtype=torch.bfloat16)
    gap, wide = modality_gap(features, modalities), modality_gap(features.double(), modalities)
    assert torch.equal(gap.relative, wide.relative)
    assert gap.relative.dtype == torch.float64


def test_gap_needs_no_gradient() -> None:
    features, _, modalities = make_batch()
    assert not modality_gap(features.requires_grad_(), modalities).relative.requires_grad

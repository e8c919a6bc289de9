"""Numbers on how far apart modalities are, against plain loops in float64."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from batches import degenerate_batches, make_batch
from modinv import _checks, diagnostics, groups
from modinv.diagnostics import distance_histograms, modality_accuracy, modality_gap

Rows = list[list[float]]
DEGENERATE = degenerate_batches(torch.float64)


def rows_of(features: Tensor, modalities: Tensor) -> dict[int, Rows]:
    return {
        m: [row for row, n in zip(features.double().tolist(), modalities.tolist(), strict=True) if n == m]
        for m in sorted(set(modalities.tolist()))
    }


def mean_of(rows: Rows) -> list[float]:
    return [math.fsum(column) / len(rows) for column in zip(*rows, strict=True)]


def pair_gap(first: Rows, second: Rows) -> tuple[float, float, float, float]:
    means = mean_of(first), mean_of(second)
    scatter = math.fsum(math.dist(row, means[0]) ** 2 for row in first)
    scatter += math.fsum(math.dist(row, means[1]) ** 2 for row in second)
    spread = math.sqrt(scatter / (len(first) + len(second) - 2))
    distance = math.dist(*means)
    return distance / spread, distance, spread, math.sqrt(1 / len(first) + 1 / len(second))


def accuracy_of(features: Tensor, modalities: Tensor) -> float:
    streams = rows_of(features, modalities)
    shares = []
    for m, rows in streams.items():
        right = 0
        for i, row in enumerate(rows):
            means = {n: mean_of(rows[:i] + rows[i + 1 :] if n == m else others) for n, others in streams.items()}
            right += min(means, key=lambda n: math.dist(row, means[n])) == m
        shares.append(right / len(rows))
    return sum(shares) / len(shares)


def pairs_of(features: Tensor, labels: Tensor, modalities: Tensor, bins: int) -> dict[str, list[int]]:
    counts = {f"{kind}_{other}": [0] * bins for kind in ("intra", "cross") for other in ("same", "different")}
    rows = features.double().tolist()
    for i in range(len(rows)):
        for j in range(i):
            dot = math.fsum(a * b for a, b in zip(rows[i], rows[j], strict=True))
            distance = 1 - dot / (math.hypot(*rows[i]) * math.hypot(*rows[j]))
            kind = "intra" if modalities[i] == modalities[j] else "cross"
            other = "same" if labels[i] == labels[j] else "different"
            counts[f"{kind}_{other}"][min(int(distance * bins / 2), bins - 1)] += 1
    return counts


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


@pytest.mark.parametrize("name", DEGENERATE)
def test_degenerate_batch_has_numbers(name: str) -> None:
    features, labels, modalities = DEGENERATE[name]
    gap = modality_gap(features, modalities)
    assert not any(value.isnan() for value in gap)
    assert all(value.isfinite() for value in gap[1:])
    assert 0 <= float(modality_accuracy(features, modalities)) <= 1
    histograms = distance_histograms(features, labels, modalities)
    assert sum(int(counts.sum()) for counts in histograms[1:]) == len(features) * (len(features) - 1) // 2


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


@pytest.mark.parametrize("modalities", [[0, 0, 0], [1, 1, 1], []])
def test_one_modality_alone_has_gap_and_accuracy_zero(modalities: list[int]) -> None:
    features, numbers = torch.rand(len(modalities), 4), torch.tensor(modalities, dtype=torch.int64)
    assert [float(value) for value in modality_gap(features, numbers)] == [0, 0, 0, 0]
    assert float(modality_accuracy(features, numbers)) == 0


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("count", [8, 1])
def test_feature_that_is_not_finite_is_seen(value: float, count: int) -> None:
    features, _, modalities = make_batch((9, count))
    features[3, 2] = value
    assert all(part.isnan() for part in modality_gap(features, modalities))
    assert modality_accuracy(features, modalities).isnan()
    with pytest.raises(ValueError, match="features must be finite"):
        distance_histograms(features, modalities, modalities)


def test_unknown_modality_is_seen_where_the_host_cannot_read_it(monkeypatch: pytest.MonkeyPatch) -> None:
    features, _, modalities = make_batch()
    monkeypatch.setattr(_checks, "host_values", lambda tensor: None)
    assert not modality_gap(features, modalities).relative.isnan()
    for modality in (2, -1):
        unknown = modalities.clone().index_fill_(0, torch.tensor([3]), modality)
        assert all(value.isnan() for value in modality_gap(features, unknown))
        assert modality_accuracy(features, unknown).isnan()
    assert not modality_gap(features, 2 * modalities, num_modalities=3).relative.isnan()


def test_half_precision_is_computed_in_float64() -> None:
    features, _, modalities = make_batch(dtype=torch.bfloat16)
    gap, wide = modality_gap(features, modalities), modality_gap(features.double(), modalities)
    assert torch.equal(gap.relative, wide.relative)
    assert gap.relative.dtype == torch.float64


def test_gap_needs_no_gradient() -> None:
    features, _, modalities = make_batch()
    assert not modality_gap(features.requires_grad_(), modalities).relative.requires_grad


def test_accuracy_is_that_of_the_nearest_mean_without_the_row() -> None:
    for seed in range(5):
        features, _, modalities = make_batch((9, 7, 4), gap=0.3, seed=seed)
        assert float(modality_accuracy(features, modalities)) == pytest.approx(
            accuracy_of(features, modalities), rel=1e-12
        )


def test_accuracy_counts_modalities_alike() -> None:
    features = torch.cat([torch.full((90, 2), -5.0), torch.full((5, 2), -5.0), torch.full((5, 2), 5.0)])
    modalities = (torch.arange(100) >= 90).long()  # half of the second modality looks like the first
    features += 0.1 * torch.rand(100, 2, generator=torch.Generator().manual_seed(0))
    assert float(modality_accuracy(features, modalities)) == 0.75


def test_equal_rows_leave_a_guess() -> None:
    assert float(modality_accuracy(torch.full((9, 4), 0.3), torch.arange(9) % 3)) == pytest.approx(1 / 3, rel=1e-12)


def test_accuracy_leaves_out_a_modality_with_one_row() -> None:
    features, _, modalities = make_batch((9, 7))
    more = torch.cat([features, features[:1] + 1])
    expected = float(modality_accuracy(features, modalities))
    assert float(modality_accuracy(more, torch.cat([modalities, torch.tensor([2])]))) == expected


def test_histograms_count_the_pairs_of_each_kind() -> None:
    batch = make_batch((13, 10))
    histograms = distance_histograms(*batch, bins=17)
    assert {name: getattr(histograms, name).tolist() for name in histograms._fields[1:]} == pairs_of(*batch, bins=17)
    assert histograms.edges.tolist() == pytest.approx([2 * k / 17 for k in range(18)], abs=1e-15)


@pytest.mark.parametrize("pairs", [1, 60, 1000])
def test_histograms_do_not_depend_on_the_size_of_a_chunk(pairs: int, monkeypatch: pytest.MonkeyPatch) -> None:
    batch = make_batch((13, 10))
    whole = distance_histograms(*batch)
    monkeypatch.setattr(diagnostics, "_CHUNK_PAIRS", pairs)
    assert all(torch.equal(a, b) for a, b in zip(whole, distance_histograms(*batch), strict=True))


def test_histograms_hold_no_square_of_the_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    shapes = []
    count = diagnostics._count_pairs

    def recorded(rows: Tensor, labels: Tensor, modalities: Tensor, step: int, bins: int) -> Tensor:
        shapes.append(min(step, len(rows)) * len(rows))
        return count(rows, labels, modalities, step, bins)

    monkeypatch.setattr(diagnostics, "_count_pairs", recorded)
    numbers = torch.arange(6000) % 2
    distance_histograms(torch.rand(6000, 2), numbers, numbers)
    assert max(shapes) <= 1 << 21 < 6000**2
    assert len(shapes) > 10


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


@pytest.mark.parametrize("measure", [modality_gap, modality_accuracy])
def test_malformed_input_is_named(measure: Callable[..., object]) -> None:
    features, _, modalities = make_batch()
    with pytest.raises(ValueError, match=r"modalities must have shape \(16,\)"):
        measure(features, modalities[:5])
    with pytest.raises(TypeError, match="modalities must be an integer tensor"):
        measure(features, modalities.float())
    with pytest.raises(TypeError, match="features must be a floating tensor"):
        measure(features.long(), modalities)
    with pytest.raises(TypeError, match="features must be a floating tensor"):
        measure(features.tolist(), modalities)
    with pytest.raises(ValueError, match="modalities must be numbers from 0 to 1"):
        measure(features, modalities + 1, num_modalities=2)


def test_rows_are_compared_with_other_rows() -> None:
    labels, others = torch.tensor([4, 5]), torch.tensor([5, 4, 5])
    assert groups.same_identity(labels, others).tolist() == [[False, True, False], [True, False, True]]
    assert groups.same_modality(labels, others).tolist() == [[False, True, False], [True, False, True]]

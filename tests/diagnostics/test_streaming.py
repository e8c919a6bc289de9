"""Batches one by one give what all rows at once give, on one rank and on several."""

import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import distributed as dist

from batches import make_batch
from distributed_processes import in_processes
from modinv import Batch
from modinv.diagnostics import (
    FeatureReport,
    StreamingDiagnostics,
    alignment,
    distance_histograms,
    effective_rank,
    identity_distances,
    modality_accuracy,
    modality_gap,
    uniformity,
)

BATCHES = [
    make_batch(counts, seed=seed, gap=0.4) for seed, counts in enumerate([(9, 7), (5, 0), (0, 8), (1, 1), (20, 13)])
]


def whole(batches: list[Batch]) -> Batch:
    return Batch(*(torch.cat(parts) for parts in zip(*batches, strict=True)))


def stream(batches: list[Batch], **options: Any) -> StreamingDiagnostics:
    diagnostics = StreamingDiagnostics(24, **options)
    for batch in batches:
        diagnostics.update(*batch)
    return diagnostics


def assert_close(measured: object, expected: object, *, rtol: float = 1e-11) -> None:
    torch.testing.assert_close(measured, expected, rtol=rtol, atol=1e-13, equal_nan=True)


def assert_reports_of_all_rows(report: FeatureReport, batch: Batch) -> None:
    """The numbers that come from sums."""
    features, labels, modalities = batch
    assert report.rows.tolist() == torch.bincount(modalities).tolist()
    assert_close(report.gap, modality_gap(features, modalities))
    assert_close(report.effective_rank, effective_rank(features, modalities), rtol=1e-8)
    assert_close(report.identities, identity_distances(*batch))
    assert_close(report.alignment, alignment(features, labels, modalities))


def assert_reports_of_the_sample(report: FeatureReport, batch: Batch) -> None:
    features, labels, modalities = batch
    assert report.sample_rows == len(labels)
    assert_close(report.uniformity, uniformity(features))
    assert_close(report.nearest_mean_accuracy, modality_accuracy(features, modalities))
    assert_close(report.linear_accuracy, modality_accuracy(features, modalities, classifier="linear"))
    assert_close(report.histograms, distance_histograms(features, labels, modalities))


def test_batches_give_what_all_rows_at_once_give() -> None:
    report = stream(BATCHES).compute()
    assert_reports_of_all_rows(report, whole(BATCHES))
    assert_reports_of_the_sample(report, whole(BATCHES))


def test_sums_hold_all_rows_where_the_sample_cannot() -> None:
    report = stream(BATCHES, sample_size=10).compute()
    assert_reports_of_all_rows(report, whole(BATCHES))
    assert report.sample_rows == 10
    assert sum(int(counts.sum()) for counts in report.histograms[1:]) == 45


def test_gap_keeps_its_digits_far_from_the_origin() -> None:
    far = [batch._replace(features=batch.features + 1e6) for batch in BATCHES]
    relative = modality_gap(*whole(far)[::2]).relative
    torch.testing.assert_close(stream(far).compute().gap.relative, relative, rtol=1e-9, atol=0)


def test_equal_rows_show_neither_gap_nor_rank() -> None:
    rows = torch.full((11, 24), 1e4 / 3, dtype=torch.float64)  # the means are rounded to different numbers
    modalities = (torch.arange(11) % 3 == 0).long()
    report = stream([Batch(rows, torch.zeros(11).long(), modalities.roll(shift)) for shift in range(3)]).compute()
    assert float(report.gap.relative) == 0
    assert report.effective_rank.tolist() == [0, 0]


def test_sample_is_even_over_the_stream_and_repeats() -> None:
    places = torch.arange(4000)
    kept = torch.zeros(4)
    for seed in range(10):
        diagnostics = StreamingDiagnostics(1, sample_size=100, seed=seed)
        for batch in places.split(64):
            diagnostics.update(batch[:, None].float(), batch, batch % 2)
        kept += torch.bincount(diagnostics._sample.labels // 1000, minlength=4)
        assert torch.equal(diagnostics._sample.rows[:, 0].long(), diagnostics._sample.labels)
    assert int(kept.sum()) == 1000
    assert all(200 < int(count) < 300 for count in kept)  # 250 with a deviation of 13
    first, second = (stream(BATCHES, sample_size=10, seed=seed).compute().uniformity for seed in (0, 0))
    assert first == second != stream(BATCHES, sample_size=10, seed=1).compute().uniformity


def test_memory_does_not_grow_with_the_rows() -> None:
    def numbers(diagnostics: StreamingDiagnostics) -> int:
        return sum(part.numel() for state in vars(diagnostics).values() if isinstance(state, tuple) for part in state)

    few = [make_batch((40, 40), seed=seed) for seed in range(3)]
    assert numbers(stream(few, sample_size=50)) == numbers(stream(few * 20, sample_size=50))


def test_reset_forgets_all_rows() -> None:
    diagnostics = stream(BATCHES)
    diagnostics.reset()
    assert diagnostics.compute().rows.tolist() == [0, 0]
    diagnostics.update(*BATCHES[0])
    assert str(diagnostics.compute()) == str(stream(BATCHES[:1]).compute())


def test_computing_changes_nothing() -> None:
    diagnostics = stream(BATCHES[:2])
    first = str(diagnostics.compute())
    assert str(diagnostics.compute()) == first
    diagnostics.update(*BATCHES[2])
    assert_reports_of_all_rows(diagnostics.compute(), whole(BATCHES[:3]))


def test_three_modalities_are_reported() -> None:
    batches = [make_batch((9, 4, 6), seed=seed) for seed in range(2)]
    report = stream(batches, num_modalities=3).compute()
    assert_reports_of_all_rows(report, whole(batches))
    assert "0.333 is a guess" in str(report)


def test_report_prints_a_line_for_each_number() -> None:
    page = str(stream(BATCHES).compute())
    assert [line.split("  ")[0] for line in page.splitlines()] == [
        "rows of each modality",
        "gap between the means",
        "effective rank",
        "identities",
        "cosine distance of their pairs",
        "alignment across modalities",
        "uniformity of 64 rows",
        "modality told by the nearest mean",
        "modality told by a linear probe",
    ]
    assert "of the 10 sampled rows" in str(stream(BATCHES, sample_size=10).compute())


def test_rows_may_come_in_any_type_and_bring_no_gradient() -> None:
    features, labels, modalities = make_batch(dtype=torch.bfloat16)
    diagnostics = stream([Batch(features.requires_grad_(), labels.int(), modalities.to(torch.uint8))])
    assert_reports_of_all_rows(diagnostics.compute(), Batch(features.detach().double(), labels, modalities))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_features": 0}, "num_features must be at least 1, got 0"),
        ({"num_features": 4, "num_modalities": 2.5}, "num_modalities must be a whole number, got 2.5"),
        ({"num_features": 4, "sample_size": 0}, "sample_size must be at least 1"),
        ({"num_features": 4, "seed": -1}, "seed must be at least 0"),
    ],
)
def test_impossible_option_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        StreamingDiagnostics(**options)


def test_batch_that_does_not_fit_is_refused_and_changes_nothing() -> None:
    diagnostics = stream(BATCHES)
    features, labels, modalities = make_batch()
    before = str(diagnostics.compute())
    for bad in (
        (features[:, :5], labels, modalities),
        (features, labels, 2 + modalities),
        (features, None, modalities),
    ):
        with pytest.raises(
            (TypeError, ValueError), match=r"must (have 24 columns|be numbers from 0 to 1|be an integer)"
        ):
            diagnostics.update(*bad)
    assert str(diagnostics.compute()) == before


SHARES = {"equal": (slice(0, 2), slice(2, 5)), "one rank without rows": (slice(0, 5), slice(0, 0))}


def of_a_rank(rank: int) -> dict[str, tuple[FeatureReport, FeatureReport]]:
    """The report of both ranks, and that of the own rows afterwards."""
    reports = {}
    for name, shares in SHARES.items():
        for size in (2048, 10):
            own = stream(BATCHES[shares[rank]], sample_size=size)
            reports[f"{name}, {size}"] = own.gather().compute(), own.compute()
    return reports


@pytest.mark.slow
def test_two_ranks_report_the_rows_of_both(tmp_path: Path) -> None:
    results = in_processes(of_a_rank, 2, tmp_path)
    for name, shares in SHARES.items():
        for rank, result in enumerate(results):
            together, own = result[f"{name}, 2048"]
            assert_reports_of_all_rows(together, whole(BATCHES))
            assert_reports_of_the_sample(together, whole(BATCHES))
            assert own.rows.sum() == sum(len(batch.labels) for batch in BATCHES[shares[rank]])
            sampled, _ = result[f"{name}, 10"]
            assert_reports_of_all_rows(sampled, whole(BATCHES))
            assert sampled.sample_rows == 10
            assert_close(sampled, results[0][f"{name}, 10"][0], rtol=0)


def test_ranks_draw_different_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = []
    for rank in (0, 1):
        monkeypatch.setattr(dist, "is_initialized", lambda: True)
        monkeypatch.setattr(dist, "get_rank", lambda rank=rank: rank)
        numbers.append(stream(BATCHES)._sample.numbers)
    assert not torch.equal(*numbers)


def test_gathering_without_a_group_is_a_copy() -> None:
    diagnostics = stream(BATCHES, sample_size=10)
    together = diagnostics.gather()
    assert str(together.compute()) == str(diagnostics.compute())
    together.update(*BATCHES[0])
    assert str(together.compute()) != str(diagnostics.compute())


def test_rows_after_gathering_are_drawn_as_without_it() -> None:
    diagnostics = stream(BATCHES[:3], sample_size=20)
    together = diagnostics.gather()
    for each in (diagnostics, together):
        for batch in BATCHES[3:]:
            each.update(*batch)
    assert set(together._sample.numbers.tolist()) == set(diagnostics._sample.numbers.tolist())
    assert len(together._sample.numbers.unique()) == 20


def test_diagnostics_can_be_pickled_in_the_middle_of_a_stream() -> None:
    diagnostics = stream(BATCHES, sample_size=10)
    copied = pickle.loads(pickle.dumps(diagnostics))
    for each in (diagnostics, copied):
        each.update(*make_batch((30, 30)))
    assert torch.equal(copied._sample.rows, diagnostics._sample.rows)
    assert str(copied.compute()) == str(diagnostics.compute())

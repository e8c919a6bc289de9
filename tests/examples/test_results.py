"""Tests of reid.experiments.results: tables compared letter by letter, and a results file read back."""

import errno
import hashlib
import json
import math
import os
import platform
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import modinv
from reid.evaluation.scores import Scores
from reid.experiments.results import (
    Provenance,
    Row,
    Run,
    sha256,
    text_table,
    versions,
    write_evaluation,
    write_results,
)
from reid.whole_file import NotWrittenError


def scores(first: float, precision: float = 0.5) -> Scores:
    cmc = torch.ones(20, dtype=torch.float64)
    cmc[:4] = first
    return Scores(cmc=cmc, mAP=precision, mINP=0.25, num_queries=8, num_valid_queries=7)


def rows() -> list[Row]:
    """Means over trials of R1: 50 (one seed); 20, 30 and 40 (three seeds: 30 with deviation 10)."""
    one = Row("baseline", (Run(0, (scores(0.4), scores(0.6))),))
    runs = tuple(Run(seed, (scores(first),)) for seed, first in enumerate((0.2, 0.3, 0.4)))
    return [one, Row("+ enhancing", runs)]


def provenance(**options: Any) -> Provenance:
    return Provenance(
        dataset="synthetic",
        protocol="SYSU-MM01",
        gallery="official",
        mode="all",
        shots=1,
        metric="cosine",
        normalisation="L2",
        options=options,
    )


def test_text_table_is_aligned_and_shows_deviations_over_seeds() -> None:
    assert text_table(rows()).splitlines() == [
        "method                  R1             R5            R10            R20           mAP          mINP",
        "-" * 99,
        "baseline             50.00         100.00         100.00         100.00         50.00         25.00",
        "+ enhancing  30.00 ± 10.00  100.00 ± 0.00  100.00 ± 0.00  100.00 ± 0.00  50.00 ± 0.00  25.00 ± 0.00",
    ]


def test_ranks_are_read_off_the_curve_counted_from_one() -> None:
    ramp = Scores(torch.arange(1, 21).double() / 20, 0.0, 0.0, 1, 1)
    assert text_table([Row("m", (Run(0, (ramp,)),))]).splitlines()[2].split() == [
        "m", "5.00", "25.00", "50.00", "100.00", "0.00", "0.00",
    ]  # fmt: skip


def test_row_without_a_run_is_refused() -> None:
    with pytest.raises(ValueError, match="row 'lost' has no run"):
        text_table([Row("lost", ())])


def test_short_curve_is_refused() -> None:
    short = scores(0.5)._replace(cmc=torch.ones(10, dtype=torch.float64))
    with pytest.raises(ValueError, match="has 10 ranks, the table needs 20"):
        text_table([Row("short", (Run(0, (short,)),))])


def test_results_file_holds_every_score_and_where_it_comes_from(tmp_path: Path) -> None:
    path = tmp_path / "runs" / "first" / "results.json"
    run = Run(3, (scores(0.4, 0.1), scores(0.6, 0.3)), checkpoint="ab12")
    write_results(path, [Row("full", (run,))], provenance(epochs=2, data=Path("data") / "sysu"))
    content = json.loads(path.read_text(encoding="utf-8"))
    assert content["provenance"] == {
        "dataset": "synthetic",
        "protocol": "SYSU-MM01",
        "gallery": "official",
        "mode": "all",
        "shots": 1,
        "metric": "cosine",
        "normalisation": "L2",
        "options": {"epochs": 2, "data": "data/sysu"},
        "direction": "infrared-to-visible",
        "roles": None,
        "trials": 10,
        "cmc": "identity",
        "flip": False,
        "reranking": None,
        "files": {},
        "versions": versions(),
    }
    (record,) = content["rows"][0]["runs"]
    assert (record["seed"], record["checkpoint_sha256"], record["num_trials"]) == (3, "ab12", 2)
    assert [trial["mAP"] for trial in record["trials"]] == [0.1, 0.3]
    assert record["mean"]["mAP"] == 0.2
    assert record["trials"][1]["cmc"] == scores(0.6).cmc.tolist()
    assert content["table"] == text_table([Row("full", (run,))]).splitlines()


def test_results_file_is_replaced_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    path.write_text("old", encoding="utf-8")
    write_results(path, rows(), provenance())
    assert json.loads(path.read_text(encoding="utf-8"))["rows"][0]["method"] == "baseline"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("row", "options", "error", "message"),
    [
        (Row("m", (Run(0, (scores(0.5, math.nan),)),)), {}, ValueError, "not JSON compliant"),
        (
            rows()[0],
            {"device": torch.device("cpu")},
            TypeError,
            "of type device, expected JSON values or a path",
        ),
    ],
)
def test_results_that_cannot_be_written_leave_the_old_file_alone(
    row: Row, options: dict[str, Any], error: type[Exception], message: str, tmp_path: Path
) -> None:
    path = tmp_path / "results.json"
    path.write_text("old", encoding="utf-8")
    with pytest.raises(error, match=message):
        write_results(path, [row], provenance(**options))
    assert path.read_text(encoding="utf-8") == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_write_that_breaks_off_leaves_the_old_file_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full_disk(number: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    path = tmp_path / "results.json"
    write_results(path, rows(), provenance(take=1))
    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(NotWrittenError, match=r"results\.json could not be written"):
        write_results(path, rows(), provenance(take=2))
    assert json.loads(path.read_text(encoding="utf-8"))["provenance"]["options"] == {"take": 1}


def test_evaluation_file_holds_the_means_over_the_trials_and_each_trial(tmp_path: Path) -> None:
    path = tmp_path / "scores" / "out.json"
    write_evaluation(path, [scores(0.4, 0.1), scores(0.6, 0.3)], provenance()._replace(trials=2), "a\nb")
    content = json.loads(path.read_text(encoding="utf-8"))
    names = ("rank1", "rank5", "rank10", "rank20", "mAP", "mINP")
    assert [content[name] for name in names] == [0.5, 1.0, 1.0, 1.0, 0.2, 0.25]
    assert [[trial[name] for name in names[:5]] for trial in content["trials"]] == [
        [0.4, 1, 1, 1, 0.1],
        [0.6, 1, 1, 1, 0.3],
    ]
    assert content["trials"][1]["cmc"] == scores(0.6).cmc.tolist()
    assert (content["num_queries"], content["num_valid_queries"]) == (8, 7)
    assert (content["provenance"]["trials"], content["provenance"]["versions"]) == (2, versions())
    assert content["table"] == ["a", "b"]
    assert list(path.parent.iterdir()) == [path]


def test_number_of_queries_is_the_mean_where_trials_differ(tmp_path: Path) -> None:
    path = tmp_path / "out.json"
    write_evaluation(path, [scores(0.4), scores(0.4)._replace(num_valid_queries=4)], provenance(), "")
    assert json.loads(path.read_text(encoding="utf-8"))["num_valid_queries"] == 5.5


def test_evaluation_of_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least one trial"):
        write_evaluation(tmp_path / "out.json", [], provenance(), "")
    assert not any(tmp_path.iterdir())


def test_versions_name_what_computed_the_numbers() -> None:
    assert versions() == {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "modinv": modinv.__version__,
    }


def test_sha256_of_a_short_file_is_the_published_one(tmp_path: Path) -> None:
    (tmp_path / "abc").write_bytes(b"abc")
    published = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert sha256(tmp_path / "abc") == published


def test_sha256_reads_files_longer_than_one_piece(tmp_path: Path) -> None:
    content = bytes(range(256)) * 10_000
    (tmp_path / "long").write_bytes(content)
    assert sha256(tmp_path / "long") == hashlib.sha256(content).hexdigest()

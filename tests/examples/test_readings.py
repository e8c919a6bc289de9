"""Tests of the experiments in tests/readings: what is trained, how it is scored, and what the tables say."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from readings import page
from readings.network import ReadingNetwork, _Balance
from readings.reading import Reading
from readings.scoring import score
from readings.worlds import PLACES, World
from reid.evaluation.scores import Labels, evaluate_features
from reid.network.model import TwoStreamNetwork


@pytest.mark.parametrize("place", ["pooled", "path", "direct", "neck", "stage", "early"])
def test_seeds_start_alike_whatever_the_branches_are(place: Any) -> None:
    states, stages = [], int(place == "early")
    for reading in (Reading(private_stages=stages), Reading(place, private_stages=stages)):
        torch.manual_seed(0)
        states.append(ReadingNetwork(5, reading).state_dict())
    plain, branched = states
    assert plain.keys() < branched.keys()
    assert len(plain["head.neck.weight"]) == TwoStreamNetwork(5).head.in_features / 2  # and leaves the example's alone
    assert all(torch.equal(values, branched[name]) for name, values in plain.items())


def test_branches_pull_with_the_share_that_is_asked_for() -> None:
    balance = _Balance(0.25)
    for _ in range(2):  # the first time there is nothing to measure by
        features = torch.zeros(4, 9, requires_grad=True)
        shared, private = balance.split(features)
        torch.autograd.backward(shared.sum() + 1000 * private.sum())
    assert features.grad is not None
    torch.testing.assert_close(features.grad, torch.full((4, 9), 1.25))


def test_precision_is_that_of_the_evaluation_in_each_group() -> None:
    generator = torch.Generator().manual_seed(0)
    identities = np.repeat(np.arange(20), 12)
    cameras = np.tile(np.repeat([1, 2, 3, 6], 3), 20)
    rows = torch.randn(240, 4, generator=generator)
    empty = torch.zeros(0)
    world = World(empty, empty, empty, empty, identities, cameras, empty)
    found = score(rows, world)
    places, first = np.array(PLACES)[cameras - 1], np.tile([True, False, False], 80)
    expected = []
    for group in range(10):
        asked = (identities % 10 == group) & np.isin(cameras, (3, 6))
        shown = (identities % 10 == group) & np.isin(cameras, (1, 2)) & first
        labels = [Labels(torch.from_numpy(identities[part]), torch.from_numpy(places[part])) for part in (asked, shown)]
        expected.append(100 * evaluate_features(rows[asked], rows[shown], *labels).mAP)
    assert found.trials[0] == pytest.approx(np.mean(expected), rel=1e-5)
    assert found.mAP == pytest.approx(np.mean(found.trials))
    assert len(found.identities) == 20


def record(reading: str, seed: int, precision: float) -> dict[str, Any]:
    scores = {"mAP": precision, "visible": 80.0, "infrared": 60.0}
    return {"reading": reading, "world": "many", "data": 1, "seed": seed, "steps": 400, **scores}


def test_differences_are_paired_by_data_and_seed() -> None:
    records = [record("baseline", seed, 30.0 + seed) for seed in range(4)]
    records += [record("cross", seed, 31.0 + seed + 0.1 * (-1) ** seed) for seed in range(1, 4)]
    found = page._difference(page._sorted(records, fresh=True), "cross", "many", 400, "mAP")
    assert found is not None
    assert found.pairs == 3
    assert found.mean == pytest.approx(1 - 0.1 / 3)
    assert found.half == pytest.approx(4.302653 * np.std([0.9, 1.1, 0.9], ddof=1) / math.sqrt(3), rel=1e-5)


def test_tables_stand_between_their_marks_and_nothing_else_changes(tmp_path: Path) -> None:
    results = tmp_path / "results.jsonl"
    results.write_text(
        "".join(json.dumps(record(name, seed, 30.0 + seed)) + "\n" for name in ("baseline", "cross") for seed in (1, 2))
    )
    (tmp_path / "figures").mkdir()
    (tmp_path / "readings.md").write_text("a\n<!-- confirmation -->\nold\n<!-- end of confirmation -->\nb\n")
    (tmp_path / "reproduction.md").write_text("untouched\n")
    page.write(tmp_path, results)
    lines = (tmp_path / "readings.md").read_text().splitlines()
    assert [lines[0], lines[1], lines[-2], lines[-1]] == [
        "a",
        "<!-- confirmation -->",
        "<!-- end of confirmation -->",
        "b",
    ]
    assert lines[4:6] == ["| baseline | 400 |  | mAP 31.5 (2) |  |", "| cross | 400 |  | +0.00 ± 0.00 (2) |  |"]
    assert (tmp_path / "reproduction.md").read_text() == "untouched\n"
    assert "<svg" in (tmp_path / "figures" / "readings.svg").read_text()

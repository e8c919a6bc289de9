"""Tests of the example under torchrun: several processes train the network that one would."""

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import reproduce_sysu
from examples.tiny_training import content
from reid.experiments.arguments import parse
from reid.experiments.planning import RefusedError, prepare
from reid.training.ranks import ALONE, Ranks, join_ranks

# In float64 the two differ by the order of the sums, and by nothing that training would have time to magnify.
COMMAND = ["--smoke", "--identities", "3", "--steps", "9", "--precision", "float64", "--no-report"]
METHODS = ("full", "consistency-memory")


def torchrun(arguments: list[str], processes: int) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "PYTHONWARNINGS": "ignore"}
    start = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    return subprocess.run(
        [*start, reproduce_sysu.__file__, *arguments], env=environment, capture_output=True, text=True, timeout=300
    )


def curve(log: Path) -> list[dict[str, float]]:
    with log.open(encoding="utf-8", newline="") as file:
        lines = [{name: float(value) for name, value in line.items()} for line in csv.DictReader(file)]
    idle = {"seconds", "images_per_second", "peak_memory"}
    return [{name: value for name, value in line.items() if name not in idle} for line in lines]


@pytest.mark.slow
def test_two_processes_with_unequal_shares_give_the_curve_and_the_weights_of_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    command = [*COMMAND, "--methods", ",".join(METHODS)]
    assert reproduce_sysu.main([*command, "--name", "one"]) == 0
    result = torchrun([*command, "--name", "two"], 2)
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("epoch 1, step 9/9") == len(METHODS)  # the second process is quiet
    for method in METHODS:
        one, two = (tmp_path / "runs" / name / f"{method}-seed0.pt" for name in ("one", "two"))
        for line, expected in zip(curve(two.with_suffix(".csv")), curve(one.with_suffix(".csv")), strict=True):
            assert line == pytest.approx(expected, rel=1e-9)
        expected_weights = content(one)["model"]
        for name, value in content(two)["model"].items():
            torch.testing.assert_close(value, expected_weights[name], rtol=1e-8, atol=1e-8)


def test_one_process_is_no_group(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"LOCAL_RANK": "0", "WORLD_SIZE": "1"}.items():
        monkeypatch.setenv(name, value)
    with join_ranks("cpu") as ranks:
        assert ranks == ALONE
    assert ALONE.share("value") == "value"
    assert (ALONE.any(True), ALONE.any(False)) == (True, False)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--identities", "3"], "4 processes cannot share batches of 3 identities"),
        (["--workers", "2"], "leave one of them out"),
        (["--compile"], "--compile is for one process"),
    ],
)
def test_what_several_processes_cannot_do_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], sentence: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RefusedError, match=sentence):
        prepare(parse(["--smoke", *arguments]), tmp_path / "run", Ranks(0, 4))

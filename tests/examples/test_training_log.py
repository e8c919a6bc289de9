"""Tests of epochs and training_log: means without waiting, and the files that they are written to."""

import csv
import importlib
import math
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch

from reid.training.epochs import Epoch, EpochMeans
from reid.training.training_log import MissingTensorBoardError, epoch_line, open_csv, open_tensorboard

HEAD = ["epoch", "step", "seconds", "learning_rate", "gradient_norm", "modality_gap"]


def epoch(number: int, total: float = 1 / 3) -> Epoch:
    return Epoch(number, 10 * number, 2.5, 1e-3, 4.0, 0.7, 64.0, math.nan, {"total": total, "triplet": 0.1})


def lines(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_means_are_over_the_steps_since_the_last_clear() -> None:
    means = EpochMeans()
    means.add({"total": torch.tensor(100.0)}, images=8, seconds=1.0)
    means.clear()
    for value in (1.0, 2.0, 6.0):
        means.add({"total": torch.tensor(value)}, images=8, seconds=0.5)
    assert means.means() == {"total": 3.0}
    assert (means.images, means.seconds) == (24, 1.5)


def test_means_hold_no_graph() -> None:
    means = EpochMeans()
    means.add({"total": torch.ones((), requires_grad=True) * 2}, images=1, seconds=0.0)
    assert not means.state_dict()["sums"]["total"].requires_grad


def test_infinite_values_are_left_out_only_where_they_are_expected() -> None:
    means = EpochMeans(lenient=("gradient_norm",))
    for value in (1.0, math.inf, 3.0):
        means.add({"gradient_norm": torch.tensor(value), "total": torch.tensor(value)}, images=1, seconds=0.0)
    assert means.means() == {"gradient_norm": 2.0, "total": math.inf}


def test_unfinished_epoch_goes_on_bit_for_bit(tmp_path: Path) -> None:
    values = torch.rand(6).tolist()
    straight, first, second = EpochMeans(), EpochMeans(), EpochMeans()
    for number, value in enumerate(values):
        (first if number < 3 else second).add({"total": torch.tensor(value)}, images=1, seconds=0.0)
        straight.add({"total": torch.tensor(value)}, images=1, seconds=0.0)
        if number == 2:
            torch.save(first.state_dict(), tmp_path / "means.pt")
            second.load_state_dict(torch.load(tmp_path / "means.pt", weights_only=True))
    assert second.means() == straight.means()


def test_csv_has_one_line_per_epoch_with_every_number(tmp_path: Path) -> None:
    write = open_csv(tmp_path / "run" / "model.csv", done=0)
    for number in (1, 2):
        write(epoch(number))
    found = lines(tmp_path / "run" / "model.csv")
    assert list(found[0])[:6] == HEAD
    assert list(found[0])[-2:] == ["total", "triplet"]
    assert [(int(line["epoch"]), float(line["total"])) for line in found] == [(1, 1 / 3), (2, 1 / 3)]


def test_csv_goes_on_after_the_steps_that_a_checkpoint_holds(tmp_path: Path) -> None:
    path = tmp_path / "model.csv"
    write = open_csv(path, done=0)
    for number in (1, 2, 3):
        write(epoch(number))
    path.write_text(path.read_text(encoding="utf-8") + "4,4", encoding="utf-8")  # torn by a power cut
    write = open_csv(path, done=20)
    write(epoch(3, total=0.5))
    assert [float(line["total"]) for line in lines(path)] == [1 / 3, 1 / 3, 0.5]


def test_csv_of_another_run_is_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "model.csv"
    open_csv(path, done=0)(epoch(1))
    open_csv(path, done=0)(epoch(1, total=2.0))
    assert [line["total"] for line in lines(path)] == ["2.0"]


def test_line_of_the_terminal_names_every_term() -> None:
    line = epoch_line("baseline, seed 0", epoch(2), 50)
    assert line == (
        "baseline, seed 0: epoch 2, step 20/50, 2.5 s, 64 images/s, learning rate 1.00e-03, gradient 4, gap 0.7, "
        "total 0.3333, triplet 0.1"
    )
    assert "812 MB" in epoch_line("", epoch(2)._replace(peak_memory=812.3), 50)


def test_missing_tensorboard_is_told_in_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(MissingTensorBoardError, match=r"--tensorboard needs .* pip install tensorboard"):
        open_tensorboard(tmp_path, done=0)


def test_tensorboard_gets_every_number_by_its_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: dict[str, tuple[float, int]] = {}
    opened = []

    class Writer:
        def __init__(self, folder: str, purge_step: int | None) -> None:
            opened.append((folder, purge_step))

        def add_scalar(self, name: str, value: float, step: int) -> None:
            written[name] = value, step

        def flush(self) -> None:
            pass

    board = ModuleType("torch.utils.tensorboard")
    board.SummaryWriter = Writer  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", board)
    assert importlib.import_module("torch.utils.tensorboard") is board
    open_tensorboard(tmp_path, done=7)(epoch(2))
    assert opened == [(str(tmp_path), 8)]
    assert written["total"] == (1 / 3, 20)
    assert {"seconds", "learning_rate", "gradient_norm", "modality_gap", "images_per_second"} < written.keys()
    assert "peak_memory" not in written  # there is none on a CPU

"""Tests of runs that are interrupted: by Ctrl-C, by SIGKILL, by a full disk; every one of them goes on to the bit."""

import errno
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import reproduce_sysu
from examples.tiny_training import assert_same, content
from reid.data.reading import Source
from reid.experiments import parallel
from reid.experiments.parallel import run_tasks
from reid.experiments.presets import synthetic_data
from reid.experiments.results import Run
from reid.experiments.settings import Settings, Task
from reid.training.engine import Stopped
from reid.training.stopping import request_on_interrupt

# Fourteen steps make an epoch; no multiple of eleven is one of fourteen before the end.
COMMAND = ["--smoke", "--steps", "45", "--method", "consistency-memory", "--checkpoint-every", "11", "--no-report"]
CHECKPOINT = "consistency-memory-seed0.pt"


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A working folder with the run that nobody interrupts."""
    home, before = tmp_path_factory.mktemp("home"), Path.cwd()
    os.chdir(home)
    assert reproduce_sysu.main([*COMMAND, "--name", "straight"]) == 0
    yield home / "runs" / "straight"
    os.chdir(before)


def start(name: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, reproduce_sysu.__file__, *COMMAND, "--name", name]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def wait_for(path: Path, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 120
    while not path.is_file() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.001)
    assert path.is_file()


def assert_equal_in_the_end(run: Path, straight: Path) -> None:
    for part in ("model", "optimizer", "objective", "generator", "random"):
        assert_same(content(run / CHECKPOINT)[part], content(straight / CHECKPOINT)[part])
    logs = [(folder / CHECKPOINT).with_suffix(".csv").read_text(encoding="utf-8") for folder in (run, straight)]
    terms = [[line.split(",")[3:6] + line.split(",")[8:] for line in log.splitlines()] for log in logs]
    assert terms[0] == terms[1]


@pytest.mark.slow
def test_killed_in_the_middle_of_an_epoch_goes_on_to_the_same_bits(straight: Path) -> None:
    run = straight.parent / "killed"
    process = start("killed")
    wait_for(run / CHECKPOINT, process)
    process.kill()
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    assert 0 < content(run / CHECKPOINT)["step"] < 45
    assert content(run / CHECKPOINT)["step"] % 14
    assert reproduce_sysu.main([*COMMAND, "--name", "killed", "--resume"]) == 0
    assert_equal_in_the_end(run, straight)


@pytest.mark.slow
def test_interrupt_leaves_a_checkpoint_of_every_step_and_goes_on_to_the_same_bits(straight: Path) -> None:
    run = straight.parent / "stopped"
    process = start("stopped")
    wait_for(run / CHECKPOINT, process)
    process.send_signal(signal.SIGINT)
    printed, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert printed.splitlines()[-1].endswith("go on with the same command and --resume.")
    assert "Traceback" not in printed
    assert 11 <= content(run / CHECKPOINT)["step"] < 45
    assert reproduce_sysu.main([*COMMAND, "--name", "stopped", "--resume"]) == 0
    assert_equal_in_the_end(run, straight)


@pytest.mark.slow
def test_full_disk_ends_the_run_with_a_sentence_and_leaves_the_last_checkpoint(
    straight: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run, original, written = straight.parent / "full", os.fsync, iter(range(1000))

    def third_checkpoint_is_too_much(number: int) -> None:
        if sum(1 for _ in run.glob("*.pt.*.partial")) and next(written) == 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        original(number)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", third_checkpoint_is_too_much)
        assert reproduce_sysu.main([*COMMAND, "--name", "full"]) == 2
    error = capsys.readouterr().err
    assert f"{CHECKPOINT} could not be written (No space left on device)" in error
    assert "make room, and go on with the same command, a training with --resume" in error
    assert "Traceback" not in error
    assert content(run / CHECKPOINT)["step"] == 22
    assert not list(run.glob("*.partial"))
    assert reproduce_sysu.main([*COMMAND, "--name", "full", "--resume"]) == 0
    assert_equal_in_the_end(run, straight)


@pytest.fixture
def _interruptible() -> Iterator[None]:
    """Python's own handler of Ctrl-C: a process that a script starts in the background ignores the signal."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("_interruptible")
def test_first_interrupt_raises_the_flag_and_the_second_an_exception() -> None:
    flag = threading.Event()
    with request_on_interrupt(flag):
        signal.raise_signal(signal.SIGINT)
        assert flag.is_set()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.usefixtures("_interruptible")
def test_interrupt_that_comes_twice_under_torchrun_raises_no_exception() -> None:
    flag = threading.Event()
    with request_on_interrupt(flag, once=False):
        for _ in range(2):
            signal.raise_signal(signal.SIGINT)
    assert flag.is_set()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.slow
def test_interrupt_after_the_last_step_keeps_the_model_and_stops_before_the_next(
    straight: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(task: Task, *_: object, **__: object) -> Run:
        signal.raise_signal(signal.SIGINT)
        return Run(task.seed, ())

    monkeypatch.setattr(parallel, "run_task", interrupted)
    tasks = (Task("baseline", 0), Task("both", 1))
    runs = run_tasks(tasks, Settings(Source(synthetic_data(smoke=True)), (32, 16)), tmp_path)
    assert next(runs)[0] == tasks[0]
    with pytest.raises(Stopped):
        next(runs)

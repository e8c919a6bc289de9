"""Tests of the script examples/reproduce_sysu.py and the rooms that only it needs, on the smallest data set."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import scipy.stats
import torch

import modinv
import reproduce_sysu
from reid import parallel
from reid.arguments import parse, settings_of, synthetic_data
from reid.checkpoint import ResumeError
from reid.comparison import difference_table, paired_differences
from reid.engine import Stopped, TrainingOptions
from reid.evaluation import Scores
from reid.experiment import Settings, Task, describe
from reid.methods import METHODS
from reid.parallel import run_tasks
from reid.results import Provenance, Row, Run, write_results
from reid.resumption import read_runs
from reid.stopping import request_on_interrupt

TASKS = (Task("baseline", 0), Task("both", 1))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One working folder, so that the data set is made once."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture(autouse=True)
def _at_home(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(home)


def smoke_settings() -> Settings:
    training = TrainingOptions(steps=3, identities=4, images=2)
    return Settings(synthetic_data(smoke=True), (32, 16), training=training)


def stored(name: str) -> Any:
    return json.loads(Path("runs", name, "results.json").read_text(encoding="utf-8"))


def run_record(seed: int, first: float, precision: float) -> Run:
    cmc = torch.full((20,), first, dtype=torch.float64)
    return Run(seed, (Scores(cmc, precision, 0.1, 4, 4),), "ab" * 32)


def same(one: Run, other: Run) -> bool:
    pairs = zip(one.trials, other.trials, strict=True)
    return one.seed == other.seed and all(
        torch.equal(first.cmc, second.cmc) and first[1:] == second[1:] for first, second in pairs
    )


def test_smoke_run_prints_the_table_that_it_writes(capsys: pytest.CaptureFixture[str]) -> None:
    assert reproduce_sysu.main(["--smoke"]) == 0
    results = stored("smoke-full")
    assert "\n".join(results["table"]) in capsys.readouterr().out
    (row,) = results["rows"]
    assert row["method"] == METHODS["full"].title
    assert [run["num_trials"] for run in row["runs"]] == [10]


def test_results_tell_how_they_were_made() -> None:
    assert reproduce_sysu.main(["--smoke", "--gallery", "agw", "--mode", "indoor", "--name", "told"]) == 0
    provenance = stored("told")["provenance"]
    assert (provenance["gallery"], provenance["mode"], provenance["shots"]) == ("agw", "indoor", 1)
    options = provenance["options"]
    assert (options["steps"], options["gray"], options["size"], options["synthetic"]) == (8, 0.5, [32, 16], True)
    assert options["methods"]["full"]["distribution"].startswith(
        "2.0 x GaussianDistributionConsistencyLoss(divergence='wasserstein', covariance='full'"
    )
    assert provenance["versions"]["modinv"] == modinv.__version__


def test_log_holds_every_term(home: Path) -> None:
    assert reproduce_sysu.main(["--smoke", "--steps", "25", "--method", "both"]) == 0
    (line,) = (home / "runs/smoke-both/both-seed0.log").read_text(encoding="utf-8").splitlines()
    names = ["step", "total", "identity", "enhanced_identity", "triplet", "intra_modality", "distribution"]
    assert list(json.loads(line)) == names


def test_equal_commands_give_equal_scores() -> None:
    scores = []
    for name in ("once", "twice"):
        assert reproduce_sysu.main(["--smoke", "--method", "baseline", "--name", name]) == 0
        scores.append(stored(name)["rows"])
    assert scores[0] == scores[1]


def test_interrupted_ablation_trains_only_what_is_missing(capsys: pytest.CaptureFixture[str]) -> None:
    command = ["--smoke", "--steps", "2", "--ablation", "--seeds"]
    assert reproduce_sysu.main([*command, "1"]) == 0
    first = stored("smoke-ablation")["rows"]
    assert reproduce_sysu.main([*command, "2", "--resume"]) == 0
    rows = stored("smoke-ablation")["rows"]
    assert [row["method"] for row in rows] == [method.title for method in METHODS.values()]
    assert [[run["seed"] for run in row["runs"]] for row in rows] == [[0, 1]] * len(METHODS)
    assert [row["runs"][:1] for row in rows] == [row["runs"] for row in first]
    printed = capsys.readouterr().out
    assert f"{len(METHODS)} of {2 * len(METHODS)} models to train, 2 steps each" in printed
    assert "minus baseline" in printed


def test_ablation_is_not_overwritten(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results = home / "runs/old/results.json"
    results.parent.mkdir(parents=True)
    results.write_text("precious", encoding="utf-8")
    assert reproduce_sysu.main(["--smoke", "--ablation", "--name", "old"]) == 2
    assert "go on with --resume, or give another --name" in capsys.readouterr().err
    assert results.read_text(encoding="utf-8") == "precious"


def test_resuming_with_other_options_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    command = ["--smoke", "--method", "baseline", "--name", "other"]
    assert reproduce_sysu.main([*command, "--steps", "2"]) == 0
    assert reproduce_sysu.main([*command, "--steps", "3", "--resume"]) == 2
    assert "results.json was made with steps 2 (now 3)" in capsys.readouterr().err
    Path("runs/other/results.json").unlink()
    assert reproduce_sysu.main([*command, "--steps", "3", "--resume"]) == 2
    assert "baseline-seed0.pt was made with steps 2 (now 3)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--data", "nowhere"], "nowhere is not a folder: expected the folders cam1 to cam6"),
        (["--data", "empty"], "empty is not laid out as SYSU-MM01"),
        (["--data", "empty", "--workers", "2"], "empty is not laid out as SYSU-MM01"),
        (["--smoke", "--weights", "weights.pt"], "--weights are those of ResNet-50"),
        (["--smoke", "--backbone", "resnet50", "--weights", "no.pt"], "no.pt"),
        (["--smoke", "--device", "abacus"], "--device abacus cannot be used here"),
    ],
)
def test_what_cannot_be_done_gets_a_message_and_exit_code_two(
    arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("empty").mkdir(exist_ok=True)
    assert reproduce_sysu.main(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("reproduce_sysu: ")
    assert sentence in error
    assert "Traceback" not in error


def test_data_of_the_layout_are_read_by_name() -> None:
    folder = synthetic_data(smoke=True)
    command = ["--data", str(folder), "--size", "32", "16", "--steps", "1", "--method", "baseline"]
    assert reproduce_sysu.main(command) == 0
    assert stored("synthetic-smoke-baseline")["provenance"]["dataset"] == folder.as_posix()


def test_defaults_follow_the_backbone() -> None:
    chosen = parse(["--backbone", "resnet50", "--data", "somewhere"])
    settings = settings_of(chosen)
    assert (settings.size, settings.training.steps, settings.training.learning_rate) == ((288, 144), 24_000, 3.5e-4)
    assert settings.training.augmentation.padding == 10
    changed = ["--size", "128", "64", "--steps", "9", "--learning-rate", "0.1"]
    settings = settings_of(parse(["--data", "somewhere", *changed]))
    assert (settings.size, settings.training.steps, settings.training.learning_rate) == ((128, 64), 9, 0.1)


@pytest.mark.parametrize("arguments", [["--seeds", "0"], ["--steps", "-1"], ["--method", "best"], ["--mode", "none"]])
def test_impossible_arguments_are_refused(arguments: list[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        parse(arguments)


def test_parallel_processes_give_the_same_scores(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    settings = smoke_settings()
    alone = dict(run_tasks(TASKS, settings, tmp_path / "alone"))
    beside = dict(run_tasks(TASKS, settings, tmp_path / "beside", workers=2))
    assert alone.keys() == beside.keys() == set(TASKS)
    assert all(same(alone[task], beside[task]) for task in TASKS)


def test_interrupt_leaves_a_checkpoint_from_which_the_run_goes_on(home: Path) -> None:
    command = [sys.executable, reproduce_sysu.__file__, "--smoke", "--steps", "60", "--method", "baseline"]
    command += ["--name", "cut"]
    synthetic_data(smoke=True)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    log = home / "runs/cut/baseline-seed0.log"
    deadline = time.monotonic() + 60
    while not (log.is_file() and log.stat().st_size) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.002)
    process.send_signal(signal.SIGINT)
    printed, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert printed.splitlines()[-1].endswith("go on with the same command and --resume.")
    assert "Traceback" not in printed
    assert 25 <= torch.load(home / "runs/cut/baseline-seed0.pt", weights_only=True)["step"] < 60
    assert reproduce_sysu.main([*command[2:], "--resume"]) == 0
    assert reproduce_sysu.main([*command[2:-1], "straight"]) == 0
    assert stored("cut")["rows"][0]["runs"][0]["trials"] == stored("straight")["rows"][0]["runs"][0]["trials"]


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


def test_interrupt_after_the_last_step_keeps_the_model_and_stops_before_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(task: Task, *_: object, **__: object) -> Run:
        signal.raise_signal(signal.SIGINT)
        return run_record(task.seed, 0.5, 0.5)

    monkeypatch.setattr(parallel, "run_task", interrupted)
    runs = run_tasks(TASKS, smoke_settings(), tmp_path)
    assert next(runs)[0] == TASKS[0]
    with pytest.raises(Stopped):
        next(runs)


def test_results_are_read_back_as_they_were_written(tmp_path: Path) -> None:
    rows = [Row("one", (run_record(0, 1 / 3, 0.1), run_record(1, 2 / 3, 0.7))), Row("two", (run_record(1, 0.2, 0.3),))]
    options = describe(smoke_settings(), ["baseline"])
    provenance = Provenance("synthetic", "SYSU-MM01", "official", "all", 1, "cosine", "L2", options)
    write_results(tmp_path / "results.json", rows, provenance)
    found = read_runs(tmp_path / "results.json", options)
    assert found.keys() == {("one", 0), ("one", 1), ("two", 1)}
    for row in rows:
        for run in row.runs:
            assert same(found[row.method, run.seed], run)
            assert found[row.method, run.seed].checkpoint == run.checkpoint


def test_nothing_is_finished_where_no_results_are(tmp_path: Path) -> None:
    assert read_runs(tmp_path / "results.json", {}) == {}


@pytest.mark.parametrize("text", ["", "{", "[]", '{"provenance": {"options": {}}, "rows": [{"method": "x"}]}'])
def test_damaged_results_are_refused_in_a_sentence(tmp_path: Path, text: str) -> None:
    path = tmp_path / "results.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ResumeError, match=r"not a whole results file .* without --resume"):
        read_runs(path, {})


def test_differences_are_paired_by_seed_and_have_students_interval() -> None:
    ours, theirs = [0.50, 0.53, 0.49, 0.60], [0.48, 0.50, 0.50, 0.55]
    baseline = Row("baseline", tuple(run_record(seed, 0.3, value) for seed, value in enumerate(theirs)))
    # Another order, and a seed that the baseline lacks.
    others = [run_record(seed, 0.3, value) for seed, value in enumerate(ours)][::-1]
    rows = [baseline, Row("better", (run_record(9, 0.1, 0.1), *others))]
    found = {difference.metric: difference for difference in paired_differences(rows)}
    expected = scipy.stats.ttest_rel([100 * x for x in ours], [100 * x for x in theirs])
    interval = expected.confidence_interval(0.95)
    assert found["mAP"].seeds == (0, 1, 2, 3)
    assert found["mAP"].mean == pytest.approx(2.25)
    assert found["mAP"].mean - found["mAP"].half_width == pytest.approx(interval.low)
    assert found["mAP"].significant == (expected.pvalue < 0.05)
    assert not found["R1"].significant


def test_difference_is_significant_when_its_interval_leaves_zero_out() -> None:
    baseline = Row("baseline", tuple(run_record(seed, 0.3, 0.40) for seed in range(3)))
    better = Row("better", tuple(run_record(seed, 0.3, 0.42 + 0.001 * seed) for seed in range(3)))
    (difference,) = (one for one in paired_differences([baseline, better]) if one.metric == "mAP")
    assert difference.significant
    assert difference_table([difference]).splitlines() == [
        "minus baseline          mean ± sd  95 % interval  seeds",
        "better          mAP  +2.10 ± 0.10  +1.85 … +2.35      3",
    ]


def test_one_common_seed_gives_no_difference() -> None:
    rows = [Row("baseline", (run_record(0, 0.3, 0.4),)), Row("other", (run_record(0, 0.3, 0.5),))]
    assert paired_differences(rows) == ()

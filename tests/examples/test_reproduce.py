"""Tests of the script examples/reproduce_sysu.py and the rooms that only it needs, on the smallest data sets."""

import csv
import json
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io
import scipy.stats
import torch

import modinv
import reproduce_sysu
from examples.tiny_training import content
from reid.data.reading import Source, describe_source, list_source
from reid.data_sets import DATA_SETS
from reid.data_sets.sysu import SYSU
from reid.evaluation.scores import Scores
from reid.experiments.arguments import methods_of, parse, seeds_of
from reid.experiments.comparison import difference_table, paired_differences
from reid.experiments.estimate import estimate
from reid.experiments.parallel import run_tasks
from reid.experiments.presets import settings_of, synthetic_data
from reid.experiments.results import Provenance, Row, Run, write_results
from reid.experiments.resumption import read_runs
from reid.experiments.settings import Settings, Task, describe
from reid.training.checkpoint import ResumeError
from reid.training.methods import ABLATION, METHODS
from reid.training.options import TrainingOptions
from reid.training.schedule import Schedule
from reid.training.selection import TEST_WARNING

TASKS = (Task("baseline", 0), Task("both", 1))
QUICK = ["--smoke", "--no-report", "--steps", "2", "--method", "baseline"]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One working folder, so that the data sets are made once."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture(autouse=True)
def _at_home(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(home)


def smoke_settings() -> Settings:
    training = TrainingOptions(steps=3, identities=4, images=2)
    return Settings(Source(synthetic_data(smoke=True)), (32, 16), training=training)


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


@pytest.mark.slow
def test_first_command_compares_a_method_with_its_baseline_and_leaves_a_report(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert reproduce_sysu.main(["--smoke"]) == 0
    results, printed = stored("smoke-baseline-both"), capsys.readouterr().out
    assert "\n".join(results["table"]) in printed
    assert [row["method"] for row in results["rows"]] == [METHODS[name].title for name in ("baseline", "both")]
    assert [len(run["trials"]) for row in results["rows"] for run in row["runs"]] == [10, 10]
    assert "report in runs/smoke-baseline-both/report.html" in printed
    assert Path("runs/smoke-baseline-both/report.html").is_file()


def test_two_models_are_trained_at_a_time_where_nothing_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 8)
    chosen = [parse(words) for words in ([], ["--method", "baseline"], ["--workers", "3"], ["--data", "somewhere"])]
    assert [one.workers for one in chosen] == [2, 1, 3, 1]
    assert [methods_of(one) for one in chosen[::3]] == [("baseline", "both"), ("both",)]


@pytest.mark.parametrize("name", DATA_SETS)
def test_synthetic_data_can_be_made_alone(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["--data-set", name, "--smoke", "--make-data", str(tmp_path / "made")]
    assert reproduce_sysu.main(command) == 0
    assert capsys.readouterr().out == f"made in {tmp_path / 'made'}\n"
    source = settings_of(parse([*command[:3], "--data", str(tmp_path / "made")])).source
    assert list_source(source).train.paths
    assert not list(tmp_path.glob("runs"))


def test_folder_that_holds_something_else_is_not_replaced_by_synthetic_data(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.txt").touch()
    assert reproduce_sysu.main(["--smoke", "--make-data", str(tmp_path)]) == 2
    assert "holds something else already" in capsys.readouterr().err


def test_report_that_cannot_be_made_does_not_fail_the_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(folder: Path) -> Path:
        raise MemoryError("too large")

    monkeypatch.setattr("reid.report.write_report", fail)
    assert reproduce_sysu.main([argument for argument in QUICK if argument != "--no-report"]) == 0
    assert "no report could be made (MemoryError: too large); the results are not affected." in capsys.readouterr().out


def test_results_tell_how_they_were_made() -> None:
    command = ["--smoke", "--no-report", "--gallery", "agw", "--mode", "indoor", "--name", "told"]
    assert reproduce_sysu.main([*command, "--schedule", "step", "--warmup", "0.2", "--clip-norm", "3"]) == 0
    provenance = stored("told")["provenance"]
    assert (provenance["gallery"], provenance["mode"], provenance["shots"]) == ("agw", "indoor", 1)
    assert (provenance["direction"], provenance["trials"], provenance["cmc"]) == ("infrared-to-visible", 10, "identity")
    options = provenance["options"]
    assert (options["steps"], options["gray"], options["size"], options["synthetic"]) == (8, 0.5, [32, 16], True)
    assert (options["schedule"], options["warmup"], options["clip_norm"], options["processes"]) == ("step", 0.2, 3.0, 1)
    assert (options["precision"], options["select"]) == ("float32", "last")
    assert options["methods"]["both"]["distribution"].startswith(
        "0.5 x GaussianDistributionConsistencyLoss(divergence='wasserstein', covariance='full'"
    )
    assert provenance["versions"]["modinv"] == modinv.__version__


@pytest.mark.slow
def test_a_run_leaves_what_the_report_reads(home: Path) -> None:
    assert reproduce_sysu.main([*QUICK, "--steps", "20", "--name", "left"]) == 0
    folder = home / "runs" / "left"
    with (folder / "baseline-seed0.csv").open(encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    assert [line["step"] for line in lines] == ["14", "20"]
    head = ["epoch", "step", "seconds", "learning_rate", "gradient_norm", "modality_gap"]
    assert list(lines[0])[:6] == head
    assert list(lines[0])[-3:] == ["total", "identity", "triplet"]
    with np.load(folder / "baseline-seed0.npz") as file:
        embeddings = {name: file[name] for name in file}
    assert embeddings["before"].shape == embeddings["after"].shape
    assert not np.allclose(embeddings["before"], embeddings["after"])
    assert all((Path("data/synthetic-sysu-smoke") / path).is_file() for path in embeddings["paths"])


def test_equal_commands_give_equal_scores() -> None:
    scores = []
    for name in ("once", "twice"):
        assert reproduce_sysu.main([*QUICK, "--deterministic", "--name", name]) == 0
        scores.append(stored(name)["rows"])
    assert [run["trials"] for run in scores[0][0]["runs"]] == [run["trials"] for run in scores[1][0]["runs"]]


def test_regdb_is_trained_and_scored_by_its_protocol(capsys: pytest.CaptureFixture[str]) -> None:
    command = ["--data-set", "regdb", "--split", "3", "--direction", "infrared-to-visible"]
    assert reproduce_sysu.main([*QUICK, *command]) == 0
    results = stored("smoke-regdb-split3-baseline")
    provenance = results["provenance"]
    assert (provenance["protocol"], provenance["direction"]) == ("RegDB, split 3", "infrared-to-visible")
    assert (provenance["gallery"], provenance["shots"], provenance["trials"]) == ("everything", None, 1)
    assert provenance["options"]["split"] == 3
    assert results["rows"][0]["runs"][0]["mean"]["num_queries"] == 4 * 3


def test_llcm_is_trained_and_scored_by_its_protocol() -> None:
    for roles in ("named", "published"):
        command = ["--data-set", "llcm", "--roles", roles, "--name", roles]
        assert reproduce_sysu.main([*QUICK, *command]) == 0
    named, published = (stored(roles) for roles in ("named", "published"))
    assert (named["provenance"]["protocol"], named["provenance"]["roles"]) == ("LLCM", "named")
    assert named["provenance"]["options"]["roles"] == "named"
    queries = [results["rows"][0]["runs"][0]["mean"]["num_queries"] for results in (named, published)]
    assert queries[0] > queries[1]  # the published code lets the single images ask


def test_cached_images_give_the_same_scores(tmp_path: Path) -> None:
    assert reproduce_sysu.main([*QUICK, "--name", "memory"]) == 0
    assert reproduce_sysu.main([*QUICK, "--name", "cache", "--cache", str(tmp_path / "cache")]) == 0
    assert any((tmp_path / "cache").iterdir())
    trials = [stored(name)["rows"][0]["runs"][0]["trials"] for name in ("memory", "cache")]
    assert trials[0] == trials[1]


@pytest.mark.slow
def test_epoch_chosen_on_validation_identities_trains_on_the_others() -> None:
    command = ["--smoke", "--no-report", "--method", "baseline", "--steps", "24", "--evaluate-every", "2"]
    assert reproduce_sysu.main([*command, "--select", "validation", "--name", "validated"]) == 0
    folder = Path("runs/validated")
    last, best = content(folder / "baseline-seed0.pt"), content(folder / "baseline-seed0-best.pt")
    assert len(last["model"]["head.classifier.weight"]) == 8  # of ten that could be trained on
    assert last["best"]["step"] == best["step"]
    assert best["step"] in (22, 24)  # an epoch has eleven steps; the second one, and the end
    results = stored("validated")
    assert results["rows"][0]["method"] == "baseline"
    assert "warning" not in results["provenance"]["options"]


def test_epoch_chosen_on_the_test_set_is_told_loudly(capsys: pytest.CaptureFixture[str]) -> None:
    assert reproduce_sysu.main([*QUICK, "--select-on-test", "--name", "cheating"]) == 0
    results, printed = stored("cheating"), capsys.readouterr().out
    assert results["rows"][0]["method"] == "baseline [epoch chosen on TEST]"
    assert "[epoch chosen on TEST]" in "\n".join(results["table"])
    assert results["provenance"]["options"]["warning"] == TEST_WARNING
    assert printed.count(TEST_WARNING) == 2  # before and after
    assert reproduce_sysu.main([*QUICK, "--select-on-test", "--name", "cheating", "--resume"]) == 0
    assert "0 of 1 models to train" in capsys.readouterr().out


def test_ways_to_select_exclude_each_other() -> None:
    with pytest.raises(SystemExit, match="2"):
        parse(["--select", "validation", "--select-on-test"])


@pytest.mark.slow
def test_interrupted_ablation_trains_only_what_is_missing(capsys: pytest.CaptureFixture[str]) -> None:
    command = ["--smoke", "--no-report", "--steps", "2", "--ablation", "--seeds"]
    assert reproduce_sysu.main([*command, "1"]) == 0
    first = stored("smoke-ablation")["rows"]
    assert reproduce_sysu.main([*command, "2", "--resume"]) == 0
    rows = stored("smoke-ablation")["rows"]
    assert [row["method"] for row in rows] == [METHODS[name].title for name in ABLATION]
    assert [[run["seed"] for run in row["runs"]] for row in rows] == [[0, 1]] * len(ABLATION)
    assert [row["runs"][:1] for row in rows] == [row["runs"] for row in first]
    printed = capsys.readouterr().out
    assert f"{len(ABLATION)} of {2 * len(ABLATION)} models to train, 2 steps each" in printed
    assert "minus baseline" in printed


def test_methods_are_those_that_are_asked_for() -> None:
    assert methods_of(parse(["--ablation"])) == ABLATION
    assert methods_of(parse(["--method", "both"])) == ("both",)
    asked = parse(["--ablation", "--methods", "consistency-moments,baseline"])
    assert methods_of(asked) == ("baseline", "consistency-moments")  # in the order of the table
    assert (len(seeds_of(asked)), len(seeds_of(parse([])))) == (5, 1)
    assert list(seeds_of(parse(["--seed", "3", "--seeds", "2"]))) == [3, 4]


@pytest.mark.slow
def test_every_method_beside_the_ablation_is_trained_when_it_is_asked_for() -> None:
    others = [name for name in METHODS if name not in ABLATION]
    assert reproduce_sysu.main([*QUICK, "--methods", ",".join(others), "--name", "others"]) == 0
    assert [row["method"] for row in stored("others")["rows"]] == [METHODS[name].title for name in others]


def test_ablation_is_not_overwritten(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results = home / "runs/old/results.json"
    results.parent.mkdir(parents=True)
    results.write_text("precious", encoding="utf-8")
    assert reproduce_sysu.main(["--smoke", "--ablation", "--name", "old"]) == 2
    assert "go on with --resume, or give another --name" in capsys.readouterr().err
    assert results.read_text(encoding="utf-8") == "precious"


def test_resuming_with_other_options_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    command = [*QUICK, "--name", "other"]
    assert reproduce_sysu.main(command) == 0
    assert reproduce_sysu.main([*command, "--steps", "3", "--resume"]) == 2
    assert "results.json was made with steps 2 (now 3)" in capsys.readouterr().err
    Path("runs/other/results.json").unlink()
    assert reproduce_sysu.main([*command, "--steps", "3", "--resume"]) == 2
    assert "baseline-seed0.pt was made with steps 2 (now 3)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--data", "nowhere"], "nowhere is not a folder"),
        (["--data", "empty"], "empty is not laid out as SYSU-MM01"),
        (["--data", "empty", "--workers", "2"], "empty is not laid out as SYSU-MM01"),
        (["--data", "empty", "--data-set", "regdb"], "RegDB"),
        (["--smoke", "--weights", "weights.pt"], "--weights are those of ResNet-50"),
        (["--smoke", "--backbone", "resnet50", "--weights", "no.pt"], "no.pt"),
        (["--smoke", "--device", "abacus"], "--device abacus cannot be used here"),
        (["--smoke", "--gallery", "agw", "--shots", "10"], "use gallery='official'"),
        (["--smoke", "--identities", "11"], "A batch takes 11 identities, but the data has 10: lower the number."),
        (["--smoke", "--select", "validation", "--identities", "9"], "A batch takes 9 identities, but the data has 8"),
    ],
)
def test_what_cannot_be_done_gets_a_message_and_exit_code_two(
    arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("empty").mkdir(exist_ok=True)
    assert reproduce_sysu.main([*arguments, "--name", "refused"]) == 2  # a folder that no other test fills
    error = capsys.readouterr().err
    assert error.startswith("reproduce_sysu: ")
    assert sentence in error
    assert "Traceback" not in error


@pytest.mark.parametrize("workers", ["1", "2"])
def test_broken_images_are_all_named_before_training(
    workers: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = synthetic_data("regdb", smoke=True)
    copy = tmp_path / "regdb"
    shutil.copytree(folder, copy)
    broken = sorted(copy.rglob("*.bmp"))[:2]
    for path in broken:
        path.write_bytes(b"BM")
    assert reproduce_sysu.main([*QUICK, "--data-set", "regdb", "--data", str(copy), "--workers", workers]) == 2
    captured = capsys.readouterr()
    assert all(str(path) in captured.err for path in broken)
    assert "models to train" not in captured.out


def test_test_set_that_cannot_be_scored_is_refused_before_training(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = tmp_path / "regdb"
    shutil.copytree(synthetic_data("regdb", smoke=True), copy)
    listed = copy / "idx" / "test_thermal_1.txt"
    listed.write_text(listed.read_text().replace(".bmp ", ".bmp 1"))
    command = [*QUICK, "--data-set", "regdb", "--data", str(copy), "--name", "unscorable"]
    assert reproduce_sysu.main(command) == 2
    assert "No identity of RegDB test is seen in both modalities" in capsys.readouterr().err
    assert not Path("runs/unscorable").exists()


def test_run_goes_on_with_the_same_images_wherever_their_folder_lies(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = synthetic_data(smoke=True)
    shutil.copytree(folder, tmp_path / "moved")
    command = [*QUICK, "--name", "moved", "--data"]
    assert reproduce_sysu.main([*command, str(folder)]) == 0
    for same in (folder.absolute(), folder / ".." / folder.name, tmp_path / "moved"):
        assert reproduce_sysu.main([*command, str(same), "--resume"]) == 0
    capsys.readouterr()
    shutil.copytree(folder, tmp_path / "other")
    image = next((tmp_path / "other").glob("cam1/*/0001.jpg"))
    image.write_bytes(image.read_bytes() + b"another")
    assert reproduce_sysu.main([*command, str(tmp_path / "other"), "--resume"]) == 2
    assert re.search(
        r"was made with files '\d+ images, SHA-256 \w+' \(now '\d+ images, SHA-256 ", capsys.readouterr().err
    )


def test_other_galleries_are_other_data(tmp_path: Path) -> None:
    sources = []
    for name, step in (("same", 1), ("reversed", -1)):
        file = shutil.copytree(synthetic_data(smoke=True), tmp_path / name) / "exp" / "rand_perm_cam.mat"
        cells = scipy.io.loadmat(file)["rand_perm_cam"]
        for camera in cells.flat:
            for place, rows in enumerate(camera[:, 0]):
                camera[place, 0] = rows[::step]
        scipy.io.savemat(file, {"rand_perm_cam": cells})
        sources.append(describe_source(Source(tmp_path / name)))
    assert sources[0] != sources[1]


def test_weights_are_known_again_under_another_name(tmp_path: Path) -> None:
    for name, letters in (("a.pt", b"one"), ("b.pt", b"one"), ("c.pt", b"two")):
        (tmp_path / name).write_bytes(letters)
    settings = [smoke_settings()._replace(weights=tmp_path / name) for name in ("a.pt", "b.pt", "c.pt")]
    first, moved, other = (describe(one, ["baseline"])["weights"] for one in settings)
    assert first == moved != other


def test_missing_tensorboard_is_told_before_training(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    assert reproduce_sysu.main([*QUICK, "--tensorboard"]) == 2
    captured = capsys.readouterr()
    assert "--tensorboard needs the package tensorboard" in captured.err
    assert "models to train" not in captured.out


def test_data_of_the_layout_are_read_by_name(capsys: pytest.CaptureFixture[str]) -> None:
    folder = synthetic_data(smoke=True)
    assert reproduce_sysu.main([*QUICK, "--data", str(folder), "--steps", "1", "--name", "named"]) == 0
    assert stored("named")["provenance"]["dataset"] == folder.as_posix()
    assert "found 10 identities" in capsys.readouterr().out  # what it lacks to be the real one


def test_defaults_follow_the_backbone() -> None:
    settings = settings_of(parse(["--backbone", "resnet50", "--data", "somewhere"]))
    assert (settings.size, settings.training.steps, settings.training.learning_rate) == ((288, 144), 24_000, 3.5e-4)
    assert settings.training.augmentation.padding == 10
    changed = ["--size", "128", "64", "--steps", "9", "--learning-rate", "0.1", "--identities", "6", "--images", "8"]
    settings = settings_of(parse(["--data", "somewhere", *changed]))
    assert (settings.size, settings.training.steps, settings.training.learning_rate) == ((128, 64), 9, 0.1)
    assert (settings.training.identities, settings.training.images) == (6, 8)


def test_recipe_of_agw_is_that_of_the_field() -> None:
    asked = ["--recipe", "agw", "--backbone", "resnet50", "--data", str(synthetic_data(smoke=True))]
    settings = settings_of(parse(asked))
    training, train = settings.training, list_source(settings.source).train
    assert (settings.size, training.identities, training.images) == ((288, 144), 8, 4)
    assert (training.optimizer, training.learning_rate, training.backbone_share) == ("sgd", 0.1, 0.1)
    assert training.schedule == Schedule("step", warmup=10 / 80, milestones=(20 / 80, 50 / 80))
    assert training.steps == 80 * (max(np.bincount(train.modalities)) // 32)
    altered = training.augmentation
    assert (altered.padding, altered.flip, altered.gray, altered.erase) == (10, 0.5, 0.0, 0.0)
    assert settings_of(parse([*asked, "--augmentation", "gray", "--steps", "5"])).training[:1] == (5,)
    assert settings_of(parse([*asked, "--augmentation", "gray"])).training.augmentation.erase == 0.5


def test_time_and_memory_are_told_before_the_training(capsys: pytest.CaptureFixture[str]) -> None:
    assert reproduce_sysu.main([*QUICK, "--name", "estimated"]) == 0
    told = capsys.readouterr().out
    assert re.search(r"this takes about \d+ min and [0-9.]+ GiB of memory\n", told.split("baseline, seed 0")[0])


def test_estimate_grows_with_steps_and_models_and_falls_with_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reid.experiments.estimate._seconds", lambda *_: 6.0)
    settings = smoke_settings()
    longer = settings._replace(training=settings.training._replace(steps=100))
    words = [
        estimate(one, TASKS[:count], workers=workers).split(" and ")[0]
        for one, count, workers in [(longer, 1, 1), (longer, 2, 1), (longer, 2, 2), (longer, 1, 2)]
    ]
    assert words == ["about 10 min", "about 20 min", "about 10 min", "about 10 min"]


def test_augmentation_by_channels_exchanges_and_grays_a_third_each() -> None:
    gray, channels = (
        settings_of(parse(["--data", "somewhere", "--augmentation", name])).training.augmentation
        for name in ("gray", "channels")
    )
    assert gray == TrainingOptions().augmentation
    assert (channels.gray, channels.exchange, channels.adaptive_gray) == (0.0, 1 / 3, 1 / 3)
    assert (channels.padding, channels.erase) == (gray.padding, gray.erase)


@pytest.mark.parametrize(
    "arguments",
    [
        *(["--seeds", "0"], ["--steps", "-1"], ["--method", "best"], ["--methods", "baseline,best"]),
        *(["--mode", "none"], ["--split", "11"], ["--shots", "many"], ["--precision", "int8"], ["--clip-norm", "0"]),
        *(["--warmup", "1.5"], ["--private-stages", "5"], ["--recipe", "best"]),
    ],
)
def test_impossible_arguments_are_refused(arguments: list[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        parse(arguments)


def test_what_changes_no_number_is_not_compared_when_a_run_goes_on() -> None:
    settings = smoke_settings()
    moved = settings._replace(
        cache=Path("cache"), tensorboard=True, training=settings.training._replace(checkpoint_every=7)
    )
    assert describe(moved, ["baseline"]) == describe(settings, ["baseline"])
    other = settings._replace(source=settings.source._replace(options=SYSU.options._replace(mode="indoor")))
    assert describe(other, ["baseline"]) != describe(settings, ["baseline"])
    idle = settings_of(parse(["--smoke", "--split", "4"])).source  # SYSU-MM01 has none
    assert idle == settings_of(parse(["--smoke"])).source


@pytest.mark.slow
def test_parallel_processes_give_the_same_scores(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    settings = smoke_settings()
    alone = dict(run_tasks(TASKS, settings, tmp_path / "alone"))
    beside = dict(run_tasks(TASKS, settings, tmp_path / "beside", workers=2))
    assert alone.keys() == beside.keys() == set(TASKS)
    assert all(same(alone[task], beside[task]) for task in TASKS)


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
    assert found["mAP"].values == pytest.approx((2, 3, -1, 5))
    assert (found["mAP"].low, found["mAP"].high) == pytest.approx((interval.low, interval.high))
    assert found["mAP"].significant == (expected.pvalue < 0.05)
    assert not found["R1"].significant


def test_difference_is_significant_when_its_interval_leaves_zero_out() -> None:
    baseline = Row("baseline", tuple(run_record(seed, 0.3, 0.40) for seed in range(3)))
    better = Row("better", tuple(run_record(seed, 0.3, 0.42 + 0.001 * seed) for seed in range(3)))
    (difference,) = (one for one in paired_differences([baseline, better]) if one.metric == "mAP")
    assert difference.significant
    assert difference_table([difference], "baseline").splitlines() == [
        "minus baseline          mean ± sd  95 % interval  seeds",
        "better          mAP  +2.10 ± 0.10  +1.85 … +2.35      3",
    ]


def test_differences_that_do_not_vary_have_an_interval_of_one_point() -> None:
    rows = [Row(str(value), tuple(run_record(seed, 0.3, value) for seed in range(3))) for value in (0.25, 0.5)]
    found = {difference.metric: difference for difference in paired_differences(rows)}
    assert (found["mAP"].low, found["mAP"].high, found["mAP"].significant) == (25, 25, True)
    assert (found["R1"].low, found["R1"].high, found["R1"].significant) == (0, 0, False)


def test_one_common_seed_gives_no_difference() -> None:
    rows = [Row("baseline", (run_record(0, 0.3, 0.4),)), Row("other", (run_record(0, 0.3, 0.5),))]
    assert paired_differences(rows) == ()

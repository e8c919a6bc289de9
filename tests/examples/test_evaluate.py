"""Tests of the script examples/evaluate.py: official numbers through the command line, and what it refuses."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import evaluate
from examples.look_alike import look_alike
from examples.saved_look_alike import Folders, write_look_alike
from reid.data.images import load_images
from reid.data.reading import Source, list_source
from reid.data_sets.llcm import llcm_trials
from reid.data_sets.regdb import regdb_trials
from reid.data_sets.sysu import read_images
from reid.data_sets.sysu_galleries import sysu_trials
from reid.evaluation.reranking import Reranking
from reid.evaluation.scores import average
from reid.experiments.results import sha256, versions
from reid.network.extraction import extract_embeddings
from reid.network.model import TwoStreamNetwork
from reid.protocols import evaluate_trials
from reid.synthetic.regdb import make_synthetic_regdb
from reid.synthetic.sysu import make_synthetic_sysu
from reid.training.checkpoint import write_checkpoint

OFFICIAL = json.loads(Path(__file__).with_name("official_scores.json").read_text(encoding="utf-8"))
NAMES = ("rank1", "rank5", "rank10", "rank20", "mAP", "mINP")


@pytest.fixture(scope="module")
def mini(tmp_path_factory: pytest.TempPathFactory) -> Folders:
    return write_look_alike(tmp_path_factory.mktemp("mini"), look_alike())


@pytest.fixture(scope="module")
def ties(tmp_path_factory: pytest.TempPathFactory) -> Folders:
    return write_look_alike(tmp_path_factory.mktemp("ties"), look_alike(ties=True))


def scored(out: Path, *arguments: object) -> dict[str, Any]:
    """Run the command, and return what it wrote."""
    assert evaluate.main([*map(str, arguments), "--json", str(out)]) == 0
    content: dict[str, Any] = json.loads(out.read_text(encoding="utf-8"))
    return content


def means(features: torch.Tensor, trials: Any, **options: Any) -> list[float]:
    scores = average(evaluate_trials(features, trials, **options))
    return [*scores.cmc[[0, 4, 9, 19]].tolist(), scores.mAP, scores.mINP]


@pytest.mark.parametrize("shots", [1, 10])
@pytest.mark.parametrize("data", ["mini", "ties"])
def test_every_trial_has_the_numbers_of_the_official_code(
    data: str, shots: int, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    folders: Folders = request.getfixturevalue(data)
    options = ("--name", "raw", "--exp", folders.exp, "--protocol", "official", "--mode", "all", "--shots", shots)
    content = scored(tmp_path / "o.json", "sysu", "--features", folders.features, *options, "--metric", "euclidean")
    expected = OFFICIAL[f"{data} raw {shots}"]
    for trial, official in zip(content["trials"], expected, strict=True):
        for rank in (1, 5, 10, 20):
            assert trial[f"rank{rank}"] == pytest.approx(
                official["found"][rank - 1] / official["valid_queries"], abs=1e-12
            )
        assert trial["mAP"] == pytest.approx(official["mAP"], rel=0, abs=1e-12)
    assert content["mAP"] == pytest.approx(np.mean([trial["mAP"] for trial in expected]), rel=0, abs=1e-12)
    assert content["num_queries"] == OFFICIAL[f"{data} query"]["count"]
    assert content["num_valid_queries"] == expected[0]["valid_queries"]


def test_provenance_tells_all_that_made_the_numbers(mini: Folders, tmp_path: Path) -> None:
    options = ("--name", "raw", "--exp", mini.exp, "--mode", "indoor", "--metric", "euclidean", "--rerank", "--k1", 10)
    content = scored(tmp_path / "o.json", "sysu", "--features", mini.features, *options)
    files = [mini.features / f"raw_cam{camera}.mat" for camera in (1, 2, 3, 6)]
    files += [mini.exp / "test_id.mat", mini.exp / "rand_perm_cam.mat"]
    assert content["provenance"] == {
        "dataset": "SYSU-MM01",
        "protocol": "official",
        "gallery": "official",
        "mode": "indoor",
        "shots": 1,
        "metric": "euclidean",
        "normalisation": "none",
        "options": {"device": "cpu"},
        "direction": "infrared-to-visible",
        "roles": None,
        "trials": 10,
        "cmc": "identity",
        "flip": None,
        "reranking": {"k1": 10, "k2": 6, "weight": 0.3},
        "files": {file.as_posix(): sha256(file) for file in files},
        "versions": versions(),
    }


def test_table_is_the_one_of_papers(mini: Folders, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["sysu", "--features", str(mini.features), "--name", "raw", "--exp", str(mini.exp)]
    assert evaluate.main([*arguments, "--metric", "euclidean"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("SYSU-MM01, infrared-to-visible: search all, shots 1, gallery official, trials 10")
    assert lines[0].endswith("metric euclidean, normalisation none, flip not known, re-ranking no")
    assert lines[1] == "418 queries a trial, 16 of them without a match, skipped"
    assert lines[3].split() == ["method", "R1", "R5", "R10", "R20", "mAP", "mINP"]
    assert lines[5].split() == ["raw", "55.00", "81.37", "90.12", "96.54", "45.91", "26.65"]


def test_agw_galleries_need_the_test_identities_only(mini: Folders, tmp_path: Path) -> None:
    (tmp_path / "test_id.mat").write_bytes((mini.exp / "test_id.mat").read_bytes())
    options = ("--name", "raw", "--exp", tmp_path, "--protocol", "agw")
    content = scored(tmp_path / "o.json", "sysu", "--features", mini.features, *options)
    images = look_alike()
    trials = sysu_trials(images.identities, images.cameras, images.numbers, gallery="agw")
    assert [content[name] for name in NAMES] == means(torch.from_numpy(images.features(False)), trials)


@pytest.mark.parametrize("split", [True, False])
def test_npz_features_of_sysu_are_scored_like_mat_features(mini: Folders, split: bool, tmp_path: Path) -> None:
    images = look_alike()
    np.savez(
        tmp_path / "net.npz",
        features=images.features(False),
        identities=images.identities,
        cameras=images.cameras,
        numbers=images.numbers,
    )
    options = ("--exp", mini.exp) if split else ("--protocol", "agw")
    content = scored(tmp_path / "o.json", "sysu", "--features", tmp_path / "net.npz", *options)
    trials = sysu_trials(*images[1:4], gallery="official" if split else "agw", permutations=images.permutations)
    assert [content[name] for name in NAMES] == means(torch.from_numpy(images.features(False)), trials)


def regdb_files(folder: Path) -> list[Path]:
    """Features of two models on their own splits."""
    files = []
    for split in (1, 2):
        generator = np.random.default_rng(split)
        identities, modalities = np.tile(np.repeat(np.arange(9) + split, 3), 2), np.repeat([0, 1], 27)
        features = generator.normal(size=(20, 6))[identities] + generator.normal(size=(54, 6))
        files.append(folder / f"split{split}.npz")
        np.savez(files[-1], features=features, identities=identities, modalities=modalities)
    return files


def test_regdb_is_the_mean_over_the_models_of_the_splits(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = regdb_files(tmp_path)
    content = scored(tmp_path / "o.json", "regdb", "--features", *files, "--direction", "infrared-to-visible")
    expected = []
    for file, trial in zip(files, content["trials"], strict=True):
        arrays = np.load(file)
        trials = regdb_trials(arrays["identities"], arrays["modalities"], direction="infrared-to-visible")
        expected.append(means(torch.from_numpy(arrays["features"]), trials))
        assert [trial[name] for name in NAMES] == expected[-1]
    assert [content[name] for name in NAMES] == pytest.approx(np.mean(expected, axis=0), abs=1e-15)
    assert (content["num_queries"], content["provenance"]["direction"]) == (27, "infrared-to-visible")
    assert (content["provenance"]["cmc"], content["provenance"]["trials"]) == ("image", 2)
    assert [line.split("  ")[0] for line in capsys.readouterr().out.splitlines()[-3:]] == [
        "split1",
        "split2",
        "mean of 2",
    ]


def test_models_of_one_name_are_told_apart_by_their_folders(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = regdb_files(tmp_path)
    for number, file in enumerate(files):
        (tmp_path / str(number)).mkdir()
        files[number] = file.rename(tmp_path / str(number) / "net.npz")
    assert evaluate.main(["regdb", "--features", *map(str, files)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[0] for line in lines[-3:]] == [*(file.as_posix() for file in files), "mean of 2"]


@pytest.mark.parametrize("roles", ["named", "published"])
def test_llcm_is_scored_in_both_readings(roles: Any, tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    rows = [(i, c, m, n) for i in range(8) for m in (0, 1) for c in (1, 2, 4) for n in range(1, 4)]
    identities, cameras, modalities, numbers = np.array(rows).T
    features = generator.normal(size=(8, 6))[identities] + generator.normal(size=(len(rows), 6))
    labels = {"identities": identities, "cameras": cameras, "modalities": modalities, "numbers": numbers}
    np.savez(tmp_path / "net.npz", features=features, **labels)
    options = ("--direction", "visible-to-infrared", "--roles", roles)
    content = scored(tmp_path / "o.json", "llcm", "--features", tmp_path, "--name", "net", *options)
    trials = llcm_trials(identities, cameras, modalities, numbers, direction="visible-to-infrared", roles=roles)
    assert [content[name] for name in NAMES] == means(torch.from_numpy(features), trials)
    assert content["provenance"]["roles"] == roles
    assert content["num_queries"] == {"named": 72, "published": 24}[roles]


def test_reranking_changes_the_scores_as_named(tmp_path: Path) -> None:
    (file, _) = regdb_files(tmp_path)
    content = scored(
        tmp_path / "o.json", "regdb", "--features", file, "--rerank", "--k1", 8, "--k2", 3, "--lambda", 0.5
    )
    arrays = np.load(file)
    trials = regdb_trials(arrays["identities"], arrays["modalities"], direction="visible-to-infrared")
    expected = means(torch.from_numpy(arrays["features"]), trials, reranking=Reranking(8, 3, 0.5))
    assert [content[name] for name in NAMES] == expected


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, TwoStreamNetwork]:
    """A data set, a checkpoint as a training leaves it, and its network."""
    root, checkpoint = tmp_path_factory.mktemp("data") / "sysu", tmp_path_factory.mktemp("runs") / "net.pt"
    make_synthetic_sysu(root, train=2, val=1, test=5, size=(32, 16), images_per_camera=2, progress=False)
    torch.manual_seed(0)
    network = TwoStreamNetwork(3, enhance=True).eval()
    options = {"data_set": "sysu", "size": [32, 16], "backbone": "small", "private_stages": 0}
    write_checkpoint(checkpoint, {"step": 1, "options": options, "model": network.state_dict()})
    return root, checkpoint, network


@pytest.mark.parametrize("flip", [False, True])
def test_checkpoint_is_scored_on_the_test_images(
    flip: bool, trained: tuple[Path, Path, TwoStreamNetwork], tmp_path: Path
) -> None:
    root, checkpoint, network = trained
    options = ("--checkpoint", checkpoint, "--data", root, "--protocol", "agw", *(["--flip"] if flip else []))
    content = scored(tmp_path / "o.json", "sysu", *options)
    listed = read_images(root, "test")
    images = load_images(listed.paths, (32, 16), progress=False)
    features = extract_embeddings(network, images, torch.from_numpy(listed.modalities), flip=flip)
    trials = sysu_trials(listed.identities, listed.cameras, listed.numbers, gallery="agw")
    assert [content[name] for name in NAMES] == means(features, trials)
    assert content["provenance"]["flip"] is flip
    assert content["provenance"]["files"] == {checkpoint.as_posix(): sha256(checkpoint)}


def test_checkpoint_uses_the_permutations_of_its_data_set(
    trained: tuple[Path, Path, TwoStreamNetwork], tmp_path: Path
) -> None:
    root, checkpoint, _ = trained
    content = scored(tmp_path / "o.json", "sysu", "--checkpoint", checkpoint, "--data", root)
    assert (root / "exp" / "rand_perm_cam.mat").as_posix() in content["provenance"]["files"]


def test_checkpoint_of_another_data_set_or_network_is_refused(
    trained: tuple[Path, Path, TwoStreamNetwork], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root, checkpoint, _ = trained
    content = torch.load(checkpoint, weights_only=True)
    content["options"]["private_stages"] = 1
    write_checkpoint(tmp_path / "other.pt", content)
    (tmp_path / "broken.pt").write_bytes(checkpoint.read_bytes()[:1000])
    for verb, file, message in (
        ("regdb", checkpoint, "was trained on 'sysu', not on 'regdb'"),
        ("sysu", tmp_path / "other.pt", "does not fit the network that it describes"),
        ("sysu", tmp_path / "broken.pt", "is not a whole checkpoint"),
        ("sysu", tmp_path / "none.pt", "none.pt does not exist"),
    ):
        assert evaluate.main([verb, "--checkpoint", str(file), "--data", str(root)]) == 2
        assert message in capsys.readouterr().err


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """Run the command, and return the sentence with which it refuses."""
    assert evaluate.main([str(argument) for argument in arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    return captured.err


def test_owner_of_another_checkpoint_is_told_of_features_and_not_to_delete_it(
    trained: tuple[Path, Path, TwoStreamNetwork], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save({"conv1.weight": torch.zeros(1)}, tmp_path / "theirs.pt")
    said = refused(capsys, "sysu", "--checkpoint", tmp_path / "theirs.pt", "--data", trained[0])
    assert "which holds the step, the options and the model of a training" in said
    assert "what another network makes of the test images with --features" in said
    assert "delete" not in said
    assert "--resume" not in said


@pytest.mark.parametrize(
    "changed",
    [
        {"size": None},
        {"size": "ab"},
        {"size": [math.inf, 3]},
        {"backbone": [1]},
        {"private_stages": "1"},
        {"head.classifier.weight": [1]},
        {"head.classifier.weight": torch.tensor(1.0)},
        {"head.classifier.weight": torch.ones(3, 384, dtype=torch.int64)},
        {"backbone.stem.branches.0.0.weight": 3},
        {7: torch.ones(1)},
    ],
)
def test_checkpoint_that_describes_no_network_is_refused(
    changed: dict[Any, Any],
    trained: tuple[Path, Path, TwoStreamNetwork],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    root, checkpoint, _ = trained
    content = torch.load(checkpoint, weights_only=True)
    for name, value in changed.items():
        content["options" if name in content["options"] else "model"][name] = value
    write_checkpoint(tmp_path / "odd.pt", content)
    said = refused(capsys, "sysu", "--checkpoint", tmp_path / "odd.pt", "--data", root)
    assert "odd.pt does not fit the network that it describes (" in said


def test_remarks_are_those_of_a_training(
    trained: tuple[Path, Path, TwoStreamNetwork], capsys: pytest.CaptureFixture[str]
) -> None:
    root, checkpoint, _ = trained
    remarks = list_source(Source(root)).remarks
    assert evaluate.main(["sysu", "--checkpoint", str(checkpoint), "--data", str(root)]) == 0
    assert remarks
    assert capsys.readouterr().out.splitlines()[: len(remarks)] == list(remarks)


def test_one_split_under_two_names_is_no_mean_of_two(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = regdb_files(tmp_path)
    np.savez_compressed(tmp_path / "again.npz", **np.load(files[0]))
    said = refused(capsys, "regdb", "--features", *files, tmp_path / "again.npz")
    assert f"{files[0]} and {tmp_path / 'again.npz'} are of one split" in said
    with pytest.raises(SystemExit):
        evaluate.main(["regdb", "--features", str(files[0]), str(tmp_path / "." / files[0].name)])
    assert "a path is given twice; give one for each split." in capsys.readouterr().err


def test_two_models_of_one_split_are_no_mean_of_two(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = make_synthetic_regdb(tmp_path / "regdb", train=2, test=5, images=2, size=(32, 16), progress=False)
    files = []
    for seed, split in enumerate((1, 2, 1)):
        torch.manual_seed(seed)
        options = {"data_set": "regdb", "size": [32, 16], "backbone": "small", "private_stages": 0, "split": split}
        content = {"step": 1, "options": options, "model": TwoStreamNetwork(2).state_dict()}
        files.append(tmp_path / f"{seed}.pt")
        write_checkpoint(files[-1], content)
    said = refused(capsys, "regdb", "--checkpoint", *files, "--data", root)
    assert f"{files[0]} and {files[2]} are of one split; give one path for each split." in said
    assert evaluate.main(["regdb", "--checkpoint", *map(str, files[:2]), "--data", str(root)]) == 0


@pytest.mark.slow
def test_command_runs_from_anywhere_and_needs_nothing_else(mini: Folders, tmp_path: Path) -> None:
    script = Path(evaluate.__file__)
    source = script.parents[1] / "src"
    command = [sys.executable, str(script), "sysu", "--features", str(mini.features), "--name", "raw"]
    command += ["--exp", str(mini.exp), "--metric", "euclidean", "--json", "out.json"]
    environment = {**os.environ, "PYTHONPATH": str(source), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert [path.name for path in tmp_path.iterdir()] == ["out.json"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("", "the following arguments are required: DATA_SET"),
        ("market", "invalid choice: 'market'"),
        ("sysu", "give either --features or --checkpoint"),
        ("sysu --features a --checkpoint b", "give either --features or --checkpoint"),
        ("sysu --checkpoint a", "--checkpoint needs --data"),
        ("sysu --features a --flip", "--flip and --data need --checkpoint"),
        ("sysu --features a b", "sysu is scored with one model, got 2 paths"),
        ("sysu --features a --mode outdoor", "invalid choice: 'outdoor'"),
        ("sysu --features a --shots many", "invalid int value: 'many'"),
        ("sysu --features a --direction visible-to-infrared", "unrecognized arguments: --direction"),
        ("sysu --features nowhere --name raw --exp EXP", "nowhere does not exist"),
        ("sysu --features FEATURES --exp EXP", "is a folder; add --name"),
        ("sysu --features FEATURES --name raw", "need --exp, the folder of test_id.mat"),
        ("sysu --features FEATURES/forgotten.npz", "forgotten.npz does not exist"),
        ("sysu --features FEATURES --name net --exp EXP", "net_cam1.mat does not exist"),
        ("sysu --features FEATURES --name raw --exp FEATURES", "neither test_id.mat nor test_id.txt"),
        ("sysu --features FEATURES --name raw --exp EXP --shots 99", "shots=99 needs as many images"),
        ("sysu --features FEATURES --name raw --exp EXP --shots 0", "shots must be a positive integer, got 0"),
        ("sysu --features FEATURES --name raw --exp EXP --protocol agw --shots 10", "defined for shots=1 only"),
        ("sysu --features FEATURES --name raw --exp EXP --rerank --k1 0", "re-ranking of 550 images needs 1 <= k1"),
        ("sysu --features FEATURES --name raw --exp EXP --device warp", "warp"),
        ("regdb --features FEATURES --name raw", "raw.npz does not exist"),
        ("llcm --features FEATURES/raw_cam1.mat", "cannot be read as a .npz file"),
    ],
)
def test_nonsense_is_answered_with_one_sentence(
    arguments: str, message: str, mini: Folders, capsys: pytest.CaptureFixture[str]
) -> None:
    words = arguments.replace("FEATURES", str(mini.features)).replace("EXP", str(mini.exp)).split()
    try:
        code = evaluate.main(words)
    except SystemExit as stop:
        code = int(stop.code or 0)
    captured = capsys.readouterr()
    assert (code, captured.out) == (2, "")
    assert message in captured.err
    assert captured.err.count("\n") == 1
    assert captured.err.startswith("evaluate")


def test_scores_that_cannot_be_written_are_said_to_be(
    mini: Folders, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    arguments = ["sysu", "--features", str(mini.features), "--name", "raw", "--exp", str(mini.exp)]
    assert evaluate.main([*arguments, "--json", str(tmp_path / "file" / "out.json")]) == 2
    assert capsys.readouterr().err.count("\n") == 1

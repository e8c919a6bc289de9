"""Tests of reid.protocols, against the official code's own numbers and against loops over file names."""

import hashlib
import json
import random
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from examples.look_alike import LookAlike, look_alike
from reid.data_sets.sysu_galleries import GalleryChoice, Mode, sysu_trials
from reid.evaluation.scores import average
from reid.protocols import Trials, evaluate_trials, masks

OFFICIAL = Path(__file__).with_name("official_scores.json")
SETTINGS = ["mini raw 1", "mini raw 10", "mini l2 1", "mini l2 10", "ties raw 1", "ties raw 10"]


@cache
def data(ties: bool = False) -> LookAlike:
    return look_alike(ties)


def trials_of(images: LookAlike, gallery: GalleryChoice = "official", mode: Mode = "all", shots: int = 1) -> Trials:
    arrays = (images.identities, images.cameras, images.numbers)
    return sysu_trials(*arrays, gallery=gallery, mode=mode, shots=shots, permutations=images.permutations)


def names(images: LookAlike, indices: NDArray[np.int64]) -> list[tuple[int, int, int]]:
    """Return (camera, identity, number) of each image."""
    columns = (images.cameras[indices], images.identities[indices], images.numbers[indices])
    return list(zip(*(column.tolist() for column in columns), strict=True))


def sha256(images: LookAlike, indices: NDArray[np.int64]) -> str:
    lines = "".join(f"{c},{i},{n}\n" for c, i, n in names(images, indices))
    return hashlib.sha256(lines.encode()).hexdigest()


@cache
def official() -> dict[str, Any]:
    content: dict[str, Any] = json.loads(OFFICIAL.read_text(encoding="utf-8"))
    return content


@pytest.mark.parametrize("setting", SETTINGS)
def test_every_trial_has_the_scores_of_the_official_code(setting: str) -> None:
    dataset, kind, shots = setting.split()
    images = data(dataset == "ties")
    features = torch.from_numpy(images.features(normalize=kind == "l2"))
    trials = trials_of(images, shots=int(shots))
    for scores, expected in zip(
        evaluate_trials(features, trials, metric="euclidean", max_rank=30), official()[setting], strict=True
    ):
        curve = torch.tensor(expected["found"][:30], dtype=torch.float64) / expected["valid_queries"]
        torch.testing.assert_close(scores.cmc, curve, rtol=0, atol=1e-12)
        assert scores.mAP == pytest.approx(expected["mAP"], rel=0, abs=1e-12)
        assert scores.num_valid_queries == expected["valid_queries"]


@pytest.mark.parametrize("setting", ["mini raw 1", "mini raw 10", "mini l2 1", "mini l2 10"])
def test_every_trial_has_the_minp_of_the_agw_code(setting: str) -> None:
    _, kind, shots = setting.split()
    features = torch.from_numpy(data().features(normalize=kind == "l2"))
    trials = evaluate_trials(features, trials_of(data(), shots=int(shots)), metric="euclidean")
    expected = [trial["mINP"] for trial in official()[setting]]
    assert [scores.mINP for scores in trials] == pytest.approx(expected, rel=0, abs=1e-12)


@pytest.mark.parametrize("shots", [1, 10])
def test_cosine_ranks_like_the_official_code_on_normalized_features(shots: int) -> None:
    images = data()
    features = torch.from_numpy(images.features(normalize=False))
    mean = average(evaluate_trials(features, trials_of(images, shots=shots)))
    expected = [trial["mAP"] for trial in official()[f"mini l2 {shots}"]]
    assert mean.mAP == pytest.approx(sum(expected) / 10, rel=0, abs=1e-12)


@pytest.mark.parametrize("setting", ["mini raw 1", "mini raw 10", "ties raw 1", "ties raw 10"])
def test_official_galleries_are_those_of_the_official_code(setting: str) -> None:
    dataset, _, shots = setting.split()
    images = data(dataset == "ties")
    galleries = trials_of(images, shots=int(shots)).galleries
    expected = [trial["gallery_sha256"] for trial in official()[setting]]
    assert [sha256(images, gallery) for gallery in galleries] == expected


@pytest.mark.parametrize("dataset", ["mini", "ties"])
def test_queries_are_those_of_the_official_code(dataset: str) -> None:
    images = data(dataset == "ties")
    query = trials_of(images).query
    expected = official()[f"{dataset} query"]
    assert (len(query), sha256(images, query)) == (expected["count"], expected["sha256"])


@pytest.mark.parametrize("shots", [1, 10])
def test_indoor_galleries_follow_the_permutations_of_cameras_1_and_2(shots: int) -> None:
    images = data()
    identities = sorted(set(images.identities.tolist()))
    for trial, gallery in enumerate(trials_of(images, mode="indoor", shots=shots).galleries):
        expected = [
            (camera, identity, int(number))
            for camera in (1, 2)
            for identity in identities
            for number in images.permutations[camera, identity][trial][:shots]
        ]
        assert names(images, gallery) == expected


def test_single_shot_galleries_lie_inside_the_multi_shot_ones() -> None:
    single, multiple = trials_of(data()).galleries, trials_of(data(), shots=10).galleries
    assert all(set(one) < set(ten) for one, ten in zip(single, multiple, strict=True))


@pytest.mark.parametrize("mode", ["all", "indoor"])
def test_agw_galleries_are_drawn_like_choosing_from_sorted_folders(mode: Mode) -> None:
    images = data()
    cameras = (1, 2, 4, 5) if mode == "all" else (1, 2)
    for seed, gallery in enumerate(trials_of(images, "agw", mode).galleries):
        generator = random.Random(seed)
        expected = []
        for identity in range(1, 49):
            for camera in cameras:
                here = (images.identities == identity) & (images.cameras == camera)
                files = sorted(f"{number:04d}.jpg" for number in images.numbers[here])
                if files:
                    expected.append((camera, identity, int(generator.choice(files)[:4])))
        assert names(images, gallery) == expected


def test_agw_galleries_need_no_permutations() -> None:
    images = data()
    trials = sysu_trials(images.identities, images.cameras, images.numbers, gallery="agw")
    assert all(map(np.array_equal, trials.galleries, trials_of(images, "agw").galleries))


@pytest.mark.parametrize("gallery", ["official", "agw"])
def test_order_of_the_images_passed_is_free(gallery: GalleryChoice) -> None:
    images = data()
    order = np.random.default_rng(0).permutation(len(images.identities))
    integers, identities, cameras, numbers = (array[order] for array in images[:4])
    moved = LookAlike(integers, identities, cameras, numbers, images.permutations)
    trials, again = trials_of(images, gallery), trials_of(moved, gallery)
    assert names(images, trials.query) == names(moved, again.query)
    for one, other in zip(trials.galleries, again.galleries, strict=True):
        assert names(images, one) == names(moved, other)


@pytest.mark.parametrize("mode", ["all", "indoor"])
def test_only_camera_3_loses_images_and_only_those_of_camera_2(mode: Mode) -> None:
    images = data()
    trials = trials_of(images, mode=mode)
    valid = masks(trials, 4).valid.tolist()
    for row, query in zip(valid, names(images, trials.query), strict=True):
        for kept, image in zip(row, names(images, trials.galleries[4]), strict=True):
            assert kept == (query[0] != 3 or image[0] != 2)


def test_images_match_where_the_identities_are_equal() -> None:
    images = data()
    trials = trials_of(images, shots=10)
    match = masks(trials, 9).match.tolist()
    for row, query in zip(match, names(images, trials.query), strict=True):
        for matches, image in zip(row, names(images, trials.galleries[9]), strict=True):
            assert matches == (query[1] == image[1])


def test_both_modes_have_the_same_queries() -> None:
    assert np.array_equal(trials_of(data()).query, trials_of(data(), mode="indoor").query)


def test_features_of_other_images_are_refused() -> None:
    with pytest.raises(ValueError, match="features has 3 rows for 2069 images"):
        evaluate_trials(torch.ones(3, 2), trials_of(data()))


def tiny() -> dict[str, Any]:
    """Two identities, each with one image in camera 1 and one in camera 3."""
    return {
        "identities": np.array([5, 8, 5, 8]),
        "cameras": np.array([1, 1, 3, 3]),
        "numbers": np.array([1, 1, 1, 1]),
        "permutations": {(1, 5): np.ones((10, 1), dtype=np.uint8), (1, 8): np.ones((10, 1), dtype=np.uint8)},
    }


def test_cameras_without_images_may_be_missing_or_empty_in_the_permutations() -> None:
    arguments = tiny()
    missing = sysu_trials(**arguments)
    arguments["permutations"] |= {(2, 5): np.empty((10, 0)), (4, 8): np.empty((0, 0))}
    empty = sysu_trials(**arguments)
    assert [gallery.tolist() for gallery in missing.galleries] == [[0, 1]] * 10
    assert [gallery.tolist() for gallery in empty.galleries] == [[0, 1]] * 10
    assert missing.query.tolist() == [2, 3]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"gallery": "random"}, "gallery must be one of official, agw, got 'random'"),
        ({"mode": "outdoor"}, "mode must be one of all, indoor, got 'outdoor'"),
        ({"shots": 0}, "shots must be a positive integer, got 0"),
        ({"shots": 1.0}, "shots must be a positive integer, got 1.0"),
        ({"shots": 10, "gallery": "agw"}, "gallery='agw' is defined for shots=1 only, got 10"),
        ({"permutations": None}, "needs the permutations of the data set, got None"),
        ({"permutations": {}}, "camera 1, identity 5: expected a permutation of shape (10, 1)"),
        ({"shots": 2}, "camera 1, identity 5: shots=2 needs as many images, got 1"),
        (
            {"numbers": np.array([2, 1, 1, 1])},
            "camera 1, identity 5: expected a permutation of shape (10, 1)",
        ),
        ({"numbers": np.array([1, 1, 1])}, "three vectors of one length, got [(3,), (4,)]"),
        ({"cameras": np.array([0, 1, 3, 3])}, "cameras must be 1 to 6, got 0 to 3"),
        ({"cameras": np.array([1, 1, 3, 7])}, "cameras must be 1 to 6, got 1 to 7"),
        ({"identities": np.array([5, 5, 5, 8])}, "image 1 of camera 1, identity 5 comes twice"),
    ],
)
def test_unfitting_arguments_are_refused(changes: Mapping[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        sysu_trials(**{**tiny(), **changes})


def test_permutation_of_images_that_are_missing_is_refused() -> None:
    arguments = tiny()
    arguments["permutations"][4, 8] = np.ones((10, 1))
    with pytest.raises(ValueError, match=re.escape("camera 4, identity 8: expected a permutation of shape (10, 0)")):
        sysu_trials(**arguments)

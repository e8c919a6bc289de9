"""Tests of the protocol of LLCM against a loop over folders of a small look-alike."""

import random
import re
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch

from reid.data_sets.llcm import Roles, llcm_trials
from reid.evaluation.scores import average
from reid.protocols import Direction, Trials, evaluate_trials, masks

DIRECTIONS: list[Direction] = ["visible-to-infrared", "infrared-to-visible"]
CAMERAS = {0: range(1, 10), 1: (1, 2, 4, 5, 6, 7, 8, 9)}


class Images(NamedTuple):
    identities: np.ndarray[Any, Any]
    cameras: np.ndarray[Any, Any]
    modalities: np.ndarray[Any, Any]
    numbers: np.ndarray[Any, Any]


@cache
def images() -> Images:
    """Eight persons, each seen by some cameras of each modality with one to five images, in mixed order."""
    generator = np.random.default_rng(1)
    rows = [
        (identity, camera, modality, number)
        for identity in (2, 3, 7, 10, 11, 20, 300, 351)
        for modality, cameras in CAMERAS.items()
        for camera in cameras
        if generator.random() < 0.5
        for number in range(1, 2 + generator.integers(5))
    ]
    return Images(*np.array(generator.permutation(rows), dtype=np.int64).T)


def trials_of(direction: Direction, roles: Roles = "named") -> Trials:
    return llcm_trials(*images(), direction=direction, roles=roles)


@cache
def everyone() -> list[tuple[int, ...]]:
    return list(zip(*(column.tolist() for column in images()), strict=True))


def names(rows: np.ndarray[Any, Any]) -> list[tuple[int, ...]]:
    return [everyone()[row] for row in rows]


def drawn(modality: int, seed: int) -> list[tuple[int, ...]]:
    """Choose from sorted folders, as the published code does."""
    generator = random.Random(seed)
    chosen = []
    for identity in sorted({name[0] for name in everyone()}):
        for camera in CAMERAS[modality]:
            files = sorted(name for name in everyone() if name[:3] == (identity, camera, modality))
            if files:
                chosen.append(generator.choice(files))
    return chosen


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_galleries_are_drawn_like_choosing_from_sorted_folders(direction: Direction) -> None:
    answering = 1 - DIRECTIONS.index(direction)
    for seed, gallery in enumerate(trials_of(direction).galleries):
        assert names(gallery) == drawn(answering, seed)


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_every_image_of_the_asking_modality_is_a_query(direction: Direction) -> None:
    trials, asking = trials_of(direction), DIRECTIONS.index(direction)
    assert sorted(trials.query.tolist()) == np.flatnonzero(images().modalities == asking).tolist()
    assert len(trials.queries) == len(trials.galleries) == 10
    assert all(np.array_equal(query, trials.query) for query in trials.queries)


def test_published_roles_let_single_infrared_images_ask_and_all_visible_ones_answer() -> None:
    trials = trials_of("visible-to-infrared", "published")
    visible = np.flatnonzero(images().modalities == 0).tolist()
    for seed, (query, gallery) in enumerate(zip(trials.queries, trials.galleries, strict=True)):
        assert names(query) == drawn(1, seed)
        assert sorted(gallery.tolist()) == visible


def test_published_roles_are_the_named_ones_where_infrared_asks() -> None:
    named, published = (trials_of("infrared-to-visible", roles) for roles in ("named", "published"))
    for one, other in zip(named.queries + named.galleries, published.queries + published.galleries, strict=True):
        assert np.array_equal(one, other)


@pytest.mark.parametrize("roles", ["named", "published"])
@pytest.mark.parametrize("direction", DIRECTIONS)
def test_only_the_same_person_at_the_same_camera_is_removed(direction: Direction, roles: Roles) -> None:
    trials = trials_of(direction, roles)
    match, valid = masks(trials, 3)
    query, gallery = names(trials.queries[3]), names(trials.galleries[3])
    assert valid.tolist() == [[one[:2] != other[:2] for other in gallery] for one in query]
    assert match.tolist() == [[one[0] == other[0] for other in gallery] for one in query]
    assert not valid.all()


def test_scores_of_both_readings_differ() -> None:
    features = torch.from_numpy(np.random.default_rng(2).normal(size=(400, 8))[images().identities])
    features = features + torch.from_numpy(np.random.default_rng(3).normal(size=features.shape))
    named, published = (
        average(evaluate_trials(features, trials_of("visible-to-infrared", roles))) for roles in ("named", "published")
    )
    assert abs(named.mAP - published.mAP) > 0.01
    assert named.num_queries > published.num_queries


def test_order_of_the_images_passed_is_free() -> None:
    order = np.random.default_rng(4).permutation(len(images().identities))
    moved = llcm_trials(*(column[order] for column in images()), direction="visible-to-infrared")
    for one, other in zip(trials_of("visible-to-infrared").galleries, moved.galleries, strict=True):
        assert names(one) == names(order[other])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"roles": "swapped"}, "roles must be one of named, published, got 'swapped'"),
        ({"direction": "there"}, "direction must be one of visible-to-infrared, infrared-to-visible, got 'there'"),
        ({"cameras": images().cameras + 9}, "cameras of visible images must be 1, 2, 3, 4, 5, 6, 7, 8, 9, got [10"),
        ({"cameras": images().cameras * 0 + 3}, "cameras of infrared images must be 1, 2, 4, 5, 6, 7, 8, 9, got [3]"),
        ({"numbers": images().numbers * 0}, "comes twice"),
        ({"cameras": np.ones(4, dtype=np.int64)}, "cameras and modalities must be of one length, got 4"),
    ],
)
def test_unfitting_arguments_are_refused(changes: dict[str, Any], message: str) -> None:
    arguments = {**images()._asdict(), "direction": "visible-to-infrared", **changes}
    with pytest.raises(ValueError, match=re.escape(message)):
        llcm_trials(**arguments)

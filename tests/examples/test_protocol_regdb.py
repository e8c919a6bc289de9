"""Tests of the protocol of RegDB against a plain loop over a small look-alike."""

import re
from typing import Any

import numpy as np
import pytest
import torch

from reid.data_sets.regdb import regdb_trials
from reid.protocols import Direction, evaluate_trials, masks

DIRECTIONS: list[Direction] = ["visible-to-infrared", "infrared-to-visible"]


def images() -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any], torch.Tensor]:
    """Six persons with four images in each modality, in mixed order."""
    generator = np.random.default_rng(0)
    identities, modalities = (part.ravel() for part in np.meshgrid(np.arange(6) * 3 + 1, np.repeat([0, 1], 4)))
    order = generator.permutation(len(identities))
    persons = generator.normal(size=(20, 8))
    features = persons[identities] + 1.5 * generator.normal(size=(len(identities), 8))
    return identities[order], modalities[order], torch.from_numpy(features[order])


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_everything_of_one_modality_asks_and_everything_of_the_other_answers(direction: Direction) -> None:
    identities, modalities, _ = images()
    trials = regdb_trials(identities, modalities, direction=direction)
    visible = [i for i, modality in enumerate(modalities) if modality == 0]
    infrared = [i for i, modality in enumerate(modalities) if modality == 1]
    expected = (visible, infrared) if direction == "visible-to-infrared" else (infrared, visible)
    assert [part.tolist() for part in (*trials.queries, *trials.galleries)] == list(expected)


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_nothing_is_removed(direction: Direction) -> None:
    identities, modalities, _ = images()
    assert masks(regdb_trials(identities, modalities, direction=direction), 0).valid.all()


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_scores_are_those_of_a_loop_that_counts_images(direction: Direction) -> None:
    identities, modalities, features = images()
    (scores,) = evaluate_trials(features, regdb_trials(identities, modalities, direction=direction), max_rank=24)
    unit = (features / features.norm(dim=1, keepdim=True)).tolist()
    asking = DIRECTIONS.index(direction)
    first, precisions, penalties = [], [], []
    for query in np.flatnonzero(modalities == asking):
        gallery = [i for i in range(len(unit)) if modalities[i] != asking]
        gallery.sort(key=lambda i: -sum(a * b for a, b in zip(unit[query], unit[i], strict=True)))
        ranks = [rank for rank, i in enumerate(gallery, start=1) if identities[i] == identities[query]]
        first.append(ranks[0])
        precisions.append(sum(j / rank for j, rank in enumerate(ranks, start=1)) / len(ranks))
        penalties.append(len(ranks) / ranks[-1])
    curve = [sum(rank <= k for rank in first) / len(first) for k in range(1, 25)]
    assert scores.cmc.tolist() == pytest.approx(curve, abs=1e-15)
    assert scores.mAP == pytest.approx(np.mean(precisions), abs=1e-14)
    assert scores.mINP == pytest.approx(np.mean(penalties), abs=1e-14)
    assert scores.num_queries == scores.num_valid_queries == 24


def test_level_of_the_cmc_is_the_rule_s() -> None:
    identities, modalities, features = images()
    trials = regdb_trials(identities, modalities, direction="visible-to-infrared")
    persons = trials._replace(rule=trials.rule._replace(level="identity"))
    (by_image,), (by_person,) = evaluate_trials(features, trials), evaluate_trials(features, persons)
    assert by_image.cmc[0] == by_person.cmc[0]
    assert (by_image.cmc <= by_person.cmc).all()
    assert by_image.cmc[2] < by_person.cmc[2]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"direction": "there"}, "direction must be one of visible-to-infrared, infrared-to-visible, got 'there'"),
        ({"modalities": np.zeros(48, dtype=np.int64)}, "there is no infrared image among the 48"),
        ({"modalities": np.ones(48, dtype=np.int64)}, "there is no visible image among the 48"),
        ({"modalities": np.ones(4, dtype=np.int64)}, "two vectors of one length, got (48,) and (4,)"),
        ({"modalities": np.arange(48)}, "modalities must be 0 (visible) or 1 (infrared)"),
    ],
)
def test_unfitting_arguments_are_refused(changes: dict[str, Any], message: str) -> None:
    identities, modalities, _ = images()
    arguments = {"identities": identities, "modalities": modalities, "direction": "visible-to-infrared", **changes}
    with pytest.raises(ValueError, match=re.escape(message)):
        regdb_trials(**arguments)

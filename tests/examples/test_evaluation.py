"""Tests of reid.evaluation: hand-made rankings, and a plain loop that reads like the protocol's text."""

import math
import re
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from reid import evaluation
from reid.evaluation import CMCLevel, Scores, average, distances, evaluate


class Problem(NamedTuple):
    distance: Tensor
    match: Tensor
    valid: Tensor
    identities: Tensor


def hand_made(distance: list[float], identities: list[int], removed: tuple[int, ...] = ()) -> Problem:
    """One query of identity 1."""
    valid = torch.tensor([[g not in removed for g in range(len(identities))]])
    match = torch.tensor([[identity == 1 for identity in identities]])
    return Problem(torch.tensor([distance]), match, valid, torch.tensor(identities))


def random_problem(
    seed: int, dtype: torch.dtype = torch.float64, values: int = 0, queries: int = 40, images: int = 60
) -> Problem:
    """Nine identities, two without a query, and queries of one that is nowhere; few `values` make ties."""
    generator = torch.Generator().manual_seed(seed)
    identities = torch.randint(2, 11, (images,), generator=generator) * 7 - 30
    asked = torch.randint(4, 12, (queries,), generator=generator) * 7 - 30
    distance = torch.rand(queries, images, generator=generator, dtype=torch.float64)
    if values:
        distance = (distance * values).floor()
    valid = torch.rand(queries, images, generator=generator) < 0.7
    return Problem(distance.to(dtype), asked[:, None] == identities, valid, identities)


def oracle(problem: Problem, max_rank: int = 20, level: CMCLevel = "identity") -> Scores:
    """Follow the protocol's text for one query after the other."""
    found, precisions, penalties = [0] * max_rank, [], []
    identities = problem.identities.tolist()
    rows = zip(problem.distance.tolist(), problem.match.tolist(), problem.valid.tolist(), strict=True)
    for distance, match, valid in rows:
        kept = [image for image in range(len(identities)) if valid[image]]
        ranking = sorted(kept, key=lambda image: distance[image])
        ranks = [rank for rank, image in enumerate(ranking, start=1) if match[image]]
        if not ranks:
            continue
        first = ranks[0]
        if level == "identity":
            names = list(dict.fromkeys(identities[image] for image in ranking))
            first = 1 + names.index(identities[ranking[first - 1]])
        for rank in range(first, max_rank + 1):
            found[rank - 1] += 1
        precisions.append(math.fsum(j / rank for j, rank in enumerate(ranks, start=1)) / len(ranks))
        penalties.append(len(ranks) / ranks[-1])
    count = len(precisions)
    return Scores(
        cmc=torch.tensor([number / count for number in found], dtype=torch.float64),
        mAP=math.fsum(precisions) / count,
        mINP=math.fsum(penalties) / count,
        num_queries=len(problem.distance),
        num_valid_queries=count,
    )


def assert_same(scores: Scores, expected: Scores) -> None:
    torch.testing.assert_close(scores.cmc, expected.cmc, rtol=0, atol=1e-15)
    assert scores.mAP == pytest.approx(expected.mAP, rel=0, abs=1e-14)
    assert scores.mINP == pytest.approx(expected.mINP, rel=0, abs=1e-14)
    assert scores[3:] == expected[3:]


def test_scores_of_a_ranking_worked_out_by_hand() -> None:
    # Ranking: 2, 1, 3, 1. The matches stand at ranks 2 and 4: AP = (1/2 + 2/4) / 2, INP = 2/4.
    scores = evaluate(*hand_made([0.3, 0.6, 0.1, 0.5], [1, 1, 2, 3]), max_rank=4)
    assert scores.cmc.tolist() == [0, 1, 1, 1]
    assert (scores.mAP, scores.mINP) == (0.5, 0.5)
    assert (scores.num_queries, scores.num_valid_queries) == (1, 1)


def test_removed_images_take_no_rank() -> None:
    # Without the image of identity 2: 1, 3, 1. AP = (1/1 + 2/3) / 2, INP = 2/3.
    scores = evaluate(*hand_made([0.3, 0.6, 0.1, 0.5], [1, 1, 2, 3], removed=(2,)), max_rank=2)
    assert scores.cmc.tolist() == [1, 1]
    assert scores.mAP == pytest.approx(5 / 6, abs=1e-15)
    assert scores.mINP == pytest.approx(2 / 3, abs=1e-15)


def test_removed_matches_are_no_matches() -> None:
    scores = evaluate(*hand_made([0.1, 0.6, 0.2, 0.5], [1, 1, 2, 3], removed=(0,)), max_rank=3)
    assert scores.cmc.tolist() == [0, 0, 1]
    assert (scores.mAP, scores.mINP) == pytest.approx((1 / 3, 1 / 3), abs=1e-15)


def test_identity_level_counts_an_identity_once_however_many_images_it_has() -> None:
    scores = evaluate(*hand_made([0.1, 0.2, 0.3], [2, 2, 1]), max_rank=3)
    assert scores.cmc.tolist() == [0, 1, 1]


def test_image_level_counts_every_image() -> None:
    scores = evaluate(*hand_made([0.1, 0.2, 0.3], [2, 2, 1]), max_rank=3, level="image")
    assert scores.cmc.tolist() == [0, 0, 1]


def test_equal_distances_keep_the_order_of_the_gallery() -> None:
    # Ranks 2 and 4 of four images at one distance: AP = (1/2 + 2/4) / 2.
    scores = evaluate(*hand_made([0.5, 0.5, 0.5, 0.5], [2, 1, 3, 1]), max_rank=3)
    assert scores.cmc.tolist() == [0, 1, 1]
    assert (scores.mAP, scores.mINP) == (0.5, 0.5)


def test_a_match_that_comes_first_in_the_gallery_wins_its_tie() -> None:
    scores = evaluate(*hand_made([0.5, 0.5, 0.5], [1, 2, 3]), max_rank=1)
    assert (scores.cmc.tolist(), scores.mAP) == ([1], 1.0)


def test_removed_images_lose_their_ties() -> None:
    scores = evaluate(*hand_made([0.5, 0.5, 0.5], [2, 3, 1], removed=(0,)), max_rank=3)
    assert (scores.cmc.tolist(), scores.mAP) == ([0, 1, 1], 0.5)


def test_infinite_distances_rank_last_in_the_order_of_the_gallery() -> None:
    # Kept: 3 at 0.5, then 2 and 1 at infinity, where image 0 is removed.
    problem = hand_made([math.inf, math.inf, math.inf, 0.5], [1, 2, 1, 3], removed=(0,))
    scores = evaluate(*problem, max_rank=3)
    assert scores.cmc.tolist() == [0, 0, 1]
    assert scores.mAP == pytest.approx(1 / 3, abs=1e-15)


def test_query_without_match_is_skipped_and_counted() -> None:
    problem = Problem(
        distance=torch.tensor([[0.2, 0.1], [0.1, 0.2], [0.3, 0.4]]),
        match=torch.tensor([[True, False], [False, False], [False, True]]),
        valid=torch.ones(3, 2, dtype=torch.bool),
        identities=torch.tensor([1, 2]),
    )
    scores = evaluate(*problem, max_rank=2)
    assert (scores.cmc.tolist(), scores.mAP, scores.mINP) == ([0, 1], 0.5, 0.5)
    assert (scores.num_queries, scores.num_valid_queries) == (3, 2)


def test_query_whose_gallery_is_removed_altogether_is_skipped() -> None:
    problem = Problem(
        distance=torch.tensor([[0.1, 0.2], [0.1, 0.2]]),
        match=torch.tensor([[True, False], [True, False]]),
        valid=torch.tensor([[False, False], [True, True]]),
        identities=torch.tensor([1, 2]),
    )
    scores = evaluate(*problem, max_rank=1)
    assert (scores.cmc.tolist(), scores.mAP, scores.num_valid_queries) == ([1], 1.0, 1)


def test_curve_is_flat_beyond_the_last_identity() -> None:
    assert evaluate(*hand_made([0.2, 0.1], [1, 2])).cmc.tolist() == [0.0] + [1.0] * 19


@pytest.mark.parametrize("level", ["identity", "image"])
@pytest.mark.parametrize("values", [0, 30, 2])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("seed", [0, 1])
def test_scores_equal_those_of_a_plain_loop(seed: int, dtype: torch.dtype, values: int, level: CMCLevel) -> None:
    problem = random_problem(seed, dtype, values)
    assert_same(evaluate(*problem, max_rank=5, level=level), oracle(problem, 5, level))


@pytest.mark.parametrize("elements", [1, 60, 150, 7 * 60])
def test_chunks_of_queries_leave_the_scores_alone(elements: int, monkeypatch: pytest.MonkeyPatch) -> None:
    problem = random_problem(2, values=40)
    monkeypatch.setattr(evaluation, "_CHUNK_ELEMENTS", elements)
    assert_same(evaluate(*problem), oracle(problem))


def test_order_of_queries_and_gallery_is_free_without_ties() -> None:
    problem = random_problem(3)
    generator = torch.Generator().manual_seed(0)
    rows, columns = torch.randperm(40, generator=generator), torch.randperm(60, generator=generator)
    distance, match, valid = (matrix[rows][:, columns] for matrix in problem[:3])
    moved = Problem(distance, match, valid, problem.identities[columns])
    assert_same(evaluate(*moved), evaluate(*problem))


def test_half_precision_distances_are_ranked_like_their_float32_values() -> None:
    problem = random_problem(4, torch.bfloat16)
    expected = oracle(problem._replace(distance=problem.distance.float()))
    assert_same(evaluate(*problem), expected)


def test_distances_with_a_gradient_are_accepted() -> None:
    problem = random_problem(5)
    expected = oracle(problem)
    assert_same(evaluate(problem.distance.clone().requires_grad_(), *problem[1:]), expected)


def test_arguments_are_left_as_they_were() -> None:
    problem = random_problem(6, values=3)
    before = [tensor.clone() for tensor in problem]
    evaluate(*problem)
    assert all(torch.equal(tensor, copy) for tensor, copy in zip(problem, before, strict=True))


def test_memory_does_not_grow_with_the_number_of_queries(monkeypatch: pytest.MonkeyPatch) -> None:
    class Largest(TorchDispatchMode):  # type: ignore[no-untyped-call]
        numel = 0

        def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            result = operation(*args, **(kwargs or {}))
            for tensor in result if isinstance(result, tuple | list) else [result]:
                self.numel = max(self.numel, tensor.numel() if isinstance(tensor, Tensor) else 0)
            return result

    monkeypatch.setattr(evaluation, "_CHUNK_ELEMENTS", 2048)
    problem = random_problem(7, values=20, queries=1000, images=64)
    with Largest() as largest:  # type: ignore[no-untyped-call]
        evaluate(*problem)
    assert 1000 <= largest.numel <= 2048


def test_stable_sort_is_left_out_where_no_match_shares_its_distance(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(values: Tensor) -> Tensor:
        raise AssertionError(f"{len(values)} rows were sorted stably")

    problem = random_problem(9)
    expected = oracle(problem)
    monkeypatch.setattr(evaluation, "_stable_places", refuse)
    assert_same(evaluate(*problem), expected)


def test_nan_distance_is_refused() -> None:
    problem = random_problem(8)
    problem.distance[3, 5] = math.nan
    with pytest.raises(ValueError, match="distance holds NaN"):
        evaluate(*problem)


def test_no_query_with_a_match_is_refused() -> None:
    with pytest.raises(ValueError, match="none of the 1 queries has a match"):
        evaluate(*hand_made([0.1, 0.2], [2, 3]))


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"identities": torch.ones(3)}, ValueError, "identities (G,), got (1, 2), (1, 2), (1, 2) and (3,)"),
        ({"valid": torch.ones(2, 2, dtype=torch.bool)}, ValueError, "(Q, G)"),
        ({"distance": torch.ones(2)}, ValueError, "(Q, G)"),
        ({"match": torch.ones(1, 2)}, TypeError, "torch.float32, torch.float32 and torch.bool"),
        ({"distance": torch.ones(1, 2, dtype=torch.long)}, TypeError, "distance must be floating"),
    ],
)
def test_unfitting_tensors_are_refused(changes: dict[str, Tensor], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=re.escape(message)):
        evaluate(*hand_made([0.1, 0.2], [1, 2])._replace(**changes))


def test_empty_gallery_is_refused() -> None:
    empty = torch.ones(2, 0, dtype=torch.bool)
    with pytest.raises(ValueError, match=re.escape("distance is (2, 0), expected at least one query")):
        evaluate(torch.ones(2, 0), empty, empty, torch.ones(0))


@pytest.mark.parametrize("max_rank", [0, -1, 2.5, True])
def test_bad_max_rank_is_refused(max_rank: Any) -> None:
    with pytest.raises(ValueError, match="max_rank must be a positive integer"):
        evaluate(*hand_made([0.1], [1]), max_rank=max_rank)


def test_unknown_level_is_refused_with_the_known_ones() -> None:
    level: Any = "person"
    with pytest.raises(ValueError, match="one of identity, image, got 'person'"):
        evaluate(*hand_made([0.1], [1]), level=level)


def test_cosine_distance_is_minus_the_cosine_of_the_angle() -> None:
    query, gallery = torch.tensor([[3.0, 4.0]]), torch.tensor([[30.0, 40.0], [4.0, -3.0], [-1.0, 0.0]])
    torch.testing.assert_close(distances(query, gallery), torch.tensor([[-1.0, 0.0, 0.6]]), rtol=0, atol=1e-7)


def test_euclidean_distance_equals_that_of_a_plain_loop() -> None:
    generator = torch.Generator().manual_seed(0)
    query = torch.randn(30, 6, generator=generator, dtype=torch.float64)
    gallery = torch.randn(40, 6, generator=generator, dtype=torch.float64)
    expected = [[math.dist(q, g) for g in gallery.tolist()] for q in query.tolist()]
    distance = distances(query, gallery, "euclidean")
    torch.testing.assert_close(distance, torch.tensor(expected, dtype=torch.float64), rtol=1e-12, atol=0)


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_half_precision_features_give_float32_distances(metric: evaluation.Metric) -> None:
    features = torch.randn(8, 4, generator=torch.Generator().manual_seed(0)).half()
    distance = distances(features, features, metric)
    assert distance.dtype == torch.float32
    torch.testing.assert_close(distance, distances(features.float(), features.float(), metric))


def test_feature_without_direction_is_at_right_angles_to_all() -> None:
    assert distances(torch.zeros(1, 3), torch.ones(2, 3)).tolist() == [[0.0, 0.0]]


def test_unknown_metric_is_refused_with_the_known_ones() -> None:
    metric: Any = "manhattan"
    with pytest.raises(ValueError, match="one of cosine, euclidean, got 'manhattan'"):
        distances(torch.ones(1, 2), torch.ones(1, 2), metric)


def test_features_of_different_width_are_refused() -> None:
    with pytest.raises(ValueError, match=re.escape("got (1, 2) and (1, 3)")):
        distances(torch.ones(1, 2), torch.ones(1, 3))


def test_average_weighs_trials_equally_and_sums_their_queries() -> None:
    trials = [
        Scores(torch.tensor([0.0, 1.0]).double(), 0.25, 0.5, num_queries=5, num_valid_queries=1),
        Scores(torch.tensor([0.5, 0.5]).double(), 0.75, 0.0, num_queries=5, num_valid_queries=4),
    ]
    mean = average(trials)
    assert mean.cmc.tolist() == [0.25, 0.75]
    assert mean[1:] == (0.5, 0.25, 10, 5)


def test_average_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one trial"):
        average([])

"""Tests of reid.evaluation.scores: hand-made rankings, and a plain loop that reads like the protocol's text."""

import math
import re
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from reid.evaluation import distances as distance_room
from reid.evaluation import ranking
from reid.evaluation.scores import CMCLevel, Labels, Metric, Scores, average, distances, evaluate, evaluate_features


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
    monkeypatch.setattr(ranking, "_CHUNK_ELEMENTS", elements)
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


class Largest(TorchDispatchMode):
    """Remembers the number of elements of the largest tensor that any operation made."""

    def __init__(self) -> None:
        super().__init__()
        self.numel = 0

    def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = operation(*args, **(kwargs or {}))
        made = [] if operation.is_view else result if isinstance(result, tuple | list) else [result]
        self.numel = max([self.numel, *(tensor.numel() for tensor in made if isinstance(tensor, Tensor))])
        return result


def test_memory_does_not_grow_with_the_number_of_queries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranking, "_CHUNK_ELEMENTS", 2048)
    problem = random_problem(7, values=20, queries=1000, images=64)
    with Largest() as largest:
        evaluate(*problem)
    assert 1000 <= largest.numel <= 2048


def test_stable_sort_is_left_out_where_no_match_shares_its_distance(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(values: Tensor, valid: Tensor) -> Tensor:
        raise AssertionError(f"{len(values)} rows were sorted stably")

    problem = random_problem(9)
    expected = oracle(problem)
    monkeypatch.setattr(ranking, "_stable_places", refuse)
    assert_same(evaluate(*problem), expected)


def test_values_that_float32_cannot_tell_apart_are_ranked_as_they_are() -> None:
    step = 2.0**-30
    problem = hand_made([0.5, 0.5 - step, 0.5 + step], [2, 1, 3])
    distance = torch.tensor([[0.5, 0.5 - step, 0.5 + step]], dtype=torch.float64)
    assert len(set(distance.float().tolist()[0])) == 1
    assert evaluate(*problem._replace(distance=distance), max_rank=2).cmc.tolist() == [1, 1]


def test_scores_near_the_limit_of_float32_equal_those_of_a_plain_loop() -> None:
    problem = random_problem(10)
    close = problem._replace(distance=1 + problem.distance * 2.0**-22)  # many equal ones in float32, none in float64
    assert_same(evaluate(*close), oracle(close))


@pytest.mark.parametrize("scale", [1e200, 1e-200])
def test_distances_beyond_float32_are_ranked_as_they_are(scale: float) -> None:
    problem = random_problem(11)
    scaled = problem._replace(distance=problem.distance * scale)
    assert_same(evaluate(*scaled), oracle(scaled))


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


class Photographs(NamedTuple):
    """Features of queries and of a gallery, with what is known of them."""

    query: Tensor
    gallery: Tensor
    asked: Labels
    shown: Labels


def photographs(seed: int, dtype: torch.dtype = torch.float64, queries: int = 50, images: int = 70) -> Photographs:
    """Few different features, so that there are ties; ten identities, four origins, of which two are in common."""
    generator = torch.Generator().manual_seed(seed)

    def numbers(least: int, most: int, count: int) -> Tensor:
        return torch.randint(least, most, (count,), generator=generator)

    query, gallery = (torch.randn(count, 12, generator=generator).to(dtype) for count in (queries, images))
    gallery = gallery[numbers(0, images // 2, images)]  # images that are there twice or more
    asked = Labels(numbers(0, 8, queries), numbers(0, 3, queries))
    return Photographs(query, gallery, asked, Labels(numbers(2, 10, images), numbers(1, 4, images)))


def as_problem(images: Photographs, metric: Metric) -> Problem:
    match = images.asked.identities[:, None] == images.shown.identities
    valid = images.asked.origins[:, None] != images.shown.origins
    return Problem(distances(images.query, images.gallery, metric), match, valid, images.shown.identities)


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("level", ["identity", "image"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_features_are_scored_like_a_plain_loop_over_their_distances(
    metric: Metric, level: CMCLevel, dtype: torch.dtype
) -> None:
    images = photographs(0, dtype)
    scores = evaluate_features(*images, metric=metric, level=level, max_rank=5)
    assert_same(scores, oracle(as_problem(images, metric), 5, level))


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize(("tile", "chunk"), [(1, 1), (700, 140), (1500, 10_000)])
def test_features_have_the_scores_of_the_whole_matrix_to_the_last_bit(
    metric: Metric, tile: int, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = photographs(1)
    monkeypatch.setattr(distance_room, "_TILE_ELEMENTS", tile)
    monkeypatch.setattr(distance_room, "_TILE_ROWS", 1)
    expected = evaluate(*as_problem(images, metric))
    monkeypatch.setattr(ranking, "_CHUNK_ELEMENTS", chunk)
    scores = evaluate_features(*images, metric=metric)
    assert scores.cmc.tolist() == expected.cmc.tolist()
    assert scores[1:] == expected[1:]


def test_no_tensor_is_as_large_as_all_distances(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distance_room, "_TILE_ELEMENTS", 4096)
    monkeypatch.setattr(ranking, "_CHUNK_ELEMENTS", 2048)
    images = photographs(2, queries=1000, images=64)
    with Largest() as largest:
        evaluate_features(*images)
    assert 64 * 32 <= largest.numel <= 4096  # all distances are 64,000


def test_gallery_is_not_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distance_room, "_TILE_ELEMENTS", 1)
    monkeypatch.setattr(distance_room, "_TILE_ROWS", 2)
    monkeypatch.setattr(distance_room, "_BLOCK_ELEMENTS", 1000)
    images = photographs(3, torch.float32, queries=10, images=2000)
    with Largest() as largest:
        evaluate_features(*images)
    assert largest.numel == 2 * 2000  # the distances of two queries; the features of the gallery are 24,000


def test_equal_gallery_images_keep_their_order() -> None:
    # 300 images with one feature: that of the query's identity comes first, or last.
    query, gallery = torch.randn(40, 100, dtype=torch.float64), torch.randn(1, 100, dtype=torch.float64).repeat(300, 1)
    identities = torch.arange(300)
    for place, expected in ((0, 1.0), (299, 1 / 300)):
        asked = Labels(torch.full((40,), place), torch.full((40,), -1))
        for metric in ("cosine", "euclidean"):
            scores = evaluate_features(query, gallery, asked, Labels(identities, identities), metric=metric)
            assert scores.mAP == pytest.approx(expected, rel=1e-12), (place, metric)


def test_features_that_are_not_finite_are_refused() -> None:
    images = photographs(4)
    images.gallery[3, 5] = math.inf
    with pytest.raises(ValueError, match="distance holds NaN"):
        evaluate_features(*images)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"asked": Labels(torch.ones(3), torch.ones(50))}, "query must be features (n, D) with identities (n,)"),
        ({"shown": Labels(torch.ones(70), torch.ones(7))}, "got (70, 12), (70,) and (7,)"),
        ({"query": torch.ones(50, 11)}, "query and gallery must be (Q, D) and (G, D)"),
        ({"gallery": torch.ones(70, 12, 1)}, "gallery must be features (n, D)"),
        ({"query": torch.ones(0, 12), "asked": Labels(torch.ones(0), torch.ones(0))}, "query has no row"),
    ],
)
def test_unfitting_features_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        evaluate_features(*photographs(5)._replace(**changes))


def test_features_without_a_match_are_refused() -> None:
    images = photographs(6)
    strangers = images._replace(asked=images.asked._replace(identities=torch.full((50,), -1)))
    with pytest.raises(ValueError, match="none of the 50 queries has a match"):
        evaluate_features(*strangers)


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

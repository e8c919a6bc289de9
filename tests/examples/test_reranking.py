"""Tests of reid.evaluation.reranking against a plain loop that follows the paper's equations."""

import math
import re
from typing import Any

import pytest
import torch
from torch import Tensor

from reid.data_sets.regdb import regdb_trials
from reid.evaluation.distances import Metric
from reid.evaluation.reranking import Reranking, rerank
from reid.protocols import evaluate_trials


def features(seed: int, queries: int = 9, images: int = 16) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    gallery = torch.randn(images, 5, generator=generator, dtype=torch.float64)
    return torch.randn(queries, 5, generator=generator, dtype=torch.float64) + 0.5, gallery


def oracle(query: Tensor, gallery: Tensor, constants: Reranking, metric: Metric) -> list[list[float]]:
    k1, k2, weight = constants
    rows = [row.tolist() for row in torch.cat([query, gallery])]
    if metric == "cosine":
        rows = [[value / math.hypot(*row) for value in row] for row in rows]
    everyone = range(len(rows))
    squared = [[sum((a - b) ** 2 for a, b in zip(one, two, strict=True)) for two in rows] for one in rows]
    d = [[value / max(row) for value in row] for row in squared]
    # Rounded: sums in another order must not break ties of copies.
    order = [sorted(everyone, key=lambda j: (j != i, round(d[i][j], 9))) for i in everyone]

    def reciprocal(i: int, k: int) -> set[int]:
        return {j for j in order[i][: k + 1] if i in order[j][: k + 1]}

    vectors = []
    for i in everyone:
        near = reciprocal(i, k1)
        expanded = set(near)
        for j in near:
            half = reciprocal(j, round(k1 / 2))
            if len(near & half) >= 2 / 3 * len(half):
                expanded |= half
        total = sum(math.exp(-d[i][j]) for j in expanded)
        vectors.append([math.exp(-d[i][j]) / total if j in expanded else 0.0 for j in everyone])
    means = [[sum(vectors[n][j] for n in order[i][:k2]) / k2 for j in everyone] for i in everyone]

    def jaccard(i: int, j: int) -> float:
        pairs = list(zip(means[i], means[j], strict=True))
        return 1 - sum(min(pair) for pair in pairs) / sum(max(pair) for pair in pairs)

    first = len(query)
    return [[(1 - weight) * jaccard(i, j) + weight * d[i][j] for j in everyone[first:]] for i in range(first)]


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize(
    "constants", [Reranking(6, 3, 0.3), Reranking(7, 1, 0.0), Reranking(5, 6, 0.9), Reranking(1, 1)]
)
@pytest.mark.parametrize("seed", [0, 1])
def test_distances_are_those_of_the_equations(seed: int, constants: Reranking, metric: Metric) -> None:
    query, gallery = features(seed)
    expected = torch.tensor(oracle(query, gallery, constants, metric), dtype=torch.float64)
    torch.testing.assert_close(rerank(query, gallery, constants, metric=metric), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("constants", [Reranking(4, 2), Reranking(1, 1), Reranking(2, 3)])
def test_copies_of_an_image_keep_the_order_of_the_images(constants: Reranking) -> None:
    query, gallery = features(2, images=4)
    gallery = gallery.repeat(4, 1)
    expected = torch.tensor(oracle(query, gallery, constants, "euclidean"), dtype=torch.float64)
    torch.testing.assert_close(rerank(query, gallery, constants, metric="euclidean"), expected, rtol=0, atol=1e-12)


def test_more_queries_than_are_worked_on_at_a_time() -> None:
    query, gallery = features(3, queries=35, images=20)
    constants = Reranking(8, 3)
    expected = torch.tensor(oracle(query, gallery, constants, "cosine"), dtype=torch.float64)
    torch.testing.assert_close(rerank(query, gallery, constants), expected, rtol=0, atol=1e-12)


def test_constants_are_those_of_the_paper() -> None:
    assert Reranking() == (20, 6, 0.3)


def test_other_queries_change_the_distance() -> None:
    query, gallery = features(4)
    constants = Reranking(6, 3)
    assert not torch.allclose(rerank(query, gallery, constants)[:4], rerank(query[:4], gallery, constants))


def test_one_image_many_times_is_no_division_by_zero() -> None:
    same = torch.ones(4, 3, dtype=torch.float64)
    assert rerank(same, same, Reranking(2, 1)).isfinite().all()


def test_trials_are_scored_by_the_distances_of_the_neighbours() -> None:
    identities, modalities = torch.arange(24).remainder(6).numpy(), torch.arange(24).div(12).long().numpy()
    trials = regdb_trials(identities, modalities, direction="visible-to-infrared")
    query, gallery = features(5, 12, 12)
    together = torch.cat([query, gallery])
    (plain,), (ranked,) = (evaluate_trials(together, trials, reranking=one) for one in (None, Reranking(6, 3)))
    distance = torch.tensor(oracle(query, gallery, Reranking(6, 3), "cosine"))
    nearest = distance.argmin(dim=1).remainder(6) == torch.arange(12).remainder(6)
    assert ranked.cmc[0] == nearest.double().mean()
    assert ranked.mAP != plain.mAP


@pytest.mark.parametrize(
    "constants", [(0, 1, 0.3), (25, 1, 0.3), (4, 6, 0.3), (4, 0, 0.3), (4, 2, 1.5), (4, 2, math.nan)]
)
def test_constants_without_a_sense_are_refused(constants: Any) -> None:
    with pytest.raises(ValueError, match=re.escape("needs 1 <= k1 < 25, 1 <= k2 <= k1 + 1 and a weight from 0 to 1")):
        rerank(*features(6), Reranking(*constants))


def test_features_that_are_not_finite_are_refused() -> None:
    query, gallery = features(7)
    gallery[0, 0] = math.nan
    with pytest.raises(ValueError, match="a distance is NaN"):
        rerank(query, gallery, Reranking(4, 2))

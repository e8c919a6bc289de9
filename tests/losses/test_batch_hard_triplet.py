"""The batch-hard triplet loss: against a plain loop, by hand, and against published code."""

from itertools import product
from typing import Any

import pytest
import torch
from torch import Tensor

import modinv
from batches import make_batch
from modinv import Batch
from published import Case, assert_reproduced, cases

from .plain_loop import assert_agrees, every_batch, mean

PAIRS = ["all", "intra", "cross", "four_way"]
every_pairs = pytest.mark.parametrize("pairs", PAIRS)


def hinges(batch: Batch, anchors: list[int], others: set[tuple[int, int]], margin: float | None) -> list[Tensor]:
    """One hinge for each anchor that has a positive and a negative; ``others`` are the modalities that may meet."""
    features, labels, modalities = batch.features, batch.labels.tolist(), batch.modalities.tolist()
    losses = []
    for i in anchors:
        candidates = [j for j in range(len(labels)) if j != i and (modalities[i], modalities[j]) in others]
        positives = [(features[i] - features[j]).norm() for j in candidates if labels[i] == labels[j]]
        negatives = [(features[i] - features[j]).norm() for j in candidates if labels[i] != labels[j]]
        if positives and negatives:
            gap = max(positives) - min(negatives)
            losses.append((1 + gap.exp()).log() if margin is None else (margin + gap).clamp(min=0))
    return losses


def plain_loop(batch: Batch, pairs: str, margin: float | None) -> Tensor:
    numbers = range(3)
    rows = list(range(len(batch.labels)))
    meetings = list(product(numbers, numbers))
    if pairs == "four_way":
        means = []
        for a, b in meetings:
            losses = hinges(batch, [i for i in rows if batch.modalities[i] == a], {(a, b)}, margin)
            means += [mean(losses)] if losses else []
        return mean(means)
    wanted = {"all": (True, False), "intra": (True,), "cross": (False,)}[pairs]
    return mean(hinges(batch, rows, {(a, b) for a, b in meetings if (a == b) in wanted}, margin))


@every_pairs
@pytest.mark.parametrize("margin", [2.0, None])
@every_batch
def test_value_and_gradient_are_those_of_the_plain_loop(batch: Batch, pairs: Any, margin: float | None) -> None:
    loss = modinv.BatchHardTripletLoss(margin=margin, pairs=pairs)
    assert_agrees(loss, lambda batch: plain_loop(batch, pairs, margin), batch)


@pytest.mark.parametrize("case", cases("batch_hard_triplet") + cases("batch_hard_triplet_four_way"))
def test_published_value_and_gradient_are_reproduced(case: Case) -> None:
    assert_reproduced(modinv.BatchHardTripletLoss(**case.options), case, rtol=1e-13)


def by_hand(pairs: Any, **options: Any) -> float:
    """Identity 0 at 0, 1 (visible), 3 (infrared); identity 1 at 9 (visible), 8, 12 (infrared); margin 6."""
    features = torch.tensor([[0.0], [1.0], [3.0], [9.0], [8.0], [12.0]])
    labels, modalities = torch.tensor([0, 0, 0, 1, 1, 1]), torch.tensor([0, 0, 1, 0, 1, 1])
    loss = modinv.BatchHardTripletLoss(margin=6.0, pairs=pairs, **options)
    return float(loss(features, labels, modalities))


# positive - negative of the anchors 0, 1, 3, 9, 8, 12, or None where one of them lacks
ALL = [3 - 8, 2 - 7, 3 - 5, 3 - 6, 4 - 5, 4 - 9]
INTRA = [1 - 9, 1 - 8, None, None, 4 - 5, 4 - 9]
CROSS = [3 - 8, 2 - 7, 3 - 6, 3 - 6, 1 - 7, 3 - 11]


def hand_hinges(gaps: list[int | None]) -> list[int]:
    return [max(0, 6 + gap) for gap in gaps if gap is not None]


@pytest.mark.parametrize(("pairs", "gaps"), [("all", ALL), ("intra", INTRA), ("cross", CROSS)])
def test_value_by_hand(pairs: str, gaps: list[int | None]) -> None:
    expected = hand_hinges(gaps)
    assert by_hand(pairs) == pytest.approx(sum(expected) / len(expected))
    assert by_hand(pairs, reduction="sum") == pytest.approx(sum(expected))


def test_four_way_mean_is_over_pairs_of_modalities_and_not_over_anchors() -> None:
    visible, infrared = [0, 1, 3], [2, 4, 5]
    lists = [hand_hinges([gaps[i] for i in rows]) for rows in (visible, infrared) for gaps in (INTRA, CROSS)]
    assert [len(part) for part in lists] == [2, 3, 2, 3]
    assert by_hand("four_way") == pytest.approx(sum(sum(part) / len(part) for part in lists) / 4)
    assert by_hand("four_way", reduction="sum") == pytest.approx(sum(map(sum, lists)))


def test_row_is_not_a_positive_of_itself() -> None:
    """Published code takes the row itself, at distance 0, where an identity has one image: a hinge without a pull."""
    features, modalities = torch.tensor([[0.0], [1.0], [1.2]]), torch.tensor([0, 1, 1])
    assert modinv.BatchHardTripletLoss(margin=2.0)(features, torch.arange(3), modalities) == 0
    pair = modinv.BatchHardTripletLoss(margin=2.0)(features, torch.tensor([0, 0, 1]), modalities)
    assert float(pair) == pytest.approx(((2 + 1 - 1.2) + (2 + 1 - 0.2)) / 2)


@every_pairs
def test_loss_without_margin_grows_with_the_scale(pairs: Any) -> None:
    features, labels, modalities = make_batch()
    loss = modinv.BatchHardTripletLoss(margin=0.0, pairs=pairs)
    torch.testing.assert_close(loss(3 * features, labels, modalities), 3 * loss(features, labels, modalities))


def test_each_option_changes_the_value_and_is_shown() -> None:
    batch = make_batch()
    options: list[dict[str, Any]] = [{"pairs": pairs} for pairs in PAIRS]
    options += [{"margin": None}, {"margin": 1.0}, {"reduction": "sum"}]
    losses = [modinv.BatchHardTripletLoss(**option) for option in options]
    assert len({round(float(loss(*batch)), 9) for loss in losses}) == len(options)
    assert repr(losses[-1]) == "BatchHardTripletLoss(margin=0.3, pairs='all', reduction='sum')"


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"pairs": "both"}, "pairs must be one of 'all', 'intra', 'cross', 'four_way', got 'both'"),
        ({"reduction": "none"}, "reduction must be one of 'mean', 'sum', got 'none'"),
        ({"margin": -0.1}, r"margin must be a finite number in \[0, inf\], got -0.1"),
    ],
)
def test_impossible_option_is_refused(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        modinv.BatchHardTripletLoss(**options)


def test_only_cross_pairs_need_identities_that_meet() -> None:
    needs = {pairs: modinv.BatchHardTripletLoss(pairs=pairs).needs for pairs in PAIRS}  # type: ignore[arg-type]
    assert needs == {"all": None, "intra": None, "cross": "identities", "four_way": None}

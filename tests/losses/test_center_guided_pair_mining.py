"""Center-guided pair mining against a plain loop and against published code."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import softplus

import oracles
from batches import make_batch
from modinv import Batch, CenterGuidedPairMiningLoss

from .center_checks import assert_like_published, assert_like_the_loop, every_batch, mean, norm

SIX = make_batch((9, 7, 8, 8, 9, 6), dimension=12, identities=3)
SPARSE = make_batch((5, 4, 3, 4, 5, 3), dimension=12, identities=6)


def plain_loop(
    features: Tensor, labels: Tensor, modalities: Tensor, *, margin: float | None = 2.0, num_bases: int = 2
) -> Tensor:
    centers = oracles.centers(features, labels, modalities)
    hinges: tuple[list[Tensor], ...] = [], [], []
    for label, code in centers:
        base = code % num_bases
        for other in range(num_bases):
            if code < num_bases or other == base or not {(label, base), (label, other)} <= centers.keys():
                continue
            positive = norm(centers[label, other] - centers[label, code])
            negatives = (
                [norm(centers[label, base] - centers[label, code]).detach()],
                rivals(centers, label, code),
                rivals(centers, label, base),
            )
            for found, among in zip(hinges, negatives, strict=True):
                gaps = [positive - min(among)] if among else []
                found += [softplus(gap) if margin is None else (margin + gap).clamp(min=0) for gap in gaps]
    return mean(hinges[0]) + (mean(hinges[1]) + mean(hinges[2])) / 2


def rivals(centers: dict[tuple[int, int], Tensor], label: int, code: int) -> list[Tensor]:
    return [norm(center - centers[label, code]) for (y, m), center in centers.items() if y != label and m == code]


@every_batch
def test_value_is_that_of_the_plain_loop(batch: Batch) -> None:
    assert_like_the_loop(CenterGuidedPairMiningLoss(margin=2.0), plain_loop, batch)


@pytest.mark.parametrize("batch", [SIX, SPARSE], ids=["six", "sparse"])
@pytest.mark.parametrize("options", [{"margin": 2.0}, {"margin": None}, {"margin": 2.0, "num_bases": 3}], ids=str)
def test_value_with_six_modalities_is_that_of_the_plain_loop(batch: Batch, options: dict[str, Any]) -> None:
    def oracle(*batch: Tensor) -> Tensor:
        return plain_loop(*batch, **options)

    assert oracle(*batch) > 0
    assert_like_the_loop(CenterGuidedPairMiningLoss(num_modalities=6, **options), oracle, batch)


def test_value_is_that_of_the_published_code() -> None:
    loss = CenterGuidedPairMiningLoss()
    assert_like_published("center_guided_pair_mining", "margin 0.2", loss, 0, 1, 2, 3)


def test_twice_the_value_is_that_of_the_training_of_deen_with_two_expansions() -> None:
    loss = CenterGuidedPairMiningLoss(num_modalities=6)
    name = "center_guided_pair_mining_training"
    assert_like_published(name, "margin 0.2", lambda *batch: 2 * loss(*batch), 0, 1, 2, 3, 4, 5)


def test_without_expansions_nothing_is_compared() -> None:
    batch = make_batch()
    features = batch.features.requires_grad_()
    value = CenterGuidedPairMiningLoss()(features, *batch[1:])
    assert value == 0
    assert not torch.autograd.grad(value, features)[0].any()


def test_base_of_an_expansion_is_moved_by_its_rivals_alone() -> None:
    """The distance of an expansion to its own base is a bound, and nothing that may grow."""
    features = torch.tensor([[0.0], [5.0], [2.0]], requires_grad=True)  # visible, infrared, visible expanded
    value = CenterGuidedPairMiningLoss(margin=0.5)(features, torch.zeros(3).long(), torch.arange(3))
    torch.testing.assert_close(value, torch.tensor(0.5 + 3 - 2))
    (gradient,) = torch.autograd.grad(value, features)
    torch.testing.assert_close(gradient.flatten(), torch.tensor([0.0, 1.0, -1.0]))


def test_terms_make_the_total_with_half_of_the_rivals() -> None:
    # Identity 0 at 0, 5 and 2, identity 1 at 1, 9 and 6: visible, infrared, visible expanded.
    features = torch.tensor([[0.0], [5.0], [2.0], [1.0], [9.0], [6.0]])
    batch = features, torch.arange(6) // 3, torch.arange(6) % 3
    terms = CenterGuidedPairMiningLoss(margin=1.5).terms(*batch)
    torch.testing.assert_close(terms.pairing, torch.tensor(2.5 / 2))  # 1.5 + 3 - 2, and 1.5 + 3 - 5
    torch.testing.assert_close(terms.expanded_rivals, torch.tensor(0.5))  # 1.5 + 3 - 4, twice
    torch.testing.assert_close(terms.base_rivals, torch.tensor(3.5))  # 1.5 + 3 - 1, twice
    torch.testing.assert_close(terms.total, torch.tensor(1.25 + 0.25 + 1.75))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"num_bases": 1}, "num_bases must be at least 2, got 1"),
        ({"num_bases": 3, "num_modalities": 3}, "num_modalities must be at least 4, got 3"),
        ({"margin": -0.1}, "margin must be a finite number"),
    ],
)
def test_impossible_option_is_refused(options: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        CenterGuidedPairMiningLoss(**options)


def test_options_are_shown() -> None:
    expected = "CenterGuidedPairMiningLoss(margin=None, num_bases=2, num_modalities=4)"
    assert repr(CenterGuidedPairMiningLoss(margin=None)) == expected

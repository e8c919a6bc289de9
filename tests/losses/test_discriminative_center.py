"""The discriminative center loss: against a plain loop, by hand, against published code, and where that is NaN."""

import pytest
import torch
from torch import Tensor

import modinv
from batches import make_batch
from modinv import Batch
from published import Case, assert_reproduced, cases

from .plain_loop import assert_agrees, every_batch, mean


def plain_loop(batch: Batch) -> Tensor:
    features, labels = batch.features, batch.labels
    positives, negatives = [], []
    for label in labels.unique():
        center = features[labels == label].mean(0)
        positives += [
            (row - center).norm() if (row != center).any() else row.sum() * 0 for row in features[labels == label]
        ]
        rivals = [(row - center).norm() for row in features[labels != label]]
        if rivals:
            nearer = [rival for rival in rivals if rival < mean(rivals)]
            negatives.append(mean(nearer or rivals))
    return mean(positives) / mean(negatives) if negatives else torch.zeros(())


@every_batch
def test_value_and_gradient_are_those_of_the_plain_loop(batch: Batch) -> None:
    assert_agrees(modinv.DiscriminativeCenterLoss(), plain_loop, batch)


@pytest.mark.parametrize("case", cases("discriminative_center"))
def test_published_value_and_gradient_are_reproduced(case: Case) -> None:
    assert_reproduced(modinv.DiscriminativeCenterLoss(**case.options), case, rtol=1e-13)


def test_terms_by_hand() -> None:
    features = torch.tensor([[0.0], [2.0], [6.0], [10.0], [20.0]])  # centers at 1, 8 and 20
    labels, modalities = torch.tensor([0, 0, 1, 1, 2]), torch.tensor([0, 1, 0, 1, 1])
    terms = modinv.DiscriminativeCenterLoss().terms(features, labels, modalities)
    assert float(terms.positive) == pytest.approx((1 + 1 + 2 + 2 + 0) / 5)
    # From 1: 5, 9 of 5, 9, 19. From 8: 8, 6 of 8, 6, 12. From 20: 14, 10 of 20, 18, 14, 10.
    assert float(terms.negative) == pytest.approx((7 + 7 + 12) / 3)
    assert float(terms.total) == pytest.approx(6 / 5 / (26 / 3))


def test_rivals_at_equal_distances_all_count_where_the_published_code_is_nan() -> None:
    features = torch.tensor([[-3.0, 1.0, 0.0], [-3.0, -1.0, 0.0], [3.0, 0.0, 1.0], [3.0, 0.0, -1.0]])
    value = modinv.DiscriminativeCenterLoss()(features, torch.tensor([0, 0, 1, 1]), torch.arange(4) % 2)
    assert float(value) == pytest.approx(1 / 37**0.5)


def test_rivals_on_the_centers_give_a_large_value_and_a_pull_to_the_centers() -> None:
    features = torch.tensor([-1.0, 0.0, 1.0, -1.0, 0.0, 1.0])[:, None].requires_grad_()  # negative = 0
    labels, modalities = torch.arange(6) // 3, torch.arange(6) % 2
    value = modinv.DiscriminativeCenterLoss()(features, labels, modalities)
    (gradient,) = torch.autograd.grad(value, features)
    assert 100 < float(value.detach()) < 1000  # 2/3 over 4 sqrt(1.2e-7) of sqrt(2/3)
    assert gradient.flatten().sign().tolist() == [-1, 0, 1, -1, 0, 1]


@pytest.mark.parametrize("scale", [1e-3, 7.0, 1e4])
def test_scale_of_the_features_does_not_matter(scale: float) -> None:
    features, labels, modalities = make_batch()
    loss = modinv.DiscriminativeCenterLoss()
    torch.testing.assert_close(loss(scale * features, labels, modalities), loss(features, labels, modalities))


def test_value_falls_as_identities_move_apart() -> None:
    features, labels, modalities = make_batch()
    loss = modinv.DiscriminativeCenterLoss()
    values = [float(loss(features + far * labels[:, None], labels, modalities)) for far in (0.0, 0.5, 5.0)]
    assert values == sorted(values, reverse=True)
    assert values[2] < 0.2 * values[0]

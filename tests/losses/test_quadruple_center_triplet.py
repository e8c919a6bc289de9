"""The quadruple-center triplet loss against a plain loop and against published code."""

import pytest
import torch
from torch import Tensor

import oracles
from batches import make_batch
from modinv import Batch, QuadrupleCenterTripletLoss

from .center_checks import assert_like_published, assert_like_the_loop, every_batch, mean, norm


def plain_loop(features: Tensor, labels: Tensor, modalities: Tensor) -> Tensor:
    centers = oracles.centers(features, labels, modalities)
    identities = {label: features[labels == label].mean(0) for label in sorted(set(labels.tolist()))}
    pulls, pushes = [], []
    for row, label, modality in zip(features, labels.tolist(), modalities.tolist(), strict=True):
        partners = [norm(row - c) for (y, m), c in centers.items() if y == label and m != modality]
        pulls += [mean(partners)] if partners else []
        pushes += [(7.0 - norm(row - c)).clamp(min=0) for y, c in identities.items() if y != label]
    return (mean(pulls) + mean(pushes)) / 2


@every_batch
def test_value_is_that_of_the_plain_loop(batch: Batch) -> None:
    assert_like_the_loop(QuadrupleCenterTripletLoss(margin=7.0), plain_loop, batch)


def test_value_on_four_streams_of_two_modalities_is_that_of_the_published_code() -> None:
    assert_like_published("quadruple_center_triplet", "margin 0.7", QuadrupleCenterTripletLoss(), 0, 0, 1, 1)


def test_streams_may_be_modalities_of_their_own() -> None:
    features, labels, streams = make_batch((6, 6, 6, 6))
    loss = QuadrupleCenterTripletLoss(margin=6.0)
    four, two = loss.terms(features, labels, streams), loss.terms(features, labels, streams // 2)
    torch.testing.assert_close(four.push, two.push)  # of whole identities
    assert (four.pull - two.pull).abs() > 0.01 * two.pull


def test_total_is_half_of_pull_and_push() -> None:
    features = torch.tensor([[0.0], [2.0], [4.0], [9.0]])  # identity 0: visible center 1, infrared 4, whole 2
    batch = features, torch.tensor([0, 0, 0, 1]), torch.tensor([0, 0, 1, 0])
    terms = QuadrupleCenterTripletLoss(margin=8.0).terms(*batch)
    torch.testing.assert_close(terms.pull, torch.tensor((4 + 2 + 3) / 3))
    torch.testing.assert_close(terms.push, torch.tensor((0 + 1 + 3 + 1) / 4))
    torch.testing.assert_close(terms.total, (terms.pull + terms.push) / 2)


def test_margin_changes_the_value_and_is_checked() -> None:
    batch = make_batch()
    assert QuadrupleCenterTripletLoss(margin=8.0)(*batch) > QuadrupleCenterTripletLoss(margin=4.0)(*batch)
    with pytest.raises(ValueError, match="margin must be a finite number"):
        QuadrupleCenterTripletLoss(margin=float("nan"))
    assert repr(QuadrupleCenterTripletLoss()) == "QuadrupleCenterTripletLoss(margin=0.7)"

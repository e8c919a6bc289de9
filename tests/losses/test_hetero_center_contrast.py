"""Rows against centers of other modalities and identities: a plain loop, and published code."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

import oracles
from batches import make_batch
from modinv import Batch, HeteroCenterContrastLoss

from .center_checks import assert_like_published, assert_like_the_loop, every_batch, mean, norm


def plain_loop(
    rows: Tensor, labels: Tensor, modalities: Tensor, *, margin: float, distance: Callable[[Tensor, Tensor], Tensor]
) -> Tensor:
    centers = oracles.centers(rows, labels, modalities)
    pulls, pushes = [], []
    for row, label, modality in zip(rows, labels.tolist(), modalities.tolist(), strict=True):
        partners = [distance(row, c) for (y, m), c in centers.items() if y == label and m != modality]
        pulls += [mean(partners)] if partners else []
        pushes += [(margin - distance(row, c)).clamp(min=0) for (y, _), c in centers.items() if y != label]
    return mean(pulls) + mean(pushes)


def euclidean(row: Tensor, center: Tensor) -> Tensor:
    return norm(row - center)


@every_batch
def test_value_is_that_of_the_plain_loop(batch: Batch) -> None:
    def oracle(*batch: Tensor) -> Tensor:
        return plain_loop(*batch, margin=7.0, distance=euclidean)

    assert_like_the_loop(HeteroCenterContrastLoss(margin=7.0), oracle, batch)


def test_value_is_that_of_the_published_code() -> None:
    assert_like_published("hetero_center_contrast", "euc", HeteroCenterContrastLoss(), 0, 1)


def test_row_that_is_the_other_center_has_no_pull_and_a_push() -> None:
    rows = make_batch((4, 0)).features
    features = rows.repeat(2, 1).requires_grad_()
    terms = HeteroCenterContrastLoss(margin=60.0).terms(features, torch.arange(4).repeat(2), torch.arange(8) // 4)
    assert terms.pull == 0
    assert not torch.autograd.grad(terms.pull, features, retain_graph=True)[0].any()
    assert terms.push > 0


def test_pull_counts_rows_and_push_counts_pairs() -> None:
    features = torch.tensor([[0.0], [2.0], [4.0], [9.0]])  # identity 0: visible center 1, infrared 4
    batch = features, torch.tensor([0, 0, 0, 1]), torch.tensor([0, 0, 1, 0])
    terms = HeteroCenterContrastLoss(margin=6.0).terms(*batch)
    torch.testing.assert_close(terms.pull, torch.tensor((4 + 2 + 3) / 3))
    torch.testing.assert_close(terms.push, torch.tensor((0 + 0 + 1 + 0 + 1) / 5))  # of 0, 2 and 4 to 9; of 9 to 1 and 4


def test_margin_changes_the_value_and_is_checked() -> None:
    batch = make_batch()
    assert HeteroCenterContrastLoss(margin=8.0)(*batch) > HeteroCenterContrastLoss(margin=4.0)(*batch)
    with pytest.raises(ValueError, match="margin must be a finite number"):
        HeteroCenterContrastLoss(margin=-1.0)
    assert repr(HeteroCenterContrastLoss()) == "HeteroCenterContrastLoss(margin=0.6)"

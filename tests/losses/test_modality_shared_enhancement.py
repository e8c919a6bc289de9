"""The modality-shared enhancement loss: against a plain loop, by hand, and against published code."""

from typing import Any

import pytest
import torch
from torch import Tensor

import modinv
from batches import make_batch
from modinv import Batch
from published import Case, assert_reproduced, cases

from .plain_loop import assert_agrees, every_batch, mean

every_distance = pytest.mark.parametrize("distance", ["euclidean", "cosine"])


def plain_loop(batch: Batch, distance: str) -> Tensor:
    features, labels, modalities = batch.features, batch.labels.tolist(), batch.modalities.tolist()

    def between(i: int, j: int) -> Tensor:
        a, b = features[i], features[j]
        return (a - b).norm() if distance == "euclidean" else 1 - (a @ b) / a.norm() / b.norm()

    losses = []
    for i in range(len(labels)):
        same = [j for j in range(len(labels)) if labels[j] == labels[i] and j != i]
        cross = [between(i, j) for j in same if modalities[j] != modalities[i]]
        intra = [between(i, j) for j in same if modalities[j] == modalities[i]]
        if cross and intra:
            losses.append((mean(cross) - mean(intra)).square())
    return mean(losses)


@every_distance
@every_batch
def test_value_and_gradient_are_those_of_the_plain_loop(batch: Batch, distance: Any) -> None:
    loss = modinv.ModalitySharedEnhancementLoss(distance=distance)
    assert_agrees(loss, lambda batch: plain_loop(batch, distance), batch)


@pytest.mark.parametrize("case", cases("modality_shared_enhancement"))
def test_published_value_and_gradient_are_reproduced(case: Case) -> None:
    assert_reproduced(modinv.ModalitySharedEnhancementLoss(**case.options), case, rtol=1e-13)


def test_terms_by_hand() -> None:
    features = torch.tensor([[0.0], [1.0], [3.0], [6.0], [50.0]])
    labels, modalities = torch.tensor([0, 0, 0, 0, 1]), torch.tensor([0, 0, 1, 1, 1])
    terms = modinv.ModalitySharedEnhancementLoss().terms(features, labels, modalities)
    cross, intra = [4.5, 3.5, 2.5, 5.5], [1.0, 1.0, 3.0, 3.0]  # of the first four rows; the last has no partner
    assert float(terms.cross) == pytest.approx(sum(cross) / 4)
    assert float(terms.intra) == pytest.approx(sum(intra) / 4)
    assert float(terms.total) == pytest.approx(sum((a - b) ** 2 for a, b in zip(cross, intra, strict=True)) / 4)


def test_row_alone_in_its_cell_is_a_partner_but_no_anchor() -> None:
    features = torch.tensor([[0.0], [1.0], [3.0]])
    labels, modalities = torch.tensor([0, 0, 0]), torch.tensor([0, 0, 1])
    value = modinv.ModalitySharedEnhancementLoss()(features, labels, modalities)
    assert float(value) == pytest.approx(((3 - 1) ** 2 + (2 - 1) ** 2) / 2)


def test_value_grows_with_the_square_of_the_scale_or_not_at_all() -> None:
    features, labels, modalities = make_batch()
    values = {
        distance: [
            float(modinv.ModalitySharedEnhancementLoss(distance=distance)(scale * features, labels, modalities))
            for scale in (1, 3)
        ]
        for distance in ("euclidean", "cosine")
    }
    assert values["euclidean"][1] == pytest.approx(9 * values["euclidean"][0])
    assert values["cosine"][1] == pytest.approx(values["cosine"][0])


def test_row_of_zeros_has_no_direction_and_no_gradient() -> None:
    features, labels, modalities = make_batch()

    def moved(features: Tensor) -> list[bool]:
        features = features.clone().requires_grad_()
        value = modinv.ModalitySharedEnhancementLoss(distance="cosine")(features, labels, modalities)
        return (torch.autograd.grad(value, features)[0].abs().amax(1) > 1e-6).tolist()

    rows = moved(features)
    place = rows.index(True)
    features[place] = 0
    rows[place] = False
    assert moved(features) == rows


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_cosine_is_the_same_where_float32_squares_leave_their_range(scale: float) -> None:
    features, labels, modalities = make_batch(dtype=torch.float32)
    loss = modinv.ModalitySharedEnhancementLoss(distance="cosine")
    torch.testing.assert_close(loss(scale * features, labels, modalities), loss(features, labels, modalities))


def test_distance_changes_the_value_and_is_shown() -> None:
    batch = make_batch()
    cosine = modinv.ModalitySharedEnhancementLoss(distance="cosine")
    assert cosine(*batch) != modinv.ModalitySharedEnhancementLoss()(*batch)
    assert repr(cosine) == "ModalitySharedEnhancementLoss(distance='cosine')"


def test_unknown_distance_is_refused() -> None:
    with pytest.raises(ValueError, match="distance must be one of 'euclidean', 'cosine', got 'l1'"):
        modinv.ModalitySharedEnhancementLoss(distance="l1")  # type: ignore[arg-type]

"""The cross-modality InfoNCE loss against a plain loop, by its laws and against published code."""

from typing import Any

import pytest
import torch
from torch import Tensor

import oracles
from batches import make_batch
from modinv import Batch, InfoNCELoss
from published import Case, assert_reproduced, cases

from .center_checks import assert_like_the_loop, every_batch, mean


def plain_loop(batch: Batch, *, level: str, temperature: float) -> Tensor:
    if level == "center":
        centers = oracles.centers(*batch)
        rows = [(center, *cell) for cell, center in centers.items()]
    else:
        rows = list(zip(batch.features, batch.labels.tolist(), batch.modalities.tolist(), strict=True))
    losses = []
    for anchor, label, modality in rows:
        candidates = [(row, other) for row, other, m in rows if m != modality]
        if len({other == label for _, other in candidates}) == 2:
            scores = torch.stack([anchor @ row / anchor.norm() / row.norm() / temperature for row, _ in candidates])
            logarithms = scores.log_softmax(0)
            losses.append(-mean([logarithms[j] for j, (_, other) in enumerate(candidates) if other == label]))
    return mean(losses)


@pytest.mark.parametrize("level", ["center", "row"])
@pytest.mark.parametrize("temperature", [1.0, 0.07])
@every_batch
def test_value_and_gradient_are_those_of_the_plain_loop(batch: Batch, level: Any, temperature: float) -> None:
    loss = InfoNCELoss(level=level, temperature=temperature)
    assert_like_the_loop(loss, lambda *rows: plain_loop(Batch(*rows), level=level, temperature=temperature), batch)


@pytest.mark.parametrize("case", cases("info_nce"))
def test_published_sum_of_both_directions_is_twice_the_mean(case: Case) -> None:
    loss = InfoNCELoss(**case.options)
    assert_reproduced(lambda *batch: 2 * loss(*batch), case, rtol=1e-14)


@pytest.mark.parametrize("level", ["center", "row"])
def test_separated_identities_cost_nothing(level: Any) -> None:
    axes = torch.eye(4).repeat(2, 1)
    loss = InfoNCELoss(level=level, temperature=0.01)
    assert loss(axes, torch.arange(4).repeat(2), torch.arange(8) // 4) < 1e-12


def test_length_of_a_row_changes_nothing_between_rows() -> None:
    features, labels, modalities = make_batch()
    factors = torch.linspace(1, 3, len(labels), dtype=torch.float64)[:, None]
    loss = InfoNCELoss(level="row")
    torch.testing.assert_close(loss(features * factors, labels, modalities), loss(features, labels, modalities))


def test_number_of_images_of_a_cell_changes_nothing_between_centers() -> None:
    features, labels, modalities = make_batch()
    cell = (labels == labels[0]) & (modalities == modalities[0])
    more = Batch(*(torch.cat([part, part[cell], part[cell]]) for part in (features, labels, modalities)))
    torch.testing.assert_close(InfoNCELoss()(*more), InfoNCELoss()(features, labels, modalities))


@pytest.mark.parametrize("option", [{"level": "row"}, {"temperature": 0.5}], ids=str)
def test_each_option_changes_the_value_and_is_shown(option: dict[str, Any]) -> None:
    batch, loss = make_batch(), InfoNCELoss(**option)
    assert not torch.isclose(loss(*batch), InfoNCELoss()(*batch))
    name, value = next(iter(option.items()))
    assert f"{name}={value!r}" in repr(loss)


@pytest.mark.parametrize(
    ("option", "says"),
    [
        ({"level": "modality"}, "level must be one of 'center', 'row', got 'modality'"),
        ({"temperature": 0.0}, "temperature must be a finite number"),
    ],
)
def test_impossible_option_is_refused(option: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        InfoNCELoss(**option)

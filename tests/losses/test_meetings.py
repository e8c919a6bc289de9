"""The warning for a training in which the modalities never meet."""

import copy
import warnings
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

import modinv
import needs
from batches import make_batch
from modinv import Batch

Change = Callable[[Batch], Batch]
ONE_MODALITY: Change = lambda batch: batch._replace(modalities=0 * batch.modalities)  # noqa: E731
STRANGERS: Change = lambda batch: batch._replace(labels=2 * batch.labels + batch.modalities)  # noqa: E731
LEVEL: Callable[[str], modinv.losses.Loss] = lambda level: modinv.GaussianDistributionConsistencyLoss(level=level)  # type: ignore[arg-type]  # noqa: E731


def train(loss: Callable[..., Tensor], batch: Batch, steps: int) -> list[str]:
    """Call the loss that often and return what it said."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        for _ in range(steps):
            loss(*batch)
    return [str(warning.message) for warning in said]


@pytest.mark.parametrize(
    ("loss", "change", "lack"),
    [
        (modinv.HeteroCenterTripletLoss(), ONE_MODALITY, "an identity in two modalities"),
        (modinv.HeteroCenterTripletLoss(), STRANGERS, "an identity in two modalities"),
        (LEVEL("modality"), ONE_MODALITY, "two modalities"),
        (LEVEL("identity"), STRANGERS, "an identity in two modalities"),
        (LEVEL("within"), STRANGERS, "an identity in two modalities"),
        (modinv.CenterGuidedPairMiningLoss(), STRANGERS, "an identity in two modalities"),
    ],
)
def test_loss_that_compares_nothing_for_100_batches_warns_once_and_names_the_sampler(
    loss: modinv.losses.Loss, change: Change, lack: str
) -> None:
    loss = copy.deepcopy(loss)
    batch = change(make_batch())
    assert not train(loss, batch, 99)
    (said,) = train(loss, batch, 102)
    assert said.startswith(f"{type(loss).__name__} has seen 100 batches in training and none with {lack}")
    assert "let the sampler draw" in said
    assert "\n" not in said


@pytest.mark.parametrize(
    ("loss", "change"),
    [
        (modinv.IntraModalityLoss(), ONE_MODALITY),
        (modinv.WeightedRegularizedTripletLoss(), ONE_MODALITY),
        (LEVEL("modality"), STRANGERS),
    ],
)
def test_loss_that_compares_something_is_silent(loss: modinv.losses.Loss, change: Change) -> None:
    assert not train(copy.deepcopy(loss), change(make_batch()), 101)


def test_one_good_batch_is_enough() -> None:
    loss, batch = modinv.HeteroCenterTripletLoss(), make_batch()
    assert not train(loss, ONE_MODALITY(batch), 99)
    loss(*batch)
    assert not train(loss, ONE_MODALITY(batch), 101)


def test_evaluation_is_not_counted() -> None:
    assert not train(modinv.HeteroCenterTripletLoss().eval(), ONE_MODALITY(make_batch()), 101)


def test_loss_inside_a_sum_warns_under_its_own_name() -> None:
    losses = modinv.WeightedLosses({"center": (1.0, modinv.HeteroCenterTripletLoss())})
    (said,) = train(losses, ONE_MODALITY(make_batch()), 101)
    assert said.startswith("HeteroCenterTripletLoss")


def test_memory_that_holds_the_other_modality_is_enough() -> None:
    memory, batch = modinv.CrossBatchMemory(LEVEL("modality"), 8), make_batch((4, 4))
    halves = [Batch(*(part[batch.modalities == number] for part in batch)) for number in range(2)]
    assert not any(train(memory, halves[step % 2], 1) for step in range(101))


@pytest.mark.slow
@needs.compiled_loss
def test_nobody_looks_inside_a_graph() -> None:
    loss, (features, labels, modalities) = modinv.HeteroCenterTripletLoss(), make_batch()
    compiled = torch.compile(loss, fullgraph=True, backend="eager")
    assert not train(compiled, Batch(features, labels, 0 * modalities), 101)


def test_counter_is_no_part_of_the_state() -> None:
    assert not modinv.HeteroCenterTripletLoss().state_dict()

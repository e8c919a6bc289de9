"""No public callable lets a malformed argument through, or answers it in torch's words.

A loss joins by standing in ``losses/catalogue.py``; another callable by a line in ``DOORS``.
"""

import functools
import re
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from torch import nn

import modinv
from bad_inputs import NO_FEATURES, NO_MODALITIES, NO_NUMBERS, Bad
from batches import make_batch
from losses.catalogue import EVERY_LOSS, LOSSES
from modinv import Batch, diagnostics, distributed
from modinv.divergences import divergence_between, moments_of

FEATURES, LABELS, MODALITIES = make_batch((4, 4))
BATCH = (NO_FEATURES, NO_NUMBERS, NO_MODALITIES)
SAMPLES = {name: bad for name, bad in NO_FEATURES.items() if name not in ("an array", "a miner's tuple")}  # are chunks
INPUTS = {name: bad for name, bad in NO_FEATURES.items() if name != "without columns"}  # what a branch takes is its own
CAMERAS = {name: bad for name, bad in NO_NUMBERS.items() if not name.startswith(("too", "elsewhere"))}

# What cannot be made of maps, or is refused for a vector only.
NO_MAPS = {name: bad for name, bad in NO_FEATURES.items() if name != "compressed"}
NO_INPUTS_OF_ANY_SHAPE = {
    name: bad for name, bad in NO_FEATURES.items() if name not in ("a scalar", "a vector", "without columns")
}
MAPS = FEATURES.view(8, 6, 2, 2)
VECTOR_MODULES = {
    "neck": modinv.BNNeck(24).double(),
    "head": modinv.ModalityInvariantHead(24, 5).double(),
    "discriminator": modinv.ModalityDiscriminator(24).double(),
}
MAP_MODULES = {
    "pooling": modinv.GeM(),
    "non-local block": modinv.NonLocal(6).double(),
    "instance norm gate": modinv.InstanceNormGate(6).double(),
}


class Door(NamedTuple):
    """A callable, what it takes, and what each argument must not be."""

    call: Callable[..., Any]
    good: tuple[Any, ...]
    bad: tuple[Mapping[str, Bad], ...]


def gather(*batch: Any) -> Batch:
    return distributed.gather_batch(Batch(*batch))


def given(features: Any, labels: Any, modalities: Any) -> Any:
    loss = modinv.GivenModalities(modinv.HeteroCenterTripletLoss())
    loss.give(modalities)
    return loss(features, labels)


def stream(features: Any, labels: Any) -> Batch:
    return modinv.batch_from_streams((features, labels))


def on_batches(losses: Mapping[str, Callable[..., Any]]) -> dict[str, Door]:
    return {
        name: Door(loss, (FEATURES, LABELS, MODALITIES), what_a_batch_is_not(loss)) for name, loss in losses.items()
    }


def what_a_batch_is_not(loss: Callable[..., Any]) -> tuple[Mapping[str, Bad], ...]:
    if getattr(loss, "reads_labels", True):
        return BATCH
    return NO_FEATURES, {name: bad for name, bad in NO_NUMBERS.items() if name != "None"}, NO_MODALITIES


def on_rows(calls: Mapping[str, Callable[..., Any]], features: Mapping[str, Bad] = NO_FEATURES) -> dict[str, Door]:
    return {name: Door(call, (FEATURES, MODALITIES), (features, NO_MODALITIES)) for name, call in calls.items()}


DOORS = {
    **on_batches(LOSSES),
    **on_batches(
        {
            "a memory": modinv.CrossBatchMemory(modinv.HeteroCenterTripletLoss(), 8),
            "a global batch": distributed.GlobalBatch(modinv.HeteroCenterTripletLoss()),
            "gather_batch": gather,
            "distance_histograms": diagnostics.distance_histograms,
            "given modalities": given,
            "identity_distances": diagnostics.identity_distances,
            "alignment": diagnostics.alignment,
            "explain_batch": functools.partial(diagnostics.explain_batch, modinv.HeteroCenterTripletLoss()),
            "streaming diagnostics": diagnostics.StreamingDiagnostics(24).update,
        }
    ),
    **on_rows(
        {
            "modality_gap": diagnostics.modality_gap,
            "modality_accuracy": diagnostics.modality_accuracy,
            "effective_rank": diagnostics.effective_rank,
        }
    ),
    "uniformity": Door(diagnostics.uniformity, (FEATURES,), (NO_FEATURES,)),
    **on_rows(
        {
            "enhancer": modinv.IntraModalityEnhancer(24).double(),
            "batch normalisation": modinv.PerModalityBatchNorm(24).double(),
        }
    ),
    **on_rows({"a branch per modality": modinv.PerModality(lambda: nn.Linear(24, 2).double())}, INPUTS),
    **{name: Door(module, (FEATURES,), (NO_FEATURES,)) for name, module in VECTOR_MODULES.items()},
    **{name: Door(module, (MAPS,), (NO_MAPS,)) for name, module in MAP_MODULES.items()},
    "gradient reversal": Door(modinv.GradientReversal(), (FEATURES,), (NO_INPUTS_OF_ANY_SHAPE,)),
    "batch_from_streams": Door(stream, (FEATURES, LABELS), (NO_FEATURES, NO_NUMBERS)),
    "modalities_from_cameras": Door(modinv.modalities_from_cameras, (MODALITIES + 1,), (CAMERAS,)),
    "moments_of": Door(moments_of, (FEATURES,), (SAMPLES,)),
    "mutual_learning": Door(modinv.losses.mutual_learning, (FEATURES, FEATURES + 1), (NO_FEATURES, NO_FEATURES)),
    "divergence_between": Door(divergence_between, (FEATURES, FEATURES + 1), (NO_FEATURES, NO_FEATURES)),
}


def complaint(door: Door, position: int, bad: Bad) -> str | None:
    """What is wrong with the answer to one bad argument; None where it is one sentence of the library."""
    arguments = list(door.good)
    arguments[position] = bad.make(arguments[position])
    try:
        door.call(*arguments)
    except (TypeError, ValueError) as error:
        raised = Path(traceback.extract_tb(error.__traceback__)[-1].filename)
        # "object" is Python's own word, in "'NoneType' object is not iterable".
        ours = "modinv" in raised.parts and not re.search("\n| object ", str(error)) and re.search(bad.says, str(error))
        return None if ours else f"{raised.name}: {error!r}"
    except (RuntimeError, AttributeError, NotImplementedError, IndexError) as error:
        return repr(error)[:200]
    return "accepted"


@pytest.mark.parametrize("name", DOORS)
def test_malformed_argument_is_refused_in_one_sentence(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # As in two processes, of which this one has the malformed batch: alone, gathering gives back what it got.
    monkeypatch.setattr(distributed, "_number_of_ranks", lambda _: 2)
    monkeypatch.setattr(distributed, "_exchange", lambda *_: [])
    door = DOORS[name]
    complaints = {
        (position, kind): said
        for position, kinds in enumerate(door.bad)
        for kind, bad in kinds.items()
        if (said := complaint(door, position, bad)) is not None
    }
    assert not complaints


@pytest.mark.parametrize("name", [name for name in DOORS if name not in ("gather_batch", "a global batch")])
def test_good_arguments_pass(name: str) -> None:
    DOORS[name].call(*DOORS[name].good)


@pytest.mark.parametrize("loss", EVERY_LOSS)
def test_batch_without_values_gives_a_loss_without_one(loss: nn.Module) -> None:
    features, labels, modalities = (part.to("meta") for part in (FEATURES, LABELS, MODALITIES))
    value = loss(features.requires_grad_(), labels, modalities)
    (gradient,) = torch.autograd.grad(value, features)
    assert value.is_meta
    assert gradient.shape == features.shape


def test_matrix_is_large_enough() -> None:
    assert sum(len(kinds) for door in DOORS.values() for kinds in door.bad) > 1000


@pytest.mark.parametrize("kind", [torch.uint8, torch.int8, torch.int16, torch.int32])
def test_narrow_integers_are_numbers(kind: torch.dtype) -> None:
    loss = modinv.HeteroCenterTripletLoss()
    assert torch.equal(
        loss(FEATURES, LABELS.abs().to(kind), MODALITIES.to(kind)), loss(FEATURES, LABELS.abs(), MODALITIES)
    )

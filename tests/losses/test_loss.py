"""Labels may be None for losses around losses too, and terms go to a logger by name."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from typing_extensions import assert_type

import modinv
import needs
from batches import make_batch
from modinv.distributed import GlobalBatch
from modinv.losses import as_dict

GAUSSIAN, CENTER = modinv.GaussianDistributionConsistencyLoss(), modinv.HeteroCenterTripletLoss()


def spread(features: Tensor, _labels: Tensor, _modalities: Tensor) -> Tensor:
    return features.std()


AROUND: dict[str, Callable[[Any], Any]] = {
    "a sum": lambda loss: modinv.WeightedLosses({"inner": (2.0, loss)}),
    "a sum in a sum": lambda loss: modinv.WeightedLosses(
        {"outer": (1.0, modinv.WeightedLosses({"inner": (2.0, loss)}))}
    ),
    "a memory": lambda loss: modinv.CrossBatchMemory(loss, 40),
    "all ranks": GlobalBatch,
    "all ranks in a sum": lambda loss: modinv.WeightedLosses({"inner": (2.0, GlobalBatch(loss))}),
}


@pytest.mark.parametrize("around", AROUND.values(), ids=AROUND)
def test_loss_around_one_that_reads_no_labels_takes_none(around: Callable[[Any], Any]) -> None:
    with_labels, without = around(GAUSSIAN), around(GAUSSIAN)
    for seed in (1, 2):  # a memory has rows at the second step
        features, labels, modalities = make_batch(seed=seed)
        value = with_labels(features, labels, modalities)
        assert value > 0
        assert without(features, None, modalities) == value
        terms = without.eval().terms(features, None, modalities)
        assert terms == with_labels.eval().terms(features, labels, modalities)


@pytest.mark.parametrize("around", AROUND.values(), ids=AROUND)
def test_loss_around_one_that_reads_labels_asks_for_them(around: Callable[[Any], Any]) -> None:
    features, _, modalities = make_batch()
    with pytest.raises(TypeError, match="labels must be an integer tensor"):
        around(CENTER)(features, None, modalities)


def test_one_loss_that_reads_labels_is_enough_for_a_sum_to_ask() -> None:
    features, _, modalities = make_batch()
    for other in (CENTER, spread):
        losses = modinv.WeightedLosses({"gaussian": (1.0, GAUSSIAN), "other": (1.0, other)})
        with pytest.raises(TypeError, match=r"labels must be .* got None: WeightedLosses reads them"):
            losses(features, None, modalities)


def test_loss_from_elsewhere_may_say_that_it_reads_no_labels() -> None:
    features, _, modalities = make_batch()
    module = modinv.losses.Loss()
    module.reads_labels = False
    module.forward = spread  # type: ignore[method-assign, assignment]
    losses = modinv.WeightedLosses({"gaussian": (1.0, GAUSSIAN), "spread": (1.0, GlobalBatch(module))})
    torch.testing.assert_close(
        losses(features, None, modalities), GAUSSIAN(features, None, modalities) + features.std()
    )


@pytest.mark.slow
@needs.compiled_loss
def test_compiled_loss_takes_none_for_labels() -> None:
    features, labels, modalities = make_batch()
    torch.compiler.reset()
    compiled = torch.compile(GAUSSIAN, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(features, None, modalities), GAUSSIAN(features, labels, modalities))


def test_terms_as_a_dictionary_are_detached_and_bear_the_prefix() -> None:
    features, labels, modalities = make_batch()
    losses = modinv.WeightedLosses({"gaussian": (0.5, GAUSSIAN), "center": (1.0, CENTER)})
    terms = losses.terms(features.requires_grad_(), labels, modalities)
    logged = as_dict(terms, prefix="train/")
    assert list(logged) == ["train/total", "train/gaussian", "train/center"]
    assert [float(value) for value in logged.values()] == [float(term.detach()) for term in terms]
    assert not any(value.requires_grad for value in logged.values())
    assert list(as_dict(terms)) == ["total", "gaussian", "center"]


@pytest.mark.parametrize("terms", [torch.ones(()), None, {"total": torch.ones(())}])
def test_what_is_no_terms_is_refused(terms: object) -> None:
    with pytest.raises(TypeError, match=r"terms must be what loss.terms\(features, labels, modalities\) returns, got"):
        as_dict(terms)


def test_terms_have_the_type_of_their_loss() -> None:
    terms = modinv.HeteroCenterTripletLoss().terms(*make_batch())
    assert_type(terms, modinv.losses.HeteroCenterTripletTerms)  # for mypy and for an editor that completes names
    assert isinstance(terms, modinv.losses.HeteroCenterTripletTerms)
    assert_type(modinv.WeightedLosses({"center": (1.0, CENTER)}).terms(*make_batch()), Any)  # its names are known later

"""The two adapters between losses of two arguments and of three, with plain functions for other libraries."""

import copy
import pickle
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import modinv
import needs
from batches import make_batch

HETERO_CENTER = modinv.HeteroCenterTripletLoss(margin=2.0)


class Prototypes(nn.Module):
    """A loss from elsewhere with parameters, which knows labels only."""

    def __init__(self) -> None:
        super().__init__()
        self.prototypes = nn.Parameter(torch.randn(4, 24, generator=torch.Generator().manual_seed(0)).double())

    def forward(self, features: Tensor, labels: Tensor) -> Tensor:
        return functional.cross_entropy(features @ self.prototypes.T, labels % 4)


def mean_of_mined(features: Tensor, labels: Tensor, mined: tuple[Tensor, ...]) -> Tensor:
    return (features[mined[0]] - features[mined[1]]).square().mean()


def neighbours(features: Tensor, labels: Tensor) -> tuple[Tensor, ...]:
    return torch.where((labels[:, None] == labels) & ~torch.eye(len(labels), dtype=torch.bool))


def test_loss_of_labels_in_a_sum_has_the_value_and_the_gradients_that_it_has_alone() -> None:
    batch, foreign = make_batch(), Prototypes()
    losses = modinv.WeightedLosses({"foreign": (3.0, modinv.LabelLoss(foreign)), "center": (1.0, HETERO_CENTER)})
    features = batch.features.requires_grad_()
    wanted = (features, foreign.prototypes)
    together, alone = losses(*batch), 3 * foreign(features, batch.labels) + HETERO_CENTER(*batch)
    torch.testing.assert_close(together, alone)
    torch.testing.assert_close(*(torch.autograd.grad(value, wanted) for value in (together, alone)))


def test_parameters_of_a_loss_of_labels_are_found() -> None:
    losses = modinv.WeightedLosses({"foreign": (1.0, modinv.LabelLoss(Prototypes()))})
    assert [name for name, _ in losses.named_parameters()] == ["losses.foreign.loss.prototypes"]


def test_loss_of_labels_gets_what_its_miner_finds() -> None:
    batch = make_batch()
    loss = modinv.LabelLoss(mean_of_mined, neighbours)
    expected = mean_of_mined(batch.features, batch.labels, neighbours(batch.features, batch.labels))
    assert torch.equal(loss(*batch), expected)


def test_loss_of_labels_does_not_read_modalities() -> None:
    features, labels, modalities = make_batch()
    loss = modinv.LabelLoss(Prototypes())
    assert torch.equal(loss(features, labels, modalities), loss(features, labels, 0 * modalities))


def test_loss_of_labels_sees_the_rows_of_a_memory() -> None:
    first, second = make_batch(seed=1), make_batch(seed=2)
    memory = modinv.CrossBatchMemory(modinv.WeightedLosses({"foreign": (1.0, modinv.LabelLoss(Prototypes()))}), 64)
    memory(*first)
    both = [torch.cat(pair) for pair in zip(second, first, strict=True)]
    torch.testing.assert_close(memory(*second), Prototypes()(*both[:2]))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((HETERO_CENTER,), "HeteroCenterTripletLoss reads modalities: take it as it is, without LabelLoss"),
        ((3.0,), "loss must be a module or a function, got 3.0"),
        ((Prototypes,), "loss must be a module or a function, got the class Prototypes"),
        ((mean_of_mined, "hard"), "miner must be a module or a function, got 'hard'"),
    ],
)
def test_what_is_no_loss_of_labels_is_refused(arguments: tuple[Any, ...], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        modinv.LabelLoss(*arguments)


def takes_a_miner(features: Tensor, labels: Tensor, indices_tuple: object = None) -> Tensor:
    raise AssertionError("called with modalities as a miner's tuple")


class TakesAMiner(nn.Module):
    def forward(self, embeddings: Tensor, labels: Tensor, indices_tuple: object = None) -> Tensor:
        return takes_a_miner(embeddings, labels, indices_tuple)


@pytest.mark.parametrize("loss", [takes_a_miner, TakesAMiner()])
def test_sum_says_which_adapter_a_loss_with_a_miner_needs(loss: Any) -> None:
    with pytest.raises(TypeError, match=r"'theirs' takes a miner's tuple .*: wrap it in modinv\.LabelLoss"):
        modinv.WeightedLosses({"theirs": (1.0, loss)})


def test_given_modalities_make_the_value_and_the_gradient_of_the_loss() -> None:
    batch = make_batch()
    features = batch.features.requires_grad_()
    loss = modinv.GivenModalities(HETERO_CENTER)
    loss.give(batch.modalities)
    found, expected = loss(features, batch.labels), HETERO_CENTER(*batch)
    assert torch.equal(found, expected)
    assert torch.equal(*(torch.autograd.grad(value, features)[0] for value in (found, expected)))


def test_row_order_does_not_matter_where_the_modalities_are_given_in_that_order() -> None:
    features, labels, modalities = make_batch()
    order, loss = torch.randperm(len(labels)), modinv.GivenModalities(HETERO_CENTER)
    loss.give(modalities)
    value = loss(features, labels)
    loss.give(modalities[order])
    torch.testing.assert_close(loss(features[order], labels[order]), value)


def test_modalities_are_used_up_by_a_call_so_that_no_batch_meets_those_of_another() -> None:
    features, labels, modalities = make_batch()
    loss = modinv.GivenModalities(HETERO_CENTER)
    with pytest.raises(RuntimeError, match=r"needs the modalities of each batch .*: call \.give\(modalities\) first"):
        loss(features, labels)
    loss.give(modalities)
    loss(features, labels)
    with pytest.raises(RuntimeError, match="got none since the last call"):
        loss(features, labels)


def test_modalities_of_another_batch_size_are_refused() -> None:
    features, labels, modalities = make_batch()
    loss = modinv.GivenModalities(HETERO_CENTER)
    loss.give(modalities[1:])
    with pytest.raises(ValueError, match=r"modalities must have shape \(16,\)"):
        loss(features, labels)


def test_tuple_of_a_miner_is_not_read_and_rows_of_reference_are_refused() -> None:
    features, labels, modalities = make_batch()
    loss = modinv.GivenModalities(HETERO_CENTER)
    loss.give(modalities)
    mined = (torch.tensor([0]), torch.tensor([1]), torch.tensor([2]))
    assert torch.equal(loss(features, labels, mined), HETERO_CENTER(features, labels, modalities))
    for reference in ({"ref_emb": features}, {"ref_labels": labels}):
        with pytest.raises(ValueError, match="takes no rows of reference"):
            loss(features, labels, **reference)


def test_labels_and_modalities_follow_the_features_to_their_device() -> None:
    features, labels, modalities = make_batch()
    loss = modinv.GivenModalities(HETERO_CENTER)
    loss.give(modalities)
    assert loss(features.to("meta"), labels).is_meta


@pytest.mark.parametrize(
    "around",
    [
        lambda loss: modinv.distributed.GlobalBatch(loss),
        lambda loss: modinv.WeightedLosses({"center": (1.0, loss)}),
        lambda loss: lambda features, labels, modalities: loss(features, labels, modalities),
    ],
)
def test_any_loss_of_modalities_can_be_given_them(around: Any) -> None:
    features, labels, modalities = make_batch()
    loss = modinv.GivenModalities(around(HETERO_CENTER))
    loss.give(modalities)
    torch.testing.assert_close(loss(features, labels), HETERO_CENTER(features, labels, modalities))


@pytest.mark.parametrize("wrong", [None, 3.0, modinv.HeteroCenterTripletLoss])
def test_what_is_no_loss_cannot_be_given_modalities(wrong: Any) -> None:
    with pytest.raises(TypeError, match="loss must be a module or a function, got"):
        modinv.GivenModalities(wrong)


@pytest.mark.parametrize("adapter", [modinv.LabelLoss(Prototypes(), None), modinv.GivenModalities(HETERO_CENTER)])
def test_adapter_can_be_copied_and_pickled(adapter: nn.Module) -> None:
    for other in (copy.deepcopy(adapter), pickle.loads(pickle.dumps(adapter))):
        assert repr(other) == repr(adapter)


@pytest.mark.slow
@needs.compiled_loss
def test_given_modalities_compile_without_a_break_and_are_used_up_too() -> None:
    features, labels, modalities = make_batch()
    loss = modinv.GivenModalities(HETERO_CENTER)
    torch.compiler.reset()
    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    for given in (modalities, modalities.flip(0)):
        loss.give(given)
        torch.testing.assert_close(compiled(features, labels), HETERO_CENTER(features, labels, given))
    with pytest.raises(RuntimeError, match=r"call \.give"):
        loss(features, labels)

"""What every loss promises, whatever it computes."""

import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import modinv
import needs
from batches import degenerate_batches, make_batch
from modinv import Batch
from modinv.statistics import Statistics
from quick import combined

from .catalogue import ALGEBRA, ANGULAR, EVERY_LOSS, GAUSSIANS, LOSSES, PARTLY_CONSTANT, SLOW

every_loss = pytest.mark.parametrize("loss", EVERY_LOSS)
every_loss_of_differences = pytest.mark.parametrize("loss", [given for given in EVERY_LOSS if given.id not in ANGULAR])
RAGGED: dict[str, dict[str, Any]] = {
    "more rows than features": {"counts": (8, 9), "dimension": 5, "identities": 2},
    "fewer": {"counts": (5, 6), "dimension": 12, "identities": 2},
    "three modalities": {"counts": (4, 6, 5), "dimension": 14, "identities": 2},
}
algebra = pytest.mark.parametrize("loss", [LOSSES[name] for name in ALGEBRA], ids=ALGEBRA)

# Here the features, or the right gradient, do not fit float16: the rounded rows are given as float32.
BEYOND_FLOAT16 = {(name, torch.float16) for name in ("large scale", "tiny scale")}


def value_and_gradient(loss: Callable[..., Tensor], batch: Batch) -> tuple[Tensor, Tensor]:
    features = batch.features.detach().clone().requires_grad_()
    value = loss(features, batch.labels, batch.modalities)
    (gradient,) = torch.autograd.grad(value, features)
    return value.detach(), gradient


@combined(SLOW, loss=LOSSES, shape=RAGGED)
def test_loss_ignores_row_order(loss: nn.Module, shape: dict[str, Any]) -> None:
    batch = make_batch(**shape)
    order = torch.randperm(len(batch.labels), generator=torch.Generator().manual_seed(1))
    value, gradient = value_and_gradient(loss, batch)
    shuffled_value, shuffled_gradient = value_and_gradient(loss, Batch(*(part[order] for part in batch)))
    assert value > 0
    torch.testing.assert_close(shuffled_value, value, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(shuffled_gradient, gradient[order], rtol=1e-10, atol=1e-10)


@every_loss
def test_loss_ignores_the_names_of_identities(loss: nn.Module) -> None:
    features, labels, modalities = make_batch()
    renamed = loss(features, -1000 * labels + 7, modalities)
    torch.testing.assert_close(renamed, loss(features, labels, modalities), rtol=1e-12, atol=0)


@pytest.mark.parametrize("name", [name for name in LOSSES if not name.startswith("kl")])
def test_loss_treats_both_modalities_alike(name: str) -> None:
    loss = LOSSES[name]
    features, labels, modalities = make_batch()
    torch.testing.assert_close(
        loss(features, labels, 1 - modalities), loss(features, labels, modalities), rtol=1e-12, atol=0
    )


@every_loss_of_differences
def test_loss_ignores_a_common_offset(loss: nn.Module) -> None:
    features, labels, modalities = make_batch()
    torch.testing.assert_close(
        loss(features + 1e4, labels, modalities), loss(features, labels, modalities), rtol=1e-8, atol=1e-8
    )


@every_loss_of_differences
def test_loss_keeps_its_digits_under_a_common_offset_in_float32(loss: nn.Module) -> None:
    features, labels, modalities = make_batch(dtype=torch.float32)
    far = features + 1e4  # rounds the features to about 1e-3
    expected, expected_gradient = value_and_gradient(loss, Batch(far.double(), labels, modalities))
    value, gradient = value_and_gradient(loss, Batch(far, labels, modalities))
    torch.testing.assert_close(value.double(), expected, rtol=2e-5, atol=1e-6)
    torch.testing.assert_close(
        gradient.double(), expected_gradient, rtol=1e-3, atol=1e-4 * float(expected_gradient.abs().max())
    )


@combined(SLOW, loss={name: loss for name, loss in LOSSES.items() if name not in PARTLY_CONSTANT}, shape=RAGGED)
def test_gradient_agrees_with_finite_differences(loss: nn.Module, shape: dict[str, Any]) -> None:
    features, labels, modalities = make_batch(**shape)
    assert torch.autograd.gradcheck(
        lambda rows: loss(rows, labels, modalities), features.requires_grad_(), eps=1e-6, atol=1e-6, rtol=1e-5
    )


def unsound(loss: nn.Module, dtype: torch.dtype) -> dict[str, Tensor]:
    """The degenerate batches of this type whose value or gradient is not finite, with the value."""
    answers = {}
    for name, batch in degenerate_batches(dtype).items():
        if (name, dtype) in BEYOND_FLOAT16:
            batch = Batch(batch.features.clamp(-60000, 60000).float(), *batch[1:])
        value, gradient = value_and_gradient(loss, batch)
        if not (value.isfinite() and gradient.isfinite().all() and gradient.dtype == batch.features.dtype):
            answers[name] = value
    return answers


@every_loss
def test_degenerate_batch_gives_a_finite_value_and_gradient(loss: nn.Module) -> None:
    assert not unsound(loss, torch.float32)


@algebra
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_degenerate_batch_of_another_type_gives_a_finite_value_and_gradient(
    loss: nn.Module, dtype: torch.dtype
) -> None:
    assert not unsound(loss, dtype)


@every_loss
@pytest.mark.parametrize("name", ["one row", "no row"])
def test_loss_is_zero_and_attached_where_nothing_can_be_compared(loss: nn.Module, name: str) -> None:
    value, gradient = value_and_gradient(loss, degenerate_batches(torch.float64)[name])
    assert value == 0
    assert not gradient.any()


@combined(SLOW, loss=LOSSES, dtype=[torch.bfloat16, torch.float16])
def test_half_precision_features_lose_no_digit_beyond_their_own(loss: nn.Module, dtype: torch.dtype) -> None:
    batch = make_batch(dtype=dtype)
    value, gradient = value_and_gradient(loss, batch)
    expected, expected_gradient = value_and_gradient(loss, Batch(batch.features.double(), *batch[1:]))
    torch.testing.assert_close(value.double(), expected, rtol=1e-5, atol=0)
    scale = float(expected_gradient.abs().max())
    torch.testing.assert_close(
        gradient.double() / scale, expected_gradient / scale, rtol=0, atol=torch.finfo(dtype).eps
    )


@every_loss
def test_autocast_changes_nothing(loss: nn.Module) -> None:
    batch = make_batch(dtype=torch.float32)
    expected, expected_gradient = value_and_gradient(loss, batch)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        features = batch.features.clone().requires_grad_()
        value = loss(features, *batch[1:])
    (gradient,) = torch.autograd.grad(value, features)
    assert torch.equal(value, expected)
    assert torch.equal(gradient, expected_gradient)


@combined(SLOW, loss=LOSSES, bad=[float("nan"), float("inf"), float("-inf")], counts=[(9, 7), (40, 30), (1, 0)])
def test_non_finite_feature_gives_a_non_finite_value_and_gradient(
    loss: nn.Module, bad: float, counts: tuple[int, ...]
) -> None:
    batch = make_batch(counts)
    batch.features[0, 2] = bad
    value, gradient = value_and_gradient(loss, batch)
    assert not value.isfinite()
    assert not gradient.isfinite().all()


# Scales at which a fourth power, a square or a sum leaves the type of the value.
OVERFLOWING = [(torch.float32, 1e12), (torch.float32, 1e20), (torch.float32, 1e37), (torch.float64, 1e78)]
OVERFLOWING += [(torch.float64, 1e160), (torch.float64, 1e300), (torch.bfloat16, 1e12), (torch.bfloat16, 1e37)]


@combined(SLOW, loss=LOSSES, counts=[(9, 7), (20, 17)])
def test_value_that_overflows_has_a_gradient_that_does_too(loss: nn.Module, counts: tuple[int, int]) -> None:
    features, labels, modalities = make_batch(counts, dimension=12)
    for dtype, scale in OVERFLOWING:
        large = (features / features.abs().max() * scale).to(dtype)
        value, gradient = value_and_gradient(loss, Batch(large, labels, modalities))
        assert bool(value.isfinite()) == bool(gradient.isfinite().all()), (dtype, scale)


@every_loss
def test_loss_leaves_its_arguments_and_the_random_state_alone(loss: nn.Module) -> None:
    batch = make_batch()
    before, state = [part.clone() for part in batch], torch.get_rng_state()
    value_and_gradient(loss, batch)
    assert all(torch.equal(part, copy) for part, copy in zip(batch, before, strict=True))
    assert torch.equal(torch.get_rng_state(), state)


@every_loss
def test_terms_begin_with_the_total_and_are_attached(loss: nn.Module) -> None:
    features, labels, modalities = make_batch()
    features.requires_grad_()
    terms = loss.terms(features, labels, modalities)  # type: ignore[operator]
    assert terms._fields[0] == "total"
    assert torch.equal(terms.total, loss(features, labels, modalities))
    assert all(term.requires_grad and term.shape == () for term in terms)


@every_loss
def test_labels_may_be_none_where_they_do_not_matter_and_are_asked_for_where_they_do(loss: Any) -> None:
    features, labels, modalities = make_batch()
    value, other = loss(features, labels, modalities), loss(features, labels.roll(1), modalities)
    if loss.reads_labels:
        assert value != other
        with pytest.raises(TypeError, match=rf"labels must be .*, got None: {type(loss).__name__} reads them"):
            loss(features, None, modalities)
    else:
        assert value == other
        assert loss(features, None, modalities) == value
        assert loss.terms(features, None, modalities).total == value


def test_at_level_modality_the_gaussian_loss_reads_no_labels() -> None:
    assert [loss.reads_labels for loss in GAUSSIANS.values()] == [" modality" not in name for name in GAUSSIANS]


@every_loss
def test_loss_survives_pickling(loss: nn.Module) -> None:
    batch = make_batch()
    copy = pickle.loads(pickle.dumps(loss))
    assert repr(copy) == repr(loss)
    assert torch.equal(copy(*batch), loss(*batch))


@every_loss
def test_loss_gives_gradients_through_torch_func(loss: nn.Module) -> None:
    batch = make_batch()
    _, expected = value_and_gradient(loss, batch)
    gradient = torch.func.grad(lambda features: loss(features, batch.labels, batch.modalities))(batch.features)
    torch.testing.assert_close(gradient, expected, rtol=1e-12, atol=1e-14)


@combined(SLOW, loss=LOSSES, dimension=[6, 24])
def test_loss_is_mapped_by_vmap_rightly_or_refused_in_one_sentence(loss: nn.Module, dimension: int) -> None:
    features, labels, modalities = make_batch(dimension=dimension)
    parts = torch.stack([features, features.flip(1) + 1])
    try:
        values = torch.func.vmap(lambda rows: loss(rows, labels, modalities))(parts)
    except RuntimeError as error:
        assert str(error).startswith("torch.func.vmap cannot map this loss: call it on each part")  # noqa: PT017
    else:
        torch.testing.assert_close(values, torch.stack([loss(part, labels, modalities) for part in parts]))


@every_loss
def test_modality_that_is_out_of_range_makes_a_loss_nan_where_it_is_not_read(loss: Any) -> None:
    batch, known = make_batch((4, 5, 6)), 2
    if isinstance(loss, modinv.CenterGuidedPairMiningLoss):  # that of the catalogue reads its batch again
        loss = modinv.CenterGuidedPairMiningLoss()
    assert loss.read(Statistics(*batch, known, input_eps=1e-16, seen=False)).total.isnan()


@pytest.mark.slow
@needs.compiled_loss
@algebra
def test_modality_that_is_not_announced_makes_a_compiled_loss_nan(loss: nn.Module) -> None:
    torch.compiler.reset()
    compiled = torch.compile(loss, fullgraph=True, backend="eager")
    assert compiled(*make_batch((4, 5, 6))).isnan()

"""A memory of past rows."""

import copy
import pickle
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

import modinv
import needs
from batches import degenerate_batches, make_batch
from modinv import Batch, CrossBatchMemory
from modinv.divergences import Moments, divergence_between
from quick import combined
from recording import record

INNER: dict[str, modinv.losses.Loss] = {
    "wasserstein": modinv.GaussianDistributionConsistencyLoss(),
    "jeffreys within": modinv.GaussianDistributionConsistencyLoss(divergence="jeffreys", level="within", shrinkage=0.1),
    "moments identity": modinv.GaussianDistributionConsistencyLoss(divergence="moments", level="identity"),
    "moments debiased": modinv.GaussianDistributionConsistencyLoss(divergence="moments", debiased=True),
    "diagonal target": modinv.GaussianDistributionConsistencyLoss(covariance="diagonal", target=0),
    "center": modinv.HeteroCenterTripletLoss(margin=2.0),
    "weighted": modinv.WeightedRegularizedTripletLoss(),
    "intra": modinv.IntraModalityLoss(margin=2.0),
    "sum": modinv.WeightedLosses(
        {
            "gaussian": (0.5, modinv.GaussianDistributionConsistencyLoss()),
            "center": (1.0, modinv.HeteroCenterTripletLoss(margin=2.0)),
        }
    ),
}
every_inner = pytest.mark.parametrize("inner", INNER.values(), ids=INNER)


def batches(number: int, **options: Any) -> list[Batch]:
    return [make_batch((5, 4), seed=seed, **options) for seed in range(number)]


def full(inner: Any = None, *, rows: int = 20, **options: Any) -> CrossBatchMemory:
    """A memory of batches 0, 1 and 2, of which the last 20 rows are left."""
    memory = CrossBatchMemory(inner or INNER["wasserstein"], rows)
    for batch in batches(3, **options):
        memory(*batch)
    return memory


def joined(parts: Iterable[Batch], last: int | None = None) -> Batch:
    """The rows of all batches, or the last of them."""
    features, labels, modalities = (torch.cat(list(part)) for part in zip(*parts, strict=True))
    first = 0 if last is None else max(0, len(labels) - last)
    return Batch(features[first:], labels[first:], modalities[first:])


def value_and_gradient(loss: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
    features = batch.features.detach().clone().requires_grad_()
    value = loss(features, *batch[1:])
    return value.detach(), torch.autograd.grad(value, features)[0]


@combined(inner=INNER, memory_size=[4, 9, 20, 100])
def test_value_and_gradient_are_those_of_batch_and_memory_together(inner: nn.Module, memory_size: int) -> None:
    memory = CrossBatchMemory(inner, memory_size)  # type: ignore[arg-type]
    past: list[Batch] = []
    for batch in batches(4):
        before = joined([*past, Batch(*(part[:0] for part in batch))], memory_size)
        features = batch.features.clone().requires_grad_()
        everything = joined([Batch(features, *batch[1:]), before])
        expected = inner(*everything)
        (expected_gradient,) = torch.autograd.grad(expected, features)
        value, gradient = value_and_gradient(memory, batch)
        torch.testing.assert_close(value, expected.detach(), rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(gradient, expected_gradient, rtol=1e-10, atol=1e-12)
        past.append(batch)


@every_inner
def test_row_order_of_the_batch_does_not_matter(inner: nn.Module) -> None:
    memory = full(inner).eval()
    batch = make_batch(seed=7)
    order = torch.randperm(len(batch.labels), generator=torch.Generator().manual_seed(1))
    value, gradient = value_and_gradient(memory, batch)
    shuffled_value, shuffled_gradient = value_and_gradient(memory, Batch(*(part[order] for part in batch)))
    torch.testing.assert_close(shuffled_value, value, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(shuffled_gradient, gradient[order], rtol=1e-10, atol=1e-10)


def test_moments_are_those_of_the_docstring() -> None:
    """Means and covariances of batch and memory, put together by the formula in place of the rows."""
    memory, batch = full(rows=15), make_batch((6, 5), seed=9)
    past = Batch(memory.features, memory.labels, memory.modalities)
    sides = []
    for modality in range(2):
        rows, old = (part.features[part.modalities == modality] for part in (batch, past))
        n, k, d = len(rows), len(old), rows.mean(0) - old.mean(0)
        mean = (n * rows.mean(0) + k * old.mean(0)) / (n + k)
        between = n * k / (n + k) * torch.outer(d, d)
        covariance = ((n - 1) * torch.cov(rows.T) + (k - 1) * torch.cov(old.T) + between) / (n + k - 1)
        sides.append(Moments(mean, covariance))
    expected = divergence_between(*sides) / batch.features.shape[1]
    torch.testing.assert_close(memory(*batch), expected, rtol=1e-6, atol=0)  # singular covariances, from moments


def test_gradient_of_the_mean_part_has_the_share_of_the_batch() -> None:
    memory, batch = full(rows=15), make_batch((6, 5), seed=9)
    features = batch.features.clone().requires_grad_()
    mean = memory.terms(features, *batch[1:]).mean
    (gradient,) = torch.autograd.grad(mean, features)
    everything = joined([batch, Batch(*(part[-15:] for part in joined(batches(3))))])
    delta = [everything.features[everything.modalities == m].mean(0) for m in range(2)]
    total = int((everything.modalities == 0).sum())
    expected = 2 * (delta[0] - delta[1]) / batch.features.shape[1] * 6 / total  # of the sum over 6 rows
    torch.testing.assert_close(gradient[batch.modalities == 0].sum(0), expected, rtol=1e-9, atol=1e-12)


def test_evaluation_reads_the_memory_and_adds_nothing() -> None:
    memory, batch = full(), make_batch(seed=5)
    before = {name: part.clone() for name, part in memory.state_dict().items()}
    training = memory(*batch)
    memory.load_state_dict(before)
    memory.eval()
    assert torch.equal(memory(*batch), training)
    assert not torch.equal(training, memory.loss(*batch))
    assert all(torch.equal(part, before[name]) for name, part in memory.state_dict().items())


def test_terms_add_rows_like_a_call() -> None:
    memory = CrossBatchMemory(INNER["wasserstein"], 100)
    memory.terms(*make_batch())
    assert len(memory.features) == 16


def test_memory_holds_the_rows_as_they_were() -> None:
    memory = CrossBatchMemory(INNER["wasserstein"], 100)
    batch = make_batch(dtype=torch.float32)
    features, before = batch.features.requires_grad_(), batch.features.detach().clone()
    memory(*batch)
    with torch.no_grad():
        features.zero_()
        batch.labels.zero_()
    assert torch.equal(memory.features, before)
    assert memory.labels.any()
    assert not memory.features.requires_grad


def test_reset_empties_the_memory_for_features_of_any_dimension() -> None:
    memory, batch = full(), make_batch(dimension=7)
    with pytest.raises(ValueError, match=r"memory holds features of 24 dimensions, got a batch of 7: call reset\(\)"):
        memory(*batch)
    memory.reset()
    assert torch.equal(memory(*batch), memory.loss(*batch))
    assert memory.features.shape == (16, 7)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("trained", [0, 1, 3])
def test_training_resumes_to_the_bit_from_any_fill(tmp_path: Path, dtype: torch.dtype, trained: int) -> None:
    memory, other = CrossBatchMemory(INNER["wasserstein"], 20), CrossBatchMemory(INNER["wasserstein"], 20)
    for batch in batches(trained, dtype=dtype):
        memory(*batch)
    other(*make_batch(dimension=7))
    save_file(memory.state_dict(), tmp_path / "memory.safetensors")
    other.load_state_dict(load_file(tmp_path / "memory.safetensors"))
    for batch in batches(5, dtype=dtype):
        for found, expected in zip(value_and_gradient(other, batch), value_and_gradient(memory, batch), strict=True):
            assert torch.equal(found, expected)
    assert all(torch.equal(part, other.state_dict()[name]) for name, part in memory.state_dict().items())


def test_a_smaller_memory_loads_the_newest_rows() -> None:
    memory, small = full(), CrossBatchMemory(INNER["wasserstein"], 6)
    small.load_state_dict(memory.state_dict())
    assert torch.equal(small.features, memory.features[-6:])
    assert torch.equal(small.labels, memory.labels[-6:])


def test_loading_into_a_sum_of_losses_finds_the_memory_by_its_name() -> None:
    losses, other = (
        modinv.WeightedLosses({"memory": (1.0, CrossBatchMemory(INNER["wasserstein"], 20))}) for _ in range(2)
    )
    batch = make_batch()
    losses(*batch)
    other.load_state_dict(losses.state_dict())
    assert torch.equal(other(*batch), losses(*batch))


def test_empty_memory_saves_no_tensor_and_comes_back_empty() -> None:
    memory, empty = full(), CrossBatchMemory(INNER["wasserstein"], 20)
    assert not empty.state_dict()
    memory.load_state_dict(empty.state_dict())
    assert len(memory.features) == len(memory.labels) == len(memory.modalities) == 0


def test_rows_of_which_a_part_is_lost_are_not_loaded() -> None:
    saved = full().state_dict()
    del saved["labels"]
    with pytest.raises(RuntimeError, match=r'Missing key\(s\) in state_dict: "labels"'):
        full().load_state_dict(saved)


def test_rows_that_are_no_batch_are_not_loaded() -> None:
    saved = full().state_dict()
    saved["labels"] = saved["labels"][1:]
    with pytest.raises(ValueError, match=r"labels must have shape \(20,\)"):
        full().load_state_dict(saved)


def test_loaded_rows_are_a_copy() -> None:
    memory, saved = full(), full().state_dict()
    memory.load_state_dict(saved)
    saved["features"].zero_()
    assert memory.features.any()


@pytest.mark.parametrize(("use_buffers", "layers"), [(True, 0), (True, 1), (False, 1)])
def test_average_of_a_module_leaves_its_own_memory_alone(use_buffers: bool, layers: int) -> None:
    memory = CrossBatchMemory(INNER["wasserstein"], 20)
    model = nn.Sequential(memory, *(nn.Linear(2, 2) for _ in range(layers)))
    average = torch.optim.swa_utils.AveragedModel(model, use_buffers=use_buffers)
    for batch in batches(4):
        memory(*batch)
        average.update_parameters(model)
    assert len(memory.features) == 20
    kept = average.module.get_submodule("0").features
    assert isinstance(kept, Tensor)
    assert len(kept) == 0


@pytest.mark.parametrize("use_reentrant", [True, False])
@pytest.mark.parametrize("inner", ["wasserstein", "center", "sum"])
def test_activation_checkpointing_adds_each_row_once_and_changes_nothing(inner: str, use_reentrant: bool) -> None:
    memory, other = CrossBatchMemory(INNER[inner], 20), CrossBatchMemory(INNER[inner], 20)

    def call(features: Tensor, labels: Tensor, modalities: Tensor) -> Tensor:
        value: Tensor = checkpoint(other, features, labels, modalities, use_reentrant=use_reentrant)
        return value

    for batch in batches(4):
        results = []
        for loss in (memory, call):
            features = batch.features.clone().requires_grad_()
            loss(features, *batch[1:]).backward()
            results.append(features.grad)
        torch.testing.assert_close(results[1], results[0], rtol=0, atol=0)
        assert torch.equal(other.features, memory.features)
    assert len(other.features) == 20


def test_rows_move_with_the_module() -> None:
    memory = full().to("meta")
    assert memory.features.is_meta
    assert memory.labels.is_meta


def test_half_precision_does_not_reach_the_memory() -> None:
    memory = full(dtype=torch.float32)
    before = memory.features.clone()
    memory.half()
    assert torch.equal(memory.features, before)
    assert memory.labels.dtype == memory.modalities.dtype == torch.int64
    assert memory.double().features.dtype == torch.float64


def test_memory_of_bfloat16_batches_is_float32_and_takes_the_type_of_the_next_batch() -> None:
    memory = full(dtype=torch.bfloat16)
    assert memory.features.dtype == torch.float32
    value = memory(*make_batch())
    assert value.dtype == memory.features.dtype == torch.float64


def test_autocast_changes_nothing() -> None:
    memory, batch = full(dtype=torch.float32).eval(), make_batch(dtype=torch.float32)
    expected = memory(*batch)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(memory(*batch), expected)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_lost_rows_are_replaced_by_rows_of_the_batch_until_they_have_left(bad: float) -> None:
    memory, inner = CrossBatchMemory(INNER["wasserstein"], 18), INNER["wasserstein"]
    first, second, third = batches(3)
    memory(*first)
    lost = Batch(second.features.clone(), *second[1:])
    lost.features[[0, 4], 3] = bad
    value, gradient = value_and_gradient(memory, lost)
    assert not value.isfinite()
    assert not gradient.isfinite().all()
    # The memory is rows 0 to 8 of the first batch and those of the second, of which 0 and 4 have places 9 and 13.
    past = Batch(*(part.clone() for part in joined([first, second])))
    for old, new in zip(past, third, strict=True):
        old[9], old[13] = new[0], new[4]
    torch.testing.assert_close(memory(*third), inner(*joined([third, past])), rtol=1e-12, atol=0)
    memory(*first)
    assert memory.features.isfinite().all()


def test_first_batch_without_a_finite_row_leaves_nothing_behind() -> None:
    memory, batch = CrossBatchMemory(INNER["wasserstein"], 50), make_batch()
    memory(batch.features * float("nan"), *batch[1:])
    value, gradient = value_and_gradient(memory, batch)
    torch.testing.assert_close(value, memory.loss(*joined([batch, batch])), rtol=1e-12, atol=0)
    assert gradient.isfinite().all()


@combined(name=degenerate_batches(torch.float32).keys(), inner=["wasserstein", "jeffreys within", "sum"])
def test_degenerate_batch_gives_a_finite_value_and_gradient(name: str, inner: str) -> None:
    batch = degenerate_batches(torch.float32)[name]
    memory = full(INNER[inner], dimension=batch.features.shape[1], dtype=torch.float32)
    for _ in range(2):
        value, gradient = value_and_gradient(memory, batch)
        assert value.isfinite()
        assert gradient.isfinite().all()


def test_batch_without_rows_is_zero_and_attached_and_leaves_the_memory() -> None:
    memory = full()
    before = memory.features.clone()
    features = torch.zeros(0, 24, dtype=torch.float64, requires_grad=True)
    value = memory(features, torch.zeros(0, dtype=torch.long), torch.zeros(0, dtype=torch.long))
    assert value == 0
    assert value.requires_grad
    assert torch.equal(memory.features, before)


def test_memory_of_three_modalities_meets_a_batch_of_two() -> None:
    memory, inner = CrossBatchMemory(INNER["wasserstein"], 50), INNER["wasserstein"]
    three, two = make_batch((4, 5, 6)), make_batch(seed=1)
    memory(*three)
    torch.testing.assert_close(memory(*two), inner(*joined([two, three])), rtol=1e-12, atol=0)


def test_labels_of_a_narrow_type_are_kept_as_whole_numbers() -> None:
    features, labels, modalities = make_batch()
    memory, other = full(), full()
    narrow = (features, labels.to(torch.int32), modalities.to(torch.uint8))
    assert torch.equal(memory(*narrow), other(features, labels, modalities))
    assert memory.labels.dtype == torch.int64


def test_memory_survives_copying_and_pickling() -> None:
    memory, batch = full(), make_batch(seed=5)
    copies = [copy.deepcopy(memory), pickle.loads(pickle.dumps(memory))]
    expected = memory(*batch)
    assert all(torch.equal(one(*batch), expected) for one in copies)
    assert all(repr(one) == repr(memory) for one in copies)


def test_a_sum_of_losses_has_one_memory_beside_losses_without() -> None:
    past, batch = make_batch(seed=1), make_batch()
    losses = modinv.WeightedLosses(
        {
            "memory": (0.5, CrossBatchMemory(modinv.GaussianDistributionConsistencyLoss(), 16)),
            "center": (1.0, modinv.HeteroCenterTripletLoss(margin=2.0)),
        }
    )
    losses(*past)
    terms = losses.terms(*batch)
    torch.testing.assert_close(terms.memory, INNER["wasserstein"](*joined([batch, past])), rtol=1e-12, atol=0)
    torch.testing.assert_close(terms.center, INNER["center"](*batch), rtol=1e-12, atol=0)


class NumberOfRows(nn.Module):
    """A loss from elsewhere."""

    def forward(self, features: Tensor, labels: Tensor, modalities: Tensor) -> Tensor:
        return 0 * features.sum() + len(labels) + len(modalities)


def test_a_loss_from_elsewhere_in_the_sum_gets_the_rows_of_the_memory() -> None:
    memory = CrossBatchMemory(modinv.WeightedLosses({"rows": (1.0, NumberOfRows())}), 10)
    assert memory(*make_batch()) == 32
    assert memory(*make_batch()) == 52


def test_gradients_through_torch_func_leave_plain_tensors_behind() -> None:
    memory, batch = full(), make_batch()
    _, expected = value_and_gradient(copy.deepcopy(memory), batch)
    gradient = torch.func.grad(lambda features: memory(features, *batch[1:]))(batch.features)
    torch.testing.assert_close(gradient, expected, rtol=1e-12, atol=1e-14)
    assert torch.equal(memory.features[-16:], batch.features)


def test_cost_in_calls_does_not_depend_on_the_size_and_nothing_waits() -> None:
    records = []
    for rows in (40, 80):
        memory = CrossBatchMemory(modinv.GaussianDistributionConsistencyLoss(divergence="moments"), rows)
        for seed in range(10):
            memory(*make_batch(seed=seed, dimension=128, dtype=torch.float32))
        records.append(record(memory, make_batch(dimension=128, dtype=torch.float32)))
    assert records[0].calls == records[1].calls
    assert not records[0].waits
    assert not records[0].solver_waits


@pytest.mark.slow
@needs.compiled_loss
@pytest.mark.parametrize("name", ["wasserstein", "jeffreys within", "sum"])
def test_compiled_without_a_break_while_it_grows_and_when_it_is_full(name: str) -> None:
    memory = CrossBatchMemory(INNER[name], 40)
    other = copy.deepcopy(memory)
    torch.compiler.reset()
    compiled = torch.compile(other, fullgraph=True, backend="aot_eager")
    for seed in range(6):
        batch = make_batch(seed=seed, dimension=64, dtype=torch.float32)
        pairs = zip(value_and_gradient(compiled, batch), value_and_gradient(memory, batch), strict=True)  # type: ignore[arg-type]
        for found, expected in pairs:
            scale = float(expected.abs().max())
            torch.testing.assert_close(found / scale, expected / scale, rtol=0, atol=2e-5)
        assert torch.equal(other.features, memory.features)
    assert len(other.features) == 40


@pytest.mark.slow
@needs.compiled_loss
def test_compiled_loss_has_the_value_and_gradient_of_the_eager_one_with_a_full_memory() -> None:
    memory = full(INNER["center"], dimension=64, dtype=torch.float32)
    other, batch = copy.deepcopy(memory), make_batch(seed=5, dimension=64, dtype=torch.float32)
    torch.compiler.reset()
    value, gradient = value_and_gradient(torch.compile(other, fullgraph=True), batch)  # type: ignore[arg-type]
    expected, expected_gradient = value_and_gradient(memory, batch)
    torch.testing.assert_close(value, expected, rtol=1e-5, atol=1e-6)
    scale = float(expected_gradient.abs().max())
    torch.testing.assert_close(gradient / scale, expected_gradient / scale, rtol=0, atol=2e-5)
    assert torch.equal(other.features, memory.features)


@pytest.mark.parametrize(
    ("loss", "size", "error", "message"),
    [
        (nn.Identity(), 4, TypeError, "loss must be a loss of modinv, got Identity"),
        (CrossBatchMemory(INNER["center"], 4), 4, ValueError, "loss must have no memory of its own"),
        (
            modinv.WeightedLosses({"memory": (1.0, CrossBatchMemory(INNER["center"], 4))}),
            *(4, ValueError, "loss must have no memory of its own"),
        ),
        (INNER["center"], 0, ValueError, "memory_size must be at least 1, got 0"),
        (INNER["center"], 2.5, TypeError, "memory_size must be a whole number, got 2.5"),
    ],
)
def test_impossible_memory_is_refused(loss: Any, size: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        CrossBatchMemory(loss, size)


def test_memory_takes_the_number_of_modalities_from_its_loss_and_is_shown() -> None:
    loss = modinv.HeteroCenterTripletLoss(num_modalities=3)
    assert CrossBatchMemory(loss, 4).num_modalities == 3
    assert CrossBatchMemory(loss, 4, num_modalities=5).num_modalities == 5
    assert "memory_size=4" in repr(CrossBatchMemory(loss, 4))

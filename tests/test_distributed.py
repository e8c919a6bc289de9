"""Real processes with different rows each: what they compute together is what one process computes."""

import copy
import pickle
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch import distributed as dist

import modinv
import needs
from batches import make_batch
from distributed_processes import (
    LOSSES,
    PAIRS,
    TRIPLES,
    Layout,
    Outcome,
    OwnLoss,
    in_processes,
    make_branches,
    make_memory,
    make_network,
    step,
    with_nan,
)
from distributed_work import work_of_a_pair, work_of_three
from modinv import Batch
from modinv.distributed import GlobalBatch, gather_batch, sum_over_ranks

Results = list[dict[str, Any]]


# The mark is on the fixtures, so that it reaches each test that asks for the processes.
slow_to_start = pytest.fixture(scope="module", params=[pytest.param("processes", marks=pytest.mark.slow)])


@slow_to_start
def pair(tmp_path_factory: pytest.TempPathFactory) -> Results:
    """What each of two ranks did."""
    return in_processes(work_of_a_pair, 2, tmp_path_factory.mktemp("pair"))


@slow_to_start
def three(tmp_path_factory: pytest.TempPathFactory) -> Results:
    """What each of three ranks did."""
    return in_processes(work_of_three, 3, tmp_path_factory.mktemp("three"))


@pytest.fixture
def group_of_one(tmp_path: Path) -> Iterator[None]:
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/meeting", rank=0, world_size=1)
    yield
    dist.destroy_process_group()


def assert_outcome(outcome: Outcome, expected: Outcome, name: str) -> None:
    """Compare to 1e-10 of the largest entry; the order of the sums over rows is all that differs."""
    torch.testing.assert_close(outcome.value, expected.value, rtol=1e-10, atol=1e-10, msg=name)
    largest = float(torch.stack([gradient.abs().max() for gradient in expected.gradients]).max())
    for gradient, expected_gradient in zip(outcome.gradients, expected.gradients, strict=True):
        torch.testing.assert_close(gradient, expected_gradient, rtol=0, atol=1e-10 * max(largest, 1e-3), msg=name)


def assert_equal_one_process(results: Results, layout: Layout, name_of_layout: str) -> None:
    assert len(results[0][name_of_layout]) == len(LOSSES)
    for name, loss in LOSSES.items():
        expected = step(make_network(), copy.deepcopy(loss), layout.batch)  # a loss may have a memory
        assert any(bool(gradient.abs().max() > 1e-6) for gradient in expected.gradients), f"{name} says nothing"
        for result in results:
            assert_outcome(result[name_of_layout][name], expected, f"{name}, {name_of_layout}")


@pytest.mark.parametrize("layout", PAIRS)
def test_value_and_parameter_gradient_of_every_loss_are_those_of_one_process(pair: Results, layout: str) -> None:
    assert_equal_one_process(pair, PAIRS[layout], layout)


@pytest.mark.parametrize("layout", TRIPLES)
def test_three_processes_equal_one_for_every_loss(three: Results, layout: str) -> None:
    assert_equal_one_process(three, TRIPLES[layout], layout)


def test_nan_on_one_rank_arrives_in_value_and_gradient_on_every_rank(pair: Results) -> None:
    assert with_nan(PAIRS["7 + 5"]).batch.features[:7].isfinite().all()  # the first rank has none itself
    for result in pair:
        for name, outcome in result["nan"].items():
            assert outcome.value.isnan(), name
            assert not any(gradient.isfinite().all() for gradient in outcome.gradients[:4]), name


def test_terms_pass_through(pair: Results) -> None:
    terms = LOSSES["weighted losses"].terms(*PAIRS["7 + 5"].batch)  # type: ignore[operator]
    for result in pair:
        torch.testing.assert_close(result["terms"], list(terms), rtol=1e-10, atol=0)


def test_labels_may_be_none_on_several_ranks_where_the_loss_does_not_read_them(pair: Results) -> None:
    features, _, modalities = PAIRS["7 + 5"].batch
    expected = modinv.GaussianDistributionConsistencyLoss()(features, None, modalities)
    for result in pair:
        torch.testing.assert_close(result["no labels"], expected, rtol=1e-10, atol=0)


def test_rows_come_in_the_order_of_the_ranks_to_the_bit_in_every_type(pair: Results) -> None:
    features, labels, modalities = PAIRS["7 + 5"].batch
    for rank, result in enumerate(pair):
        for gathered, gradient in result["types"]:
            kind = gathered.features.dtype
            expected = Batch(features.to(kind), labels.to(torch.int16), modalities.to(torch.uint8))
            torch.testing.assert_close(list(gathered), list(expected), rtol=0, atol=0)
            assert torch.equal(gradient, torch.full((7 - 2 * rank, 24), 2.0, dtype=kind))  # once for each rank
        assert [gathered.features.dtype for gathered, _ in result["types"]] == [
            *(torch.float16, torch.bfloat16, torch.float32, torch.float64)
        ]


def test_single_row_of_two_bytes_arrives(pair: Results) -> None:
    for result in pair:
        assert [tensor.tolist() for tensor in result["one row"]] == [[[1.0]], [1], [1]]


def test_autocast_changes_nothing(pair: Results) -> None:
    features, labels, modalities = PAIRS["7 + 5"].batch
    expected = modinv.GaussianDistributionConsistencyLoss()(features.bfloat16(), labels, modalities)
    assert all(torch.equal(result["autocast"], expected) for result in pair)


def test_each_rank_receives_the_bytes_of_the_formula_and_none_backward(pair: Results) -> None:
    rows, dimension, size = 7, 16, 8  # of the largest rank, float64
    for result in pair:
        assert result["traffic"] == ([40, rows * (dimension * size + 16)], [])


def test_accumulated_gradients_are_those_of_one_process(pair: Results) -> None:
    network, loss = make_network(), modinv.WeightedRegularizedTripletLoss()
    outcomes = [step(network, loss, PAIRS[name].batch).gradients for name in ("7 + 5", "12 + 0")]
    for result in pair:
        expected = [first + second for first, second in zip(*outcomes, strict=True)]
        torch.testing.assert_close(result["accumulated"], expected, rtol=1e-10, atol=1e-12)


@needs.fully_shard
def test_fully_sharded_parameters_get_the_gradient_of_one_process(pair: Results) -> None:
    expected = step(make_network(), modinv.WeightedRegularizedTripletLoss(), PAIRS["7 + 5"].batch).gradients
    for result in pair:
        torch.testing.assert_close(result["fsdp"], expected, rtol=1e-10, atol=1e-12)


def test_normalization_by_sums_over_ranks_is_batch_normalization_in_one_process(pair: Results) -> None:
    normalization = nn.BatchNorm1d(20, affine=False)
    loss = modinv.WeightedRegularizedTripletLoss()
    expected = step(make_network(normalization), loss, PAIRS["7 + 5"].batch)
    for result in pair:
        assert_outcome(result["normalized"], expected, "batch normalisation")


def test_branches_that_a_rank_does_not_call_get_the_gradient_of_one_process(pair: Results) -> None:
    batch, loss = PAIRS["one modality each"].batch, modinv.HeteroCenterTripletLoss(margin=2.0)
    expected = step(make_branches(), loss, batch, batch.modalities)
    for result in pair:
        assert_outcome(result["branched"], expected, "a branch per modality")


def test_memory_holds_the_rows_of_one_process_on_every_rank(pair: Results) -> None:
    network, memory = make_network(), make_memory()
    for number, layout in enumerate(PAIRS.values()):
        expected = step(network, memory, layout.batch)
        for result in pair:
            outcome, kept = result["memory"][number]
            assert_outcome(outcome, expected, f"step {number}")
            for name, rows in memory.state_dict().items():
                torch.testing.assert_close(kept[f"loss.{name}"], rows, rtol=1e-10, atol=1e-10)
    assert len(memory.features) == 20  # the oldest have left


def test_memory_inside_what_ddp_wraps_holds_the_rows_of_its_own_rank(pair: Results) -> None:
    batch = PAIRS["7 + 5"].batch
    assert pair[0]["own memory"].tolist() == batch.labels[:7].tolist() * 2
    assert pair[1]["own memory"].tolist() == batch.labels[7:].tolist() * 2


def test_sum_over_ranks_can_be_differentiated_twice(pair: Results) -> None:
    s = 2 + 3
    for result in pair:  # of 2 s³, two ranks, and then of the sum of their 6 s²
        assert result["cube"] == [s, 6 * s**2, 24 * s]


def test_double_backward_is_refused(pair: Results) -> None:
    assert all("once_differentiable" in result["twice"] for result in pair)


@pytest.mark.parametrize(
    ("attempt", "messages"),
    [
        ("dimension", ["ValueError: all ranks must have the same D .* D = 24.* on rank 0 and D = 23.* on rank 1"] * 2),
        ("type", ["ValueError: all ranks must have .* the same types.*features torch.float32.* on rank 1"] * 2),
        ("type of labels", ["ValueError: .*labels torch.int64.* on rank 0 and .*labels torch.int32.* on rank 1"] * 2),
        ("malformed", ["ValueError: .* rank 1 has not", r"ValueError: labels must have shape \(5,\)"]),
        ("no tensor", ["ValueError: .* rank 1 has not", "TypeError: features must be a floating tensor"]),
        ("sparse", ["ValueError: .* rank 1 has not", "TypeError: features must be a dense tensor"]),
        ("without values", ["ValueError: .* rank 1 has not", "ValueError: labels must be on meta"]),
        ("in a sum", ["ValueError: .* rank 1 has not", "TypeError: labels must be an integer tensor"]),
        ("deep in a sum", ["ValueError: .* rank 1 has not", "TypeError: labels must be an integer tensor"]),
        ("in a memory", ["ValueError: .* rank 1 has not", "TypeError: labels must be an integer tensor"]),
        ("beyond the modalities of a sum", ["ValueError: .* rank 1 has not", "ValueError: modalities must be numbers"]),
    ],
)
def test_impossible_batch_is_refused_on_every_rank(pair: Results, attempt: str, messages: list[str]) -> None:
    for result, message in zip(pair, messages, strict=True):
        assert re.match(message, result["refused"][attempt])
        assert result["refused"]["afterwards"] == "12 rows"


def test_group_gathers_its_own_ranks_and_refuses_others(three: Results) -> None:
    inside, outside, inside_too = (result["subgroup"] for result in three)
    assert inside.tolist() == inside_too.tolist() == [0] * 9 + [2] * 10
    assert re.search("must contain the rank that calls, got one without rank 1", outside)


def assert_identity() -> None:
    batch = make_batch()
    assert gather_batch(batch) is batch
    assert sum_over_ranks(batch.features) is batch.features
    loss = modinv.WeightedRegularizedTripletLoss()
    assert torch.equal(GlobalBatch(loss)(*batch), loss(*batch))
    assert GlobalBatch(loss).terms(*batch) == loss.terms(*batch)


def test_one_process_without_a_group_gets_what_it_gave() -> None:
    assert_identity()


def test_one_process_in_a_group_of_one_gets_what_it_gave(group_of_one: None) -> None:
    assert_identity()


def test_state_is_that_of_the_loss() -> None:
    loss = OwnLoss()
    state = GlobalBatch(loss).state_dict()
    assert list(state) == ["loss.centers"]
    other = OwnLoss()
    nn.init.zeros_(other.centers)
    GlobalBatch(other).load_state_dict(state)
    assert torch.equal(other.centers, loss.centers)


def squares(features: Tensor, _labels: Tensor, _modalities: Tensor) -> Tensor:
    return features.square().mean()


def test_training_mode_reaches_the_loss() -> None:
    loss = OwnLoss()
    GlobalBatch(loss).eval()
    assert not loss.training


def test_repr_shows_the_loss() -> None:
    assert "(loss): HeteroCenterTripletLoss(margin=0.3, " in repr(GlobalBatch(modinv.HeteroCenterTripletLoss()))
    assert repr(GlobalBatch(squares)) == "GlobalBatch(loss=squares)"


def test_repr_shows_the_group(group_of_one: None) -> None:
    loss = GlobalBatch(squares, group=dist.new_group([0]))
    assert repr(loss) == "GlobalBatch(loss=squares, group of 1 ranks)"


def test_global_batch_survives_pickling() -> None:
    loss, batch = GlobalBatch(modinv.WeightedRegularizedTripletLoss()), make_batch()
    assert torch.equal(pickle.loads(pickle.dumps(loss))(*batch), loss(*batch))


def test_function_is_a_loss_too() -> None:
    batch = make_batch()
    value = GlobalBatch(squares)(*batch)
    assert torch.equal(value, squares(*batch))


def test_loss_without_terms_says_so() -> None:
    with pytest.raises(AttributeError, match=r"only a loss with terms can give them, OwnLoss has none"):
        GlobalBatch(OwnLoss()).terms(*make_batch())


@pytest.mark.parametrize("loss", [None, "hetero-center triplet", OwnLoss])
def test_what_is_no_loss_is_refused(loss: Any) -> None:
    with pytest.raises(TypeError, match="the loss must be a module or a function of"):
        GlobalBatch(loss)


@needs.compiled_loss
def test_one_process_compiles_without_a_graph_break() -> None:
    loss, batch = GlobalBatch(modinv.HeteroCenterTripletLoss()), make_batch()
    compiled = torch.compile(loss, fullgraph=True, backend="eager")
    value: Tensor = compiled(*batch)
    torch.testing.assert_close(value, loss(*batch), rtol=1e-12, atol=0)

"""Tests of independent branches: the rows are split, sent and put back."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import needs
from modinv.modules import PerModality
from modinv.modules.per_modality import select_rows

MODALITIES = torch.tensor([0, 1, 1, 0, 2, 1, 2, 0, 1])


def make_inputs(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)), dtype=torch.float64)


def make_linear() -> nn.Module:
    return nn.Linear(4, 3).double()


def make_normalized() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3)).double()


def loop(branches: nn.ModuleList, inputs: Tensor, modalities: Tensor) -> Tensor:
    """Row by row, each through its branch."""
    rows = [branches[int(m)](row[None])[0] for row, m in zip(inputs, modalities, strict=True)]
    return torch.stack(rows)


def gradients(module: nn.Module, run: Callable[..., Tensor]) -> list[Tensor]:
    module.zero_grad()
    torch.autograd.backward(run(make_inputs(9, 4), MODALITIES).square().sum())
    return [parameter.grad for parameter in module.parameters() if parameter.grad is not None]


def test_each_row_goes_through_the_branch_of_its_modality() -> None:
    split = PerModality(make_linear, num_modalities=3)
    inputs = make_inputs(9, 4)
    expected = loop(split.branches, inputs, MODALITIES)
    torch.testing.assert_close(split(inputs, MODALITIES), expected, rtol=1e-12, atol=1e-12)


def test_a_branch_with_a_batch_normalisation_sees_its_own_rows_only() -> None:
    split = PerModality(make_normalized, num_modalities=3)
    reference = PerModality(make_normalized, num_modalities=3)
    reference.load_state_dict(split.state_dict())
    inputs = make_inputs(9, 4)
    outputs = split(inputs, MODALITIES)
    for modality, branch in enumerate(reference.branches):
        rows = [row for row in range(9) if MODALITIES[row] == modality]
        torch.testing.assert_close(outputs[rows], branch(inputs[rows]), rtol=1e-12, atol=1e-12)
        for name, value in branch.state_dict().items():
            torch.testing.assert_close(split.branches[modality].state_dict()[name], value)


def test_a_branch_may_change_the_shape_and_the_type() -> None:
    class Flatten(nn.Module):
        def forward(self, maps: Tensor) -> Tensor:
            return maps.flatten(1).float()

    inputs = make_inputs(9, 2, 3, 5)
    outputs = PerModality([Flatten(), Flatten()])(inputs, MODALITIES.clamp(max=1))
    assert torch.equal(outputs, inputs.flatten(1).float())


def test_gradients_pass_gradcheck() -> None:
    split = PerModality(make_linear, num_modalities=3)
    inputs = make_inputs(9, 4).requires_grad_()
    assert torch.autograd.gradcheck(lambda rows: split(rows, MODALITIES), (inputs,))


def test_row_order_does_not_matter() -> None:
    split = PerModality(make_linear, num_modalities=3)
    inputs = make_inputs(9, 4)
    order = torch.tensor([4, 2, 8, 0, 7, 5, 1, 3, 6])
    expected = split(inputs, MODALITIES)[order]
    outputs = split(inputs[order], MODALITIES[order])
    torch.testing.assert_close(outputs, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("present", [[0], [2], [0, 2]])
def test_the_branch_of_an_absent_modality_is_not_called(present: list[int]) -> None:
    called = []

    class Recorder(nn.Module):
        def __init__(self, number: int) -> None:
            super().__init__()
            self.number = number

        def forward(self, rows: Tensor) -> Tensor:
            called.append((self.number, len(rows)))
            return rows

    split = PerModality([Recorder(0), Recorder(1), Recorder(2)], num_modalities=3)
    modalities = torch.tensor(present * 2)
    inputs = make_inputs(len(modalities), 4)
    assert torch.equal(split(inputs, modalities), inputs)
    assert called == [(number, 2) for number in present]


def test_one_row_and_no_row_are_batches_too() -> None:
    split = PerModality(make_normalized).eval()
    row = make_inputs(1, 4)
    assert torch.equal(split(row, torch.tensor([1])), split.branches[1](row))
    assert split(make_inputs(0, 4), torch.tensor([], dtype=torch.int64)).shape == (0, 3)


def test_gradient_of_one_modality_does_not_reach_the_other_branch() -> None:
    split = PerModality(make_linear)
    split(make_inputs(4, 4), torch.tensor([0, 1, 1, 0]))[[0, 3]].sum().backward()
    visible, infrared = split.branches
    assert all(p.grad is not None and p.grad.any() for p in visible.parameters())
    assert all(p.grad is None or not p.grad.any() for p in infrared.parameters())


def test_autocast_and_half_precision_reach_the_branches() -> None:
    split = PerModality(lambda: nn.Linear(4, 3))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert split(torch.ones(2, 4), torch.tensor([0, 1])).dtype == torch.bfloat16
    assert split.half()(torch.ones(2, 4).half(), torch.tensor([0, 1])).dtype == torch.float16


def test_compiled_gives_the_same_values_and_gradients() -> None:
    split = PerModality(make_linear, num_modalities=3)
    compiled = torch.compile(split, fullgraph=True, backend="aot_eager")
    expected = gradients(split, split)
    found = gradients(split, compiled)
    assert len(expected) == len(found) == 6
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    inputs = make_inputs(9, 4)
    torch.testing.assert_close(compiled(inputs, MODALITIES), split(inputs, MODALITIES), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("compiled", [False, True])
def test_a_branch_that_begins_in_place_changes_neither_input_nor_neighbour(compiled: bool) -> None:
    split = PerModality([nn.ReLU(inplace=True), nn.Identity()])
    run = torch.compile(split, fullgraph=True, backend="aot_eager") if compiled else split
    inputs = make_inputs(4, 3).requires_grad_()
    before, modalities = inputs.detach().clone(), torch.tensor([0, 1, 1, 0])
    outputs = run(inputs, modalities)
    torch.autograd.backward(outputs.sum())
    assert torch.equal(inputs, before)
    visible = modalities[:, None] == 0
    assert torch.equal(outputs, torch.where(visible, before.clamp(min=0), before))
    assert inputs.grad is not None
    assert torch.equal(inputs.grad, torch.where(visible & (before < 0), 0.0, 1.0).double())


@needs.told_exception
def test_compiling_refuses_a_batch_normalisation_in_training_mode() -> None:
    compiled = torch.compile(PerModality(make_normalized), fullgraph=True, backend="aot_eager")
    with pytest.raises(RuntimeError, match="cannot compile a branch with a batch normalisation in training mode"):
        compiled(make_inputs(4, 4), torch.tensor([0, 1, 0, 1]))


@pytest.mark.slow
def test_compiled_keeps_what_is_not_finite_out_of_the_other_branch() -> None:
    split = PerModality(make_linear)
    compiled = torch.compile(split, fullgraph=True, backend="aot_eager")
    inputs, infrared = make_inputs(4, 4), torch.tensor([False, True, True, False])
    inputs[0, 0], inputs[3, 1] = torch.nan, torch.inf
    compiled(inputs, infrared.long())[infrared].sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in split.branches[1].parameters())


@pytest.mark.slow
def test_compiling_accepts_a_batch_normalisation_in_evaluation() -> None:
    split = PerModality(make_normalized).eval()
    compiled = torch.compile(split, fullgraph=True, backend="aot_eager")
    inputs, modalities = make_inputs(4, 4), torch.tensor([0, 1, 1, 1])
    torch.testing.assert_close(compiled(inputs, modalities), split(inputs, modalities), rtol=1e-12, atol=1e-12)


@pytest.mark.slow
def test_a_graph_that_may_break_runs_a_batch_normalisation_on_split_rows() -> None:
    split = PerModality(make_normalized)
    inputs, modalities = make_inputs(6, 4), torch.tensor([0, 1, 1, 0, 1, 0])
    expected = split(inputs, modalities)
    compiled = torch.compile(split, backend="aot_eager")
    torch.testing.assert_close(compiled(inputs, modalities), expected, rtol=1e-12, atol=1e-12)


def test_exported_branches_that_disagree_on_the_shape_are_refused() -> None:
    split = PerModality([nn.Linear(4, 3), nn.Linear(4, 1)])  # one column would broadcast
    with pytest.raises(ValueError, match=r"branch 1 returned \(2, 1\) for 2 rows where \(2, 3\) was expected"):
        torch.export.export(split, (torch.ones(2, 4), torch.tensor([0, 1])), strict=False)


def test_selecting_rows_keeps_what_is_not_finite_out_of_value_and_gradient() -> None:
    visible, infrared = make_inputs(3, 2), torch.full((3, 2), torch.inf, dtype=torch.float64)
    visible.requires_grad_()
    infrared.requires_grad_()
    selected = select_rows([visible, infrared], torch.tensor([0, 0, 0]))
    assert torch.equal(selected, visible)
    torch.autograd.backward(selected.sum())
    assert infrared.grad is not None
    assert torch.equal(infrared.grad, torch.zeros(3, 2, dtype=torch.float64))


def test_selecting_an_unknown_modality_gives_nan() -> None:
    selected = select_rows([torch.zeros(2, 3), torch.ones(2, 3)], torch.tensor([1, 2]))
    assert torch.equal(selected[0], torch.ones(3))
    assert selected[1].isnan().all()


def test_a_checkpoint_restores_the_branches() -> None:
    split, other = PerModality(make_normalized), PerModality(make_normalized)
    inputs, modalities = make_inputs(6, 4), torch.tensor([0, 1, 1, 0, 1, 0])
    split(inputs, modalities)
    other.load_state_dict(split.state_dict())
    assert torch.equal(other.eval()(inputs, modalities), split.eval()(inputs, modalities))


def test_one_shared_module_is_refused() -> None:
    with pytest.raises(TypeError, match="branches is one Linear, which all modalities would share"):
        PerModality(nn.Linear(4, 3))


def test_a_factory_that_returns_the_same_module_is_refused() -> None:
    shared = nn.Linear(4, 3)
    with pytest.raises(ValueError, match="branches 0 and 1 share 'weight'"):
        PerModality(lambda: shared)


@pytest.mark.parametrize(
    ("branches", "error", "message"),
    [
        ([nn.Identity()], ValueError, "one module for each of 2 modalities, got 1"),
        ([nn.Identity(), 3], TypeError, r"must be a torch.nn.Module, got \['Identity', 'int'\]"),
        (lambda: 3, TypeError, r"must be a torch.nn.Module, got \['int', 'int'\]"),
        ("linear", TypeError, "branches must be a function .*got 'linear'"),
    ],
)
def test_malformed_branches_are_refused(branches: object, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        PerModality(branches)  # type: ignore[arg-type]


def test_branches_that_disagree_on_the_shape_are_refused() -> None:
    split = PerModality([nn.Linear(4, 3), nn.Linear(4, 2)])
    with pytest.raises(ValueError, match=r"branch 1 returned \(1, 2\) for 1 rows where \(1, 3\) was expected"):
        split(torch.ones(2, 4), torch.tensor([0, 1]))


def test_a_branch_that_changes_the_number_of_rows_is_refused() -> None:
    with pytest.raises(ValueError, match="a branch keeps the number of rows"):
        PerModality(lambda: nn.Flatten(0))(torch.ones(2, 4), torch.tensor([1, 1]))


def test_modalities_outside_the_count_are_refused() -> None:
    with pytest.raises(ValueError, match=r"modalities must be .* 0 to 1"):
        PerModality(nn.Identity)(torch.ones(2, 4), torch.tensor([0, 2]))


def test_repr_shows_the_number_of_modalities() -> None:
    assert "num_modalities=3" in repr(PerModality(nn.Identity, num_modalities=3))

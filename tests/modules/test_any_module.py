"""What every module promises: whatever layout and type comes, frozen, converted, copied."""

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from modules.catalogue import MODULES, NORMALIZED, make_module, make_rows, tensors_of
from quick import combined

every_module = pytest.mark.parametrize("name", MODULES)


def changed(tensors: dict[str, Tensor], other: dict[str, Tensor]) -> set[str]:
    return {name for name, tensor in tensors.items() if not torch.equal(tensor, other[name])}


def cubes(outputs: list[Tensor]) -> Tensor:
    """A number whose gradient is not the same for all entries, and not zero behind a normalisation."""
    return torch.stack([part.float().pow(3).sum() for part in outputs]).sum()


def state_of(module: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in module.state_dict().items()}


@every_module
@pytest.mark.parametrize("training", [True, False])
def test_arguments_are_left_alone(name: str, training: bool) -> None:
    module, given = make_module(name).train(training), make_rows(name)
    before = [part.clone() for part in given]
    given[0].requires_grad_()
    torch.autograd.backward(cubes(tensors_of(module(*given))))
    assert all(torch.equal(*pair) for pair in zip(given, before, strict=True))


@every_module
@pytest.mark.parametrize("training", [True, False])
def test_batch_without_rows_gives_an_output_without_rows_and_leaves_the_parameters_finite(
    name: str, training: bool
) -> None:
    module, given = make_module(name).train(training), tuple(part[:0] for part in make_rows(name))
    given[0].requires_grad_()
    outputs, full = tensors_of(module(*given)), tensors_of(module(*make_rows(name)))
    assert [part.shape[1:] for part in outputs] == [part.shape[1:] for part in full]
    assert all(len(part) == 0 for part in outputs)
    torch.autograd.backward(cubes(outputs))
    assert all(value.isfinite().all() for value in module.state_dict().values())
    assert all(parameter.grad is None or not parameter.grad.any() for parameter in module.parameters())


LAYOUTS: dict[str, Callable[[Tensor], Tensor]] = {
    # vectors have no channels that could be last: every other column of a wider matrix
    "channels last": lambda inputs: (
        inputs.contiguous(memory_format=torch.channels_last)
        if inputs.ndim == 4
        else inputs.repeat_interleave(2, 1)[:, ::2]
    ),
    "columns first": lambda inputs: inputs.mT.contiguous().mT,
    "every second": lambda inputs: torch.stack([inputs, inputs], dim=-1)[..., 0],
    "expanded": lambda inputs: inputs[:1].expand_as(inputs),
}


@combined(name=list(MODULES), layout=LAYOUTS)
def test_layout_in_memory_changes_nothing(name: str, layout: Callable[[Tensor], Tensor]) -> None:
    inputs, *modalities = make_rows(name)
    other = layout(inputs)
    module, twin = make_module(name), make_module(name)
    outputs = tensors_of(module(other, *modalities))
    expected = tensors_of(twin(other.clone(memory_format=torch.contiguous_format), *modalities))
    torch.testing.assert_close(outputs, expected, rtol=1e-4, atol=1e-5)


# The layers of a branch are the user's own.
@combined(name=[name for name in MODULES if name != "branches"], kind=[torch.float16, torch.bfloat16])
def test_half_precision_rows_meet_float32_parameters(name: str, kind: torch.dtype) -> None:
    module, (inputs, *modalities) = make_module(name).eval(), make_rows(name)
    half = inputs.to(kind).requires_grad_()
    outputs, expected = tensors_of(module(half, *modalities)), tensors_of(module(half.detach().float(), *modalities))
    eps = torch.finfo(kind).eps
    for found, right in zip(outputs, expected, strict=True):
        torch.testing.assert_close(found.float(), right, rtol=2 * eps, atol=2 * eps)
    (gradient,) = torch.autograd.grad(cubes(outputs), half)
    assert gradient.dtype == kind
    assert gradient.isfinite().all()


@every_module
def test_module_in_half_precision_takes_rows_in_half_precision(name: str) -> None:
    module, (inputs, *modalities) = make_module(name).eval().half(), make_rows(name)
    assert all(part.isfinite().all() for part in tensors_of(module(inputs.half(), *modalities)))


@every_module
def test_row_that_is_not_finite_stays_alone_in_evaluation(name: str) -> None:
    module, (inputs, *modalities) = make_module(name).eval(), make_rows(name)
    expected = tensors_of(module(inputs, *modalities))
    spoilt = inputs.clone()
    spoilt[2] = torch.nan
    others = torch.arange(len(inputs)) != 2
    for found, right in zip(tensors_of(module(spoilt, *modalities)), expected, strict=True):
        assert found[2].isnan().all()
        torch.testing.assert_close(found[others], right[others], rtol=1e-5, atol=1e-6)


@every_module
def test_rows_of_a_frozen_module_get_their_gradient_and_nothing_in_it_moves(name: str) -> None:
    module, (inputs, *modalities) = make_module(name), make_rows(name)
    module(inputs, *modalities)
    frozen = module.eval().requires_grad_(False)
    before = state_of(frozen)
    inputs.requires_grad_()
    torch.autograd.backward(cubes(tensors_of(frozen(inputs, *modalities))))
    assert inputs.grad is not None
    assert inputs.grad.any()
    assert not changed(before, state_of(frozen))
    assert all(parameter.grad is None for parameter in frozen.parameters())


@every_module
def test_conversion_to_synchronised_layers_finds_the_shared_normalisations_and_keeps_the_rest(name: str) -> None:
    module, given = make_module(name), make_rows(name)
    module(*given)
    expected, parameters, state = tensors_of(module.eval()(*given)), list(module.parameters()), state_of(module)
    learns = [parameter.requires_grad for parameter in parameters]
    converted = nn.SyncBatchNorm.convert_sync_batchnorm(module)
    assert any(isinstance(part, nn.SyncBatchNorm) for part in converted.modules()) == (name in NORMALIZED)
    # the same parameters, which an optimiser may hold already, under the same names
    assert all(old is new for old, new in zip(parameters, converted.parameters(), strict=True))
    assert [parameter.requires_grad for parameter in converted.parameters()] == learns
    assert not changed(state, state_of(converted))
    torch.testing.assert_close(tensors_of(converted.eval()(*given)), expected)


@every_module
def test_deep_copy_and_state_give_the_same_module(name: str) -> None:
    module, given = make_module(name), make_rows(name)
    module(*given)
    fresh = MODULES[name].make()
    fresh.load_state_dict(module.state_dict())
    expected = tensors_of(module.eval()(*given))
    for other in (copy.deepcopy(module), fresh):
        assert all(torch.equal(*pair) for pair in zip(tensors_of(other.eval()(*given)), expected, strict=True))


# A branch has the counts of its rows read.
@pytest.mark.parametrize("name", [name for name in MODULES if name != "branches"])
@pytest.mark.parametrize("training", [True, False])
def test_nothing_waits_for_the_device(name: str, training: bool) -> None:
    # on the meta device there are no values: reading one raises
    module, given = make_module(name).train(training), make_rows(name)
    shapes = [part.shape for part in tensors_of(module(*given))]
    assert [part.shape for part in tensors_of(module.to("meta")(*(part.to("meta") for part in given)))] == shapes


# The others compile in the tests of their own files.
COMPILED = ["neck", "non-local", "non-local, softmax", "gate", "reversal", "discriminator, maps"]


@pytest.mark.slow
@pytest.mark.parametrize("name", COMPILED)
def test_compiled_gives_the_same_values_and_gradients(name: str) -> None:
    torch.compiler.reset()
    module = make_module(name).double()
    compiled = torch.compile(copy.deepcopy(module), fullgraph=True, backend="aot_eager")
    results = []
    for call in (module, compiled):
        inputs = make_rows(name)[0].double().requires_grad_()
        outputs = call(inputs)
        results.append([outputs, *torch.autograd.grad(outputs.pow(3).sum(), inputs)])
    torch.testing.assert_close(results[1], results[0], rtol=1e-9, atol=1e-10)

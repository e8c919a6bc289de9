"""Tests of the batch normalisation with private statistics, against separate layers of PyTorch."""

import pytest
import torch
from torch import Tensor, nn

from modinv.modules import PerModalityBatchNorm

MODALITIES = torch.tensor([0, 1, 1, 0, 2, 1, 2, 0, 1, 2, 2, 2])
SHAPES = [(12, 5), (12, 5, 4, 3)]


def make_inputs(*shape: int) -> Tensor:
    generator = torch.Generator().manual_seed(sum(shape))
    return torch.randn(shape, generator=generator, dtype=torch.float64) * 3 + 7


def make_pair(maps: bool) -> tuple[PerModalityBatchNorm, list[nn.BatchNorm1d | nn.BatchNorm2d]]:
    """Our layer, and one layer of PyTorch for each modality, with the same parameters."""
    ours = PerModalityBatchNorm(5, num_modalities=3, eps=1e-3, momentum=0.3).double()
    theirs: list[nn.BatchNorm1d | nn.BatchNorm2d] = []
    assert ours.weight is not None
    assert ours.bias is not None
    for modality in range(3):
        layer = nn.BatchNorm2d if maps else nn.BatchNorm1d
        theirs.append(layer(5, eps=1e-3, momentum=0.3).double())
        with torch.no_grad():
            theirs[-1].weight.copy_(torch.linspace(0.5, 2.0 + modality, 5))
            theirs[-1].bias.copy_(torch.linspace(-1.0, modality, 5))
            ours.weight[modality] = theirs[-1].weight
            ours.bias[modality] = theirs[-1].bias
    return ours, theirs


def assert_close(first: object, second: object) -> None:
    torch.testing.assert_close(first, second, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("shape", SHAPES)
def test_each_row_equals_a_separate_layer_on_the_rows_of_its_modality(shape: tuple[int, ...]) -> None:
    ours, theirs = make_pair(len(shape) == 4)
    inputs = make_inputs(*shape)
    outputs = ours(inputs, MODALITIES)
    for modality, layer in enumerate(theirs):
        rows = [row for row in range(12) if MODALITIES[row] == modality]
        assert_close(outputs[rows], layer(inputs[rows]))


@pytest.mark.parametrize("shape", SHAPES)
def test_running_statistics_equal_those_of_separate_layers_over_several_batches(
    shape: tuple[int, ...],
) -> None:
    ours, theirs = make_pair(len(shape) == 4)
    for step in range(3):
        inputs = make_inputs(*shape) * (step + 1) - step
        ours(inputs, MODALITIES)
        for modality, layer in enumerate(theirs):
            layer(inputs[modality == MODALITIES])
    for modality, layer in enumerate(theirs):
        assert_close(ours.running_mean[modality], layer.running_mean)
        assert_close(ours.running_variance[modality], layer.running_var)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("shape", SHAPES)
def test_gradients_equal_those_of_separate_layers(shape: tuple[int, ...], training: bool) -> None:
    ours, theirs = make_pair(len(shape) == 4)
    ours.train(training)
    inputs = make_inputs(*shape).requires_grad_()
    upstream = make_inputs(*shape).cos()
    ours(inputs, MODALITIES).backward(upstream)
    separate = inputs.detach().clone().requires_grad_()
    for modality, layer in enumerate(theirs):
        layer.train(training)
        rows = modality == MODALITIES
        layer(separate[rows]).backward(upstream[rows])
        assert ours.weight is not None
        assert ours.weight.grad is not None
        assert ours.bias is not None
        assert ours.bias.grad is not None
        assert_close(ours.weight.grad[modality], layer.weight.grad)
        assert_close(ours.bias.grad[modality], layer.bias.grad)
    assert_close(inputs.grad, separate.grad)


def test_gradient_passes_gradcheck() -> None:
    normalize = PerModalityBatchNorm(3).double()
    modalities = torch.tensor([1, 0, 0, 1, 1, 0])
    inputs = make_inputs(6, 3).requires_grad_()
    assert torch.autograd.gradcheck(lambda rows: normalize(rows, modalities), (inputs,))


def test_row_order_does_not_matter() -> None:
    normalize = PerModalityBatchNorm(5, num_modalities=3).double()
    inputs = make_inputs(12, 5)
    order = torch.randperm(12, generator=torch.Generator().manual_seed(0))
    assert_close(normalize(inputs[order], MODALITIES[order]), normalize(inputs, MODALITIES)[order])


def test_rows_of_another_modality_do_not_matter() -> None:
    normalize = PerModalityBatchNorm(5, num_modalities=3).double()
    inputs = make_inputs(12, 5)
    changed = torch.where(MODALITIES[:, None] == 1, inputs * 100 + 5, inputs)
    same = MODALITIES != 1
    assert_close(normalize(changed, MODALITIES)[same], normalize(inputs, MODALITIES)[same])


def test_rows_that_are_not_finite_stay_in_their_modality() -> None:
    normalize = PerModalityBatchNorm(5, num_modalities=3).double()
    inputs = make_inputs(12, 5)
    inputs[MODALITIES == 1] = torch.nan
    inputs.requires_grad_()
    normalize(inputs, MODALITIES)[MODALITIES != 1].square().sum().backward()
    assert inputs.grad is not None
    assert inputs.grad[MODALITIES != 1].isfinite().all()
    assert normalize.running_mean[[0, 2]].isfinite().all()


def test_statistics_of_an_absent_modality_stay() -> None:
    normalize = PerModalityBatchNorm(5, num_modalities=3).double()
    normalize(make_inputs(12, 5), MODALITIES)
    before = normalize.running_mean.clone(), normalize.running_variance.clone()
    normalize(make_inputs(4, 5), torch.tensor([0, 2, 2, 0]))
    for old, new in zip(before, (normalize.running_mean, normalize.running_variance), strict=True):
        assert torch.equal(old[1], new[1])
        assert not torch.equal(old[0], new[0])


def test_a_single_row_in_training_uses_the_running_statistics_and_leaves_them() -> None:
    normalize = PerModalityBatchNorm(5).double()
    normalize(make_inputs(12, 5), torch.tensor([0, 1] * 6))
    before = normalize.running_mean.clone(), normalize.running_variance.clone()
    row = make_inputs(1, 5) - 4
    outputs = normalize(torch.cat([make_inputs(3, 5), row]), torch.tensor([0, 0, 0, 1]))
    assert_close(outputs[3], (row[0] - before[0][1]) / (before[1][1] + 1e-5).sqrt())
    assert torch.equal(normalize.running_mean[1], before[0][1])
    assert torch.equal(normalize.running_variance[1], before[1][1])


def test_a_single_map_in_training_has_statistics_of_its_own() -> None:
    outputs = PerModalityBatchNorm(5).double()(make_inputs(1, 5, 4, 3), torch.tensor([1]))
    assert_close(outputs, nn.BatchNorm2d(5).double()(make_inputs(1, 5, 4, 3)))


def test_one_row_in_evaluation_uses_the_running_statistics() -> None:
    normalize = PerModalityBatchNorm(5).double()
    normalize(make_inputs(12, 5), torch.tensor([0, 1] * 6))
    row = make_inputs(1, 5)
    expected = (row - normalize.running_mean[1]) / (normalize.running_variance[1] + 1e-5).sqrt()
    assert_close(normalize.eval()(row, torch.tensor([1])), expected)


@pytest.mark.parametrize("training", [True, False])
def test_an_empty_batch_gives_an_empty_batch(training: bool) -> None:
    normalize = PerModalityBatchNorm(5).train(training)
    assert normalize(torch.zeros(0, 5), torch.zeros(0, dtype=torch.int64)).shape == (0, 5)
    assert torch.equal(normalize.running_mean, torch.zeros(2, 5))


@pytest.mark.parametrize("eps", [1e-25, 1e-5])
def test_identical_rows_give_zero_and_a_finite_gradient(eps: float) -> None:
    inputs = torch.full((6, 5), 3.0, requires_grad=True)
    outputs = PerModalityBatchNorm(5, eps=eps)(inputs, torch.tensor([0, 1] * 3))
    outputs.square().sum().backward()
    assert torch.equal(outputs, torch.zeros(6, 5))
    assert inputs.grad is not None
    assert inputs.grad.isfinite().all()


def test_conversion_to_synchronised_layers_leaves_private_statistics_alone() -> None:
    converted = nn.SyncBatchNorm.convert_sync_batchnorm(nn.Sequential(PerModalityBatchNorm(5)))
    assert type(converted[0]) is PerModalityBatchNorm


def test_a_common_offset_does_not_cost_precision() -> None:
    inputs = make_inputs(12, 5)
    modalities = torch.tensor([0, 1] * 6)
    exact = PerModalityBatchNorm(5).double()(inputs, modalities)
    shifted = PerModalityBatchNorm(5)((inputs + 1e4).float(), modalities)
    torch.testing.assert_close(shifted.double(), exact, rtol=0, atol=2e-3)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_input_has_statistics_in_float32(dtype: torch.dtype) -> None:
    inputs = (make_inputs(12, 5) * 100).to(dtype)  # squares of these overflow float16
    modalities = torch.tensor([0, 1] * 6)
    half, single = PerModalityBatchNorm(5), PerModalityBatchNorm(5)
    outputs = half(inputs, modalities)
    assert outputs.dtype == dtype
    assert torch.equal(outputs, single(inputs.float(), modalities).to(dtype))
    assert torch.equal(half.running_variance, single.running_variance)


@pytest.mark.slow
@pytest.mark.parametrize("training", [True, False])
def test_compiled_gives_the_same_values_gradients_and_statistics_for_any_batch(training: bool) -> None:
    plain = PerModalityBatchNorm(5).double().train(training)
    copy = PerModalityBatchNorm(5).double().train(training)
    compiled = torch.compile(copy, fullgraph=True, dynamic=True, backend="aot_eager")
    for modalities in (torch.tensor([0, 1, 1, 0, 1]), torch.tensor([1, 1, 1]), torch.tensor([0, 1, 0, 0])):
        ours = make_inputs(len(modalities), 5).requires_grad_()
        theirs = make_inputs(len(modalities), 5).requires_grad_()
        torch.autograd.backward(plain(ours, modalities).pow(3).sum())
        torch.autograd.backward(compiled(theirs, modalities).pow(3).sum())
        assert_close(theirs.grad, ours.grad)
    for name, value in plain.state_dict().items():
        assert_close(copy.state_dict()[name], value)


def test_nothing_waits_for_the_device() -> None:
    # on the meta device there are no values: reading one raises
    normalize = PerModalityBatchNorm(5).to("meta")
    outputs = normalize(torch.ones(4, 5, device="meta"), torch.ones(4, dtype=torch.int64, device="meta"))
    assert outputs.shape == (4, 5)


def test_autocast_changes_nothing() -> None:
    inputs, modalities = make_inputs(12, 5).float(), torch.tensor([0, 1] * 6)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = PerModalityBatchNorm(5)(inputs, modalities)
    assert torch.equal(mixed, PerModalityBatchNorm(5)(inputs, modalities))


def test_each_option_changes_the_result() -> None:
    inputs, modalities = make_inputs(12, 5), torch.tensor([0, 1] * 6)
    default, momentum = PerModalityBatchNorm(5).double(), PerModalityBatchNorm(5, momentum=0.5).double()
    outputs = default(inputs, modalities)
    momentum(inputs, modalities)
    assert not torch.allclose(default.running_mean, momentum.running_mean)
    assert not torch.allclose(outputs, PerModalityBatchNorm(5, eps=1.0).double()(inputs, modalities))
    assert not list(PerModalityBatchNorm(5, affine=False).parameters())
    assert_close(outputs, PerModalityBatchNorm(5, affine=False).double()(inputs, modalities))


def test_repr_shows_the_options() -> None:
    layer = PerModalityBatchNorm(5, num_modalities=3, eps=0.1, momentum=0.2, affine=False)
    expected = "PerModalityBatchNorm(5, num_modalities=3, eps=0.1, momentum=0.2, affine=False)"
    assert repr(layer) == expected


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"eps": 0.0}, ValueError, "eps must be .*got 0"),
        ({"eps": 1e-30}, ValueError, r"eps must be .*\[1e-25, 1e\+38\], got 1e-30"),
        ({"eps": 1e39}, ValueError, "eps must be .*got 1e"),
        ({"eps": float("nan")}, ValueError, "eps must be .*got nan"),
        ({"momentum": 1.5}, ValueError, "momentum must be .*got 1.5"),
        ({"momentum": None}, TypeError, "momentum must be .*got None"),
        ({"num_modalities": 0}, ValueError, "num_modalities must be .*got 0"),
        ({"affine": "no"}, TypeError, "affine must be True or False, got 'no'"),
    ],
)
def test_a_wrong_option_is_refused(options: dict[str, float], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        PerModalityBatchNorm(5, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("inputs", "modalities", "error", "message"),
    [
        (torch.ones(2, 4), torch.tensor([0, 1]), ValueError, "5 features .*got 4"),
        (
            torch.ones(2, 5, 3),
            torch.tensor([0, 1]),
            ValueError,
            r"\(N, D\) or \(N, C, H, W\).*got \(2, 5, 3\)",
        ),
        (
            torch.ones(2, 5, dtype=torch.int64),
            torch.tensor([0, 1]),
            TypeError,
            "floating tensor .*got torch.int64",
        ),
        (torch.ones(2, 5), torch.tensor([0]), ValueError, r"modalities must .*\(1,\)"),
        (torch.ones(2, 5), torch.tensor([0.0, 1.0]), TypeError, "modalities must .*float32"),
        (torch.ones(2, 5), [0, 1], TypeError, "modalities must .*list"),
        (torch.ones(2, 5), torch.tensor([0, 2]), ValueError, "modalities must .* 0 to 1.* 2"),
        (torch.ones(2, 5), torch.tensor([0, -1]), ValueError, "modalities must .* 0 to 1.* -1"),
    ],
)
def test_a_malformed_batch_is_refused(inputs: Tensor, modalities: Tensor, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        PerModalityBatchNorm(5)(inputs, modalities)


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(9, 4), (6, 4, 3, 2)])
def test_compiled_layer_in_training_has_the_values_gradients_and_statistics_of_the_eager_one(
    shape: tuple[int, ...],
) -> None:
    torch.compiler.reset()
    generator = torch.Generator().manual_seed(0)
    inputs, weights = torch.randn(shape, generator=generator), torch.randn(shape, generator=generator)
    modalities = torch.arange(shape[0]) % 2
    found = []
    for compile_it in (False, True):
        layer = PerModalityBatchNorm(shape[1])
        rows = inputs.clone().requires_grad_()
        values = (torch.compile(layer, fullgraph=True) if compile_it else layer)(rows, modalities)
        (values * weights).sum().backward()
        assert layer.weight is not None
        found.append([values, rows.grad, layer.weight.grad, layer.running_mean, layer.running_variance])
    for compiled, eager in zip(found[1], found[0], strict=True):
        torch.testing.assert_close(compiled, eager, rtol=1e-5, atol=1e-5)

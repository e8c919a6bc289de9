"""Tests of the private residual branches, against separate layers of PyTorch for each modality."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from modinv.modules import IntraModalityEnhancer

MODALITIES = torch.tensor([0, 1, 1, 0, 2, 1, 2, 0, 1, 2])
SHAPES = [(10, 6), (10, 6, 3, 2)]


def make_features(*shape: int) -> Tensor:
    generator = torch.Generator().manual_seed(sum(shape))
    return torch.randn(shape, generator=generator, dtype=torch.float64) * 2 + 1


def make_enhancer(num_modalities: int = 3, num_classes: int | None = 4) -> IntraModalityEnhancer:
    """An enhancer whose branches do something: the last scale starts at zero."""
    torch.manual_seed(0)
    enhance = IntraModalityEnhancer(
        6, num_modalities=num_modalities, num_classes=num_classes, hidden_features=5
    ).double()
    for name, parameter in enhance.named_parameters():
        if "norm" in name:
            nn.init.normal_(parameter)
    return enhance


def separate_branch(state: dict[str, Tensor], modality: int, maps: bool) -> nn.Sequential:
    """The bottleneck of one modality in PyTorch's layers."""
    layers: list[nn.Module] = []
    for linear, norm in (("reduce", "reduce_norm"), ("expand", "expand_norm")):
        weight = state[f"branch.{linear}.weight"][modality]
        outputs, inputs = weight.shape
        convolution, normalization = (
            (nn.Conv2d(inputs, outputs, 1, bias=False), nn.BatchNorm2d(outputs))
            if maps
            else (nn.Linear(inputs, outputs, bias=False), nn.BatchNorm1d(outputs))
        )
        with torch.no_grad():
            convolution.double().weight.copy_(weight.reshape(convolution.weight.shape))
            normalization.double().weight.copy_(state[f"branch.{norm}.weight"][modality])
            normalization.bias.copy_(state[f"branch.{norm}.bias"][modality])
        layers += [convolution, normalization, nn.ReLU()]
    return nn.Sequential(*layers[:-1])


@pytest.mark.parametrize("shape", SHAPES)
def test_each_row_gets_the_correction_and_the_scores_of_its_own_branch(shape: tuple[int, ...]) -> None:
    enhance = make_enhancer()
    state = {name: value.clone() for name, value in enhance.state_dict().items()}
    inputs = make_features(*shape)
    features, logits = enhance(inputs, MODALITIES)
    for modality in range(3):
        rows = [row for row in range(10) if MODALITIES[row] == modality]
        expected = inputs[rows] + separate_branch(state, modality, len(shape) == 4)(inputs[rows])
        torch.testing.assert_close(features[rows], expected, rtol=1e-12, atol=1e-12)
        vectors = expected.mean((2, 3)) if len(shape) == 4 else expected
        scores = vectors @ state["classifier.weight"][modality].T
        torch.testing.assert_close(logits[rows], scores, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("shape", SHAPES)
def test_an_untrained_enhancer_changes_nothing(shape: tuple[int, ...]) -> None:
    enhance = IntraModalityEnhancer(6, num_modalities=3, hidden_features=2).double()
    inputs = make_features(*shape)
    assert torch.equal(enhance(inputs, MODALITIES).features, inputs)


def test_an_untrained_enhancer_can_learn() -> None:
    enhance = IntraModalityEnhancer(6, num_modalities=3, hidden_features=2).double()
    torch.autograd.backward(enhance(make_features(10, 6), MODALITIES).features.pow(3).sum())
    scale = dict(enhance.named_parameters())["branch.expand_norm.weight"]
    assert scale.grad is not None
    assert (scale.grad != 0).all()


@pytest.mark.parametrize("shape", [(6, 6), (6, 6, 1, 2)])
def test_gradients_pass_gradcheck(shape: tuple[int, ...]) -> None:
    enhance = make_enhancer(num_modalities=2)
    modalities = torch.tensor([0, 1, 1, 0, 1, 0])
    inputs = make_features(*shape).requires_grad_()
    assert torch.autograd.gradcheck(lambda rows: tuple(enhance(rows, modalities)), (inputs,))


@pytest.mark.parametrize("own", [False, True])
def test_gradient_of_visible_rows_does_not_touch_infrared_parameters(own: bool) -> None:
    enhance = (
        IntraModalityEnhancer(6, num_classes=4, branch=lambda: nn.Linear(6, 6)).double()
        if own
        else make_enhancer(num_modalities=2)
    )
    output = enhance(make_features(6, 6), torch.tensor([0, 1, 1, 0, 1, 0]))
    visible = [0, 3, 5]
    torch.autograd.backward(output.features[visible].pow(3).sum() + output.logits[visible].pow(2).sum())
    for name, parameter in enhance.named_parameters():
        if own and name.startswith("branch"):
            gradient, infrared = parameter.grad, ".branches.1." in name
            assert (gradient is not None and bool(gradient.any())) is not infrared, name
        else:
            assert parameter.grad is not None
            assert parameter.grad[0].any(), name
            assert not parameter.grad[1].any(), name


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("broken", [torch.nan, torch.inf, 1e308])
def test_what_is_not_finite_in_a_visible_row_stays_out_of_the_infrared_branch(
    broken: float, shape: tuple[int, ...]
) -> None:
    enhance = make_enhancer()
    inputs = make_features(*shape)
    inputs[0, 0] = broken
    inputs.requires_grad_()
    output = enhance(inputs, MODALITIES)
    other = MODALITIES > 0
    torch.autograd.backward(output.features[other].pow(3).sum() + output.logits[other].pow(2).sum())
    assert inputs.grad is not None
    assert inputs.grad[other].isfinite().all()
    for name, parameter in enhance.named_parameters():
        assert parameter.grad is not None
        assert parameter.grad[1:].isfinite().all(), name


def test_parameters_of_a_lost_branch_stay_out_of_the_others() -> None:
    enhance = make_enhancer()
    with torch.no_grad():
        for parameter in enhance.parameters():
            parameter[0] = torch.nan
    inputs = make_features(10, 6).requires_grad_()
    output = enhance(inputs, MODALITIES)
    other = MODALITIES > 0
    assert output.features[other].isfinite().all()
    torch.autograd.backward(output.features[other].pow(3).sum() + output.logits[other].pow(2).sum())
    assert inputs.grad is not None
    assert inputs.grad[other].isfinite().all()


@pytest.mark.parametrize("shape", SHAPES)
def test_visible_rows_do_not_see_infrared_ones(shape: tuple[int, ...]) -> None:
    enhance = make_enhancer()
    inputs = make_features(*shape)
    infrared = (MODALITIES == 1).reshape(-1, *(1,) * (len(shape) - 1))
    changed = enhance(torch.where(infrared, inputs * 9 - 4, inputs), MODALITIES)
    same = MODALITIES != 1
    for found, expected in zip(changed, enhance(inputs, MODALITIES), strict=True):
        torch.testing.assert_close(found[same], expected[same], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("shape", SHAPES)
def test_row_order_does_not_matter(shape: tuple[int, ...]) -> None:
    enhance = make_enhancer()
    inputs, order = make_features(*shape), torch.tensor([7, 3, 9, 0, 2, 1, 8, 4, 6, 5])
    shuffled = enhance(inputs[order], MODALITIES[order])
    for found, expected in zip(shuffled, enhance(inputs, MODALITIES), strict=True):
        torch.testing.assert_close(found, expected[order], rtol=1e-12, atol=1e-12)


def test_one_modality_alone_equals_its_rows_of_a_mixed_batch() -> None:
    enhance = make_enhancer()
    inputs = make_features(10, 6)
    rows = MODALITIES == 2
    alone = enhance(inputs[rows], MODALITIES[rows])
    for found, mixed in zip(alone, enhance(inputs, MODALITIES), strict=True):
        torch.testing.assert_close(found, mixed[rows], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("shape", SHAPES)
def test_one_row_in_evaluation_equals_its_row_of_the_batch(shape: tuple[int, ...]) -> None:
    enhance = make_enhancer()
    inputs = make_features(*shape)
    enhance(inputs, MODALITIES)
    enhance.eval()
    for found, mixed in zip(enhance(inputs[4:5], MODALITIES[4:5]), enhance(inputs, MODALITIES), strict=True):
        torch.testing.assert_close(found, mixed[4:5], rtol=1e-12, atol=1e-12)


def test_the_users_own_branch_is_added_to_its_rows() -> None:
    enhance = IntraModalityEnhancer(6, num_modalities=3, branch=lambda: nn.Linear(6, 6)).double()
    assert enhance.branch is not None
    branches = enhance.branch.get_submodule("branches")
    assert isinstance(branches, nn.ModuleList)
    inputs = make_features(10, 6)
    features = enhance(inputs, MODALITIES).features
    for row in range(10):
        expected = inputs[row] + branches[int(MODALITIES[row])](inputs[row])
        torch.testing.assert_close(features[row], expected, rtol=1e-12, atol=1e-12)


def test_hidden_features_are_the_width_of_the_bottleneck() -> None:
    state = IntraModalityEnhancer(12, hidden_features=7).state_dict()
    assert state["branch.reduce_norm.weight"].shape == (2, 7)


@pytest.mark.parametrize("shape", SHAPES)
def test_by_default_features_pass_to_the_private_classifiers(shape: tuple[int, ...]) -> None:
    enhance, inputs = IntraModalityEnhancer(6, num_modalities=3, num_classes=4).double(), make_features(*shape)
    features, logits = enhance(inputs, MODALITIES)
    assert features is inputs
    assert list(enhance.state_dict()) == ["classifier.weight"]
    vectors = inputs.mean((2, 3)) if len(shape) == 4 else inputs
    for row, modality in enumerate(MODALITIES):
        torch.testing.assert_close(logits[row], enhance.state_dict()["classifier.weight"][modality] @ vectors[row])


@pytest.mark.parametrize("shape", SHAPES)
def test_cross_logits_are_those_of_the_next_modality(shape: tuple[int, ...]) -> None:
    enhance, inputs = make_enhancer(), make_features(*shape)
    vectors = inputs.mean((2, 3)) if len(shape) == 4 else inputs
    crossed = enhance.cross_logits(inputs, MODALITIES)
    for row, modality in enumerate(MODALITIES):
        expected = enhance.state_dict()["classifier.weight"][(modality + 1) % 3] @ vectors[row]
        torch.testing.assert_close(crossed[row], expected, rtol=1e-12, atol=1e-12)


def test_cross_logits_teach_the_features_and_not_the_classifiers() -> None:
    enhance, inputs = make_enhancer(), make_features(10, 6).requires_grad_()
    torch.autograd.backward(enhance.cross_logits(inputs, MODALITIES).square().sum())
    assert inputs.grad is not None
    assert inputs.grad.any(1).all()
    assert all(parameter.grad is None for parameter in enhance.parameters())


def test_cross_logits_need_classifiers_and_a_batch_that_fits() -> None:
    with pytest.raises(ValueError, match="needs the private classifiers: give num_classes"):
        IntraModalityEnhancer(6).cross_logits(torch.ones(2, 6), torch.tensor([0, 1]))
    with pytest.raises(ValueError, match=r"6 features per row.*got 5"):
        make_enhancer().cross_logits(torch.ones(2, 5), torch.tensor([0, 1]))
    with pytest.raises(ValueError, match=r"modalities must .* 0 to 2"):
        make_enhancer().cross_logits(torch.ones(2, 6), torch.tensor([0, 3]))


def test_without_classes_there_are_no_logits() -> None:
    enhance = IntraModalityEnhancer(6)
    assert enhance(torch.ones(2, 6), torch.tensor([0, 1])).logits is None
    assert not [name for name in enhance.state_dict() if "classifier" in name]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_input_equals_the_same_input_in_float32(dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    enhance = make_enhancer().float()
    inputs = make_features(*shape).to(dtype).requires_grad_()
    output, expected = enhance(inputs, MODALITIES), enhance(inputs.detach().float(), MODALITIES)
    assert output.features.dtype == dtype
    tolerance = 4 * torch.finfo(dtype).eps
    torch.testing.assert_close(output.features.float(), expected.features, rtol=tolerance, atol=tolerance)
    torch.autograd.backward(output.features.float().pow(2).sum())
    assert inputs.grad is not None
    assert inputs.grad.dtype == dtype
    assert inputs.grad.isfinite().all()


@pytest.mark.parametrize("shape", SHAPES)
def test_autocast_stays_close_to_float32(shape: tuple[int, ...]) -> None:
    enhance = make_enhancer().float()
    inputs = make_features(*shape).float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = enhance(inputs, MODALITIES)
    assert mixed.features.dtype == torch.float32
    torch.testing.assert_close(mixed.features, enhance(inputs, MODALITIES).features, rtol=0, atol=0.1)


@pytest.mark.slow
@pytest.mark.parametrize("shape", SHAPES)
def test_compiled_gives_the_same_values_and_gradients(shape: tuple[int, ...]) -> None:
    plain, traced = make_enhancer(), make_enhancer()
    compiled = torch.compile(traced, fullgraph=True, backend="aot_eager")
    inputs = make_features(*shape)
    expected, found = plain(inputs, MODALITIES), compiled(inputs, MODALITIES)
    torch.testing.assert_close(tuple(found), tuple(expected), rtol=1e-12, atol=1e-12)
    torch.autograd.backward(expected.features.pow(3).sum() + expected.logits.pow(2).sum())
    torch.autograd.backward(found.features.pow(3).sum() + found.logits.pow(2).sum())
    for ours, theirs in zip(plain.parameters(), traced.parameters(), strict=True):
        torch.testing.assert_close(theirs.grad, ours.grad, rtol=1e-11, atol=1e-11)


@pytest.mark.slow
@pytest.mark.parametrize("shape", SHAPES)
def test_compiled_cross_logits_are_those_of_eager(shape: tuple[int, ...]) -> None:
    enhance, inputs = make_enhancer(), make_features(*shape)
    compiled = torch.compile(enhance.cross_logits, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(inputs, MODALITIES), enhance.cross_logits(inputs, MODALITIES))


def test_nothing_waits_for_the_device() -> None:
    # on the meta device there are no values: reading one raises
    enhance = make_enhancer().to("meta")
    batch = make_features(10, 6).to("meta"), MODALITIES.to("meta")
    assert enhance(*batch).logits.shape == enhance.cross_logits(*batch).shape == (10, 4)


def test_state_survives_safetensors_and_resumes_to_the_bit(tmp_path: Path) -> None:
    enhance, other = (
        make_enhancer(),
        IntraModalityEnhancer(6, num_modalities=3, num_classes=4, hidden_features=5).double(),
    )
    inputs = make_features(10, 6)
    enhance(inputs, MODALITIES)
    save_file(enhance.state_dict(), tmp_path / "enhancer.safetensors")
    other.load_state_dict(load_file(tmp_path / "enhancer.safetensors"))
    for found, expected in zip(other(inputs, MODALITIES), enhance(inputs, MODALITIES), strict=True):
        assert torch.equal(found, expected)


def test_repr_shows_the_options() -> None:
    shown = repr(IntraModalityEnhancer(6, num_classes=4, hidden_features=5))
    assert "6, num_modalities=2, num_classes=4" in shown
    assert "num_modalities=2, out_features=5, in_features=6" in shown


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"num_modalities": 0}, ValueError, "num_modalities must be at least 1, got 0"),
        ({"num_classes": 0}, ValueError, "num_classes must be at least 1, got 0"),
        ({"hidden_features": 0}, ValueError, "hidden_features must be at least 1, got 0"),
        ({"hidden_features": 3, "branch": nn.Identity}, ValueError, "leave it out with branch"),
        ({"branch": nn.Linear(6, 6)}, TypeError, "branches is one Linear"),
        ({"branch": 3}, TypeError, "branches must be a function .*got 3"),
    ],
)
def test_a_wrong_option_is_refused(options: dict[str, int], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        IntraModalityEnhancer(6, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("features", "modalities", "error", "message"),
    [
        (torch.ones(2, 5), torch.tensor([0, 1]), ValueError, "6 features per row.*got 5"),
        (
            torch.ones(2, 6, 3),
            torch.tensor([0, 1]),
            ValueError,
            r"\(N, D\) or \(N, C, H, W\).*got \(2, 6, 3\)",
        ),
        (torch.ones(2, 6), torch.tensor([0, 3]), ValueError, r"modalities must .* 0 to 1"),
        (torch.ones(2, 6), torch.tensor([0]), ValueError, "modalities must "),
    ],
)
def test_a_malformed_batch_is_refused(
    features: Tensor, modalities: Tensor, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        IntraModalityEnhancer(6)(features, modalities)


def test_a_branch_that_changes_the_shape_is_refused() -> None:
    enhance = IntraModalityEnhancer(6, branch=lambda: nn.Linear(6, 3))
    with pytest.raises(ValueError, match=r"the branch must keep the shape \(2, 6\), got \(2, 3\)"):
        enhance(torch.ones(2, 6), torch.tensor([0, 1]))

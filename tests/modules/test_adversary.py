"""Tests of the gradient reversal and of the discriminator behind it."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from modinv.modules import GradientReversal, ModalityDiscriminator


def make_features(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)), dtype=torch.float64)


@pytest.mark.parametrize("scale", [0.0, 1.0, 0.3])
def test_reversal_keeps_values_to_the_bit_and_turns_the_gradient(scale: float) -> None:
    features = make_features(5, 3).requires_grad_()
    outputs = GradientReversal(scale)(features)
    assert torch.equal(outputs, features)
    weights = make_features(3)
    (gradient,) = torch.autograd.grad((outputs @ weights).sum(), features)
    torch.testing.assert_close(gradient, -scale * weights.expand(5, 3), rtol=1e-15, atol=0)


def test_scale_can_be_changed_between_steps() -> None:
    reverse, features = GradientReversal(), make_features(4).requires_grad_()
    for progress in (0.0, 0.5, 1.0):
        reverse.scale = 2 / (1 + math.exp(-10 * progress)) - 1
        (gradient,) = torch.autograd.grad(reverse(features).sum(), features)
        torch.testing.assert_close(gradient, torch.full_like(features, -reverse.scale))


@pytest.mark.parametrize("wrong", [-1.0, math.nan, math.inf])
def test_wrong_scale_is_refused_at_construction_and_at_the_next_call(wrong: float) -> None:
    with pytest.raises(ValueError, match="scale must be a finite number"):
        GradientReversal(wrong)
    reverse = GradientReversal()
    reverse.scale = wrong
    with pytest.raises(ValueError, match="scale must be a finite number"):
        reverse(make_features(3))


def test_second_derivative_is_turned_once_for_each_passage() -> None:
    features = make_features(3).requires_grad_()
    (gradient,) = torch.autograd.grad(GradientReversal(2.0)(features).pow(3).sum(), features, create_graph=True)
    torch.testing.assert_close(gradient, -6 * features.square())  # written with the reversed factor inside
    (second,) = torch.autograd.grad(gradient.sum(), features)
    torch.testing.assert_close(second, 2 * 2 * 6 * features)


def test_transforms_of_functions_turn_the_gradient_too() -> None:
    reverse, features = GradientReversal(2.0), make_features(3)
    ones = torch.ones_like(features)
    assert torch.equal(torch.func.grad(lambda rows: reverse(rows).sum())(features), -2 * ones)
    assert torch.equal(torch.func.vmap(reverse)(features), features)


@pytest.mark.slow
def test_exported_reversal_still_turns_the_gradient() -> None:
    exported = torch.export.export(GradientReversal(2.0), (torch.ones(3),)).module()
    features = torch.ones(3, requires_grad=True)
    assert torch.equal(torch.autograd.grad(exported(features).sum(), features)[0], torch.full((3,), -2.0))


def two_layers(discriminator: ModalityDiscriminator, vectors: Tensor) -> Tensor:
    return discriminator.classifier(torch.relu(discriminator.hidden(vectors)))


@pytest.mark.parametrize("shape", [(5, 6), (5, 6, 4, 3)])
def test_scores_are_those_of_two_layers_and_the_gradient_is_turned(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    discriminator = ModalityDiscriminator(6, num_modalities=3, hidden_features=4, scale=0.5).double()
    features = make_features(*shape).requires_grad_()
    scores = discriminator(features)
    expected = two_layers(discriminator, features.mean((2, 3)) if features.ndim == 4 else features)
    torch.testing.assert_close(scores, expected)
    found, plain = (torch.autograd.grad(value.pow(3).sum(), features)[0] for value in (scores, expected))
    torch.testing.assert_close(found, -0.5 * plain)


def test_own_parameters_get_the_gradient_that_is_not_turned() -> None:
    discriminator, features = ModalityDiscriminator(6).double(), make_features(8, 6)
    parameters = list(discriminator.parameters())
    found, expected = (
        torch.autograd.grad(functional.cross_entropy(scores, torch.arange(8) % 2), parameters)
        for scores in (discriminator(features), two_layers(discriminator, features))
    )
    torch.testing.assert_close(found, expected)


def test_one_optimiser_draws_the_modalities_together() -> None:
    """A shift that is learned against the discriminator takes away the gap that is there without it."""
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(0)
    modalities = torch.arange(200) % 2
    rows = torch.randn(200, 4, generator=generator) + 2.0 * modalities[:, None]
    shift = nn.Parameter(torch.zeros(4))
    discriminator = ModalityDiscriminator(4, hidden_features=8, scale=0.5)
    optimizer = torch.optim.Adam([shift, *discriminator.parameters()], lr=0.05)
    for _ in range(150):
        scores = discriminator(rows + shift * modalities[:, None])
        optimizer.zero_grad()
        torch.autograd.backward(functional.cross_entropy(scores, modalities))
        optimizer.step()
    assert float((shift.detach() + 2).norm()) < 1.5  # 4 at the start


def test_hidden_features_default_to_a_quarter() -> None:
    assert ModalityDiscriminator(16).hidden.weight.shape == (4, 16)
    assert ModalityDiscriminator(2).hidden.weight.shape == (1, 2)


def test_repr_shows_the_options() -> None:
    shown = repr(ModalityDiscriminator(16, num_modalities=3, scale=0.5))
    assert "16, num_modalities=3, hidden_features=4" in shown
    assert "GradientReversal(scale=0.5)" in shown


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"in_features": 0}, ValueError, "in_features must be at least 1, got 0"),
        ({"num_modalities": 0}, ValueError, "num_modalities must be at least 1, got 0"),
        ({"hidden_features": 1.5}, TypeError, "hidden_features must be .*got 1.5"),
        ({"scale": "1"}, TypeError, "scale must be a number .*got '1'"),
    ],
)
def test_wrong_option_is_refused(options: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        ModalityDiscriminator(**{"in_features": 6, **options})


def test_malformed_features_are_refused() -> None:
    with pytest.raises(ValueError, match=r"features must have the shape \(N, D\) or \(N, C, H, W\).*got \(6,\)"):
        ModalityDiscriminator(6)(torch.ones(6))
    with pytest.raises(TypeError, match=r"inputs must be a floating tensor of any shape, got torch\.int64"):
        GradientReversal()(torch.arange(3))

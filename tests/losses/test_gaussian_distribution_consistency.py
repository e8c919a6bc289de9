"""The distribution consistency loss against D x D formulas in float64."""

from collections.abc import Iterator
from itertools import product
from typing import Any, get_args

import pytest
import torch
from torch import Tensor

import modinv
from batches import make_batch
from modinv.divergences import Covariance, DivergenceName
from modinv.losses.gaussian_distribution_consistency import Level
from oracles import gaussian_consistency, singular_consistency
from quick import combined

BATCHES = {
    "fewer rows than features": ((5, 7), 20),
    "more rows than features": ((20, 25), 6),
    "one modality below, one above": ((30, 9), 20),
    "three modalities": ((4, 5, 6), 20),
    "three modalities, more rows": ((9, 12, 8), 5),
    "one row in a modality": ((6, 1), 12),
}
every_covariance = pytest.mark.parametrize("covariance", get_args(Covariance))


DIVERGENCES: tuple[DivergenceName, ...] = get_args(DivergenceName)
LEVELS: tuple[Level, ...] = get_args(Level)
INVERSE_FREE: tuple[DivergenceName, ...] = ("wasserstein", "moments")


def _options() -> Iterator[dict[str, Any]]:
    """Every combination of options that the loss accepts, with each kind of shrinkage."""
    for divergence, covariance, level in product(DIVERGENCES, get_args(Covariance), LEVELS):
        numbers = (0.0, 0.3) if divergence in INVERSE_FREE else (0.1, 1.0)
        names = ("oas", "ledoit_wolf") if covariance == "full" else ()
        for shrinkage in (*numbers, *names):
            yield {"divergence": divergence, "covariance": covariance, "level": level, "shrinkage": shrinkage}


OPTIONS = {"-".join(map(str, option.values())): option for option in _options()}


@combined(option=OPTIONS, shape=BATCHES)
def test_value_is_that_of_the_plain_formula(option: dict[str, Any], shape: tuple[tuple[int, ...], int]) -> None:
    batch = make_batch(shape[0], dimension=shape[1], identities=3)
    loss = modinv.GaussianDistributionConsistencyLoss(**option)
    plain = option["divergence"] == "wasserstein" and option["covariance"] == "full" and option["shrinkage"] == 0
    expected = singular_consistency(*batch, option["level"]) if plain else gaussian_consistency(*batch, **option)
    # Of two samples Ledoit and Wolf estimate the least shrinkage, and its inverse takes six digits of the reference.
    tolerance = 1e-9 if option["shrinkage"] == "ledoit_wolf" else 1e-10
    assert float(loss(*batch)) == pytest.approx(expected, rel=tolerance, abs=1e-13)
    if option["shrinkage"] != "ledoit_wolf":
        single = loss(batch.features.float(), *batch[1:])
        assert float(single) == pytest.approx(expected, rel=1e-5, abs=1e-7)


DIFFERENTIATED: list[tuple[DivergenceName, float]] = [
    *((divergence, shrinkage) for divergence in INVERSE_FREE for shrinkage in (0.0, 0.3)),
    *((divergence, 0.1) for divergence in DIVERGENCES if divergence not in INVERSE_FREE),
]


@combined(form=DIFFERENTIATED, covariance=get_args(Covariance), level=LEVELS)
def test_gradient_agrees_with_finite_differences(
    form: tuple[DivergenceName, float], covariance: Covariance, level: Level
) -> None:
    features, labels, modalities = make_batch((6, 5), dimension=7, identities=2, seed=3)
    loss = modinv.GaussianDistributionConsistencyLoss(
        divergence=form[0], covariance=covariance, level=level, shrinkage=form[1]
    )
    assert torch.autograd.gradcheck(
        lambda rows: loss(rows, labels, modalities), features.requires_grad_(), eps=1e-6, atol=1e-6, rtol=1e-5
    )


def dense_value(features: Tensor, modalities: Tensor, divergence: str, shrinkage: float) -> Tensor:
    """The D x D formula with its own autograd, for two modalities with invertible covariances."""
    means, covariances = [], []
    for modality in range(2):
        rows = features[modalities == modality]
        covariance = torch.cov(rows.T)
        mean_variance = covariance.trace() / len(covariance)
        means.append(rows.mean(0))
        covariances.append(
            (1 - shrinkage) * covariance + shrinkage * mean_variance * torch.eye(len(covariance)).double()
        )
    delta = means[0] - means[1]
    if divergence == "moments":
        moments: Tensor = (delta @ delta + (covariances[0] - covariances[1]).square().sum()) / len(delta)
        return moments
    if divergence == "jeffreys":
        normals = [torch.distributions.MultivariateNormal(m, c) for m, c in zip(means, covariances, strict=True)]
        both = [torch.distributions.kl_divergence(normals[a], normals[1 - a]) for a in range(2)]
        mean: Tensor = torch.stack(both).mean() / len(delta)
        return mean
    values, vectors = torch.linalg.eigh(covariances[0])
    root = vectors * values.sqrt() @ vectors.T
    cross = torch.linalg.eigvalsh(root @ covariances[1] @ root).sqrt().sum()
    value: Tensor = (delta @ delta + covariances[0].trace() + covariances[1].trace() - 2 * cross) / len(delta)
    return value


@pytest.mark.parametrize(
    ("divergence", "shrinkage", "dimension"),
    [
        # At fewer rows than features the dense Wasserstein formula has no gradient: eigh with repeated eigenvalues.
        ("wasserstein", 0.0, 9),
        ("wasserstein", 0.4, 9),
        ("jeffreys", 0.2, 9),
        ("jeffreys", 0.2, 40),
        ("moments", 0.3, 9),
        ("moments", 0.3, 40),
    ],
)
def test_gradient_is_that_of_the_dense_formula(divergence: DivergenceName, shrinkage: float, dimension: int) -> None:
    counts = (14, 11)
    features, labels, modalities = make_batch(counts, dimension=dimension)
    features.requires_grad_()
    loss = modinv.GaussianDistributionConsistencyLoss(divergence=divergence, shrinkage=shrinkage)
    (gradient,) = torch.autograd.grad(loss(features, labels, modalities), features)
    (expected,) = torch.autograd.grad(dense_value(features, modalities, divergence, shrinkage), features)
    torch.testing.assert_close(gradient, expected, rtol=1e-9, atol=1e-10 * float(expected.abs().max()))
    single = features.detach().float().requires_grad_()
    (gradient32,) = torch.autograd.grad(loss(single, labels, modalities), single)
    scale = float(expected.abs().max())
    torch.testing.assert_close(gradient32.double() / scale, expected / scale, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", get_args(DivergenceName))
@every_covariance
def test_terms_add_up_and_tell_means_from_covariances(name: DivergenceName, covariance: Covariance) -> None:
    features, labels, modalities = make_batch((8, 8), gap=0.0)
    loss = modinv.GaussianDistributionConsistencyLoss(divergence=name, covariance=covariance, shrinkage=0.5)
    terms = loss.terms(features, labels, modalities)
    torch.testing.assert_close(terms.total, terms.mean + terms.covariance)
    moved = loss.terms(features + 3.0 * modalities[:, None], labels, modalities)
    torch.testing.assert_close(moved.covariance, terms.covariance)
    assert moved.mean > terms.mean


@pytest.mark.parametrize("name", get_args(DivergenceName))
@every_covariance
def test_identical_modalities_are_zero_apart(name: DivergenceName, covariance: Covariance) -> None:
    features, labels, _ = make_batch((8, 8))
    loss = modinv.GaussianDistributionConsistencyLoss(divergence=name, covariance=covariance, shrinkage=0.5)
    twice = loss(features.repeat(2, 1), labels.repeat(2), torch.arange(32) // 16)
    assert abs(float(twice)) < 1e-12


def test_modality_without_rows_leaves_the_other_pairs() -> None:
    features, labels, modalities = make_batch((6, 7))
    loss = modinv.GaussianDistributionConsistencyLoss()
    expected = loss(features, labels, modalities)
    torch.testing.assert_close(loss(features, labels, 2 * modalities), expected)
    explicit = modinv.GaussianDistributionConsistencyLoss(num_modalities=5)
    torch.testing.assert_close(explicit(features, labels, modalities), expected)


def test_loss_with_a_mean_of_pairs_ignores_the_numbering_of_modalities() -> None:
    features, labels, modalities = make_batch((4, 5, 6))
    loss = modinv.GaussianDistributionConsistencyLoss(divergence="jeffreys", shrinkage=0.3)
    renumbered = torch.tensor([2, 0, 1])[modalities]
    torch.testing.assert_close(loss(features, labels, renumbered), loss(features, labels, modalities))


def test_wasserstein_scales_with_the_square_and_jeffreys_not_at_all() -> None:
    features, labels, modalities = make_batch()
    wasserstein = modinv.GaussianDistributionConsistencyLoss()
    jeffreys = modinv.GaussianDistributionConsistencyLoss(divergence="jeffreys", shrinkage=0.2)
    torch.testing.assert_close(
        wasserstein(3 * features, labels, modalities), 9 * wasserstein(features, labels, modalities)
    )
    torch.testing.assert_close(jeffreys(3 * features, labels, modalities), jeffreys(features, labels, modalities))


def test_each_option_changes_the_value() -> None:
    batch = make_batch((9, 8, 7), identities=3)
    forms: list[dict[str, Any]] = [
        *({"divergence": name, "shrinkage": 0.2} for name in DIVERGENCES),
        *({"covariance": name} for name in get_args(Covariance)),
        *({"level": name, "shrinkage": 0.1} for name in LEVELS),
        *({"shrinkage": shrinkage} for shrinkage in (0.3, "oas", "ledoit_wolf")),
    ]
    values = {round(float(modinv.GaussianDistributionConsistencyLoss(**form)(*batch)), 9) for form in forms}
    assert len(values) == len(forms)


@pytest.mark.parametrize("covariance", get_args(Covariance))
@pytest.mark.parametrize("level", LEVELS)
def test_target_receives_no_gradient_and_changes_no_other(covariance: Covariance, level: Level) -> None:
    features, labels, modalities = make_batch((9, 8), identities=3)
    features.requires_grad_()
    free = modinv.GaussianDistributionConsistencyLoss(covariance=covariance, level=level)
    fixed = modinv.GaussianDistributionConsistencyLoss(covariance=covariance, level=level, target=1)
    values = [loss(features, labels, modalities) for loss in (free, fixed)]
    torch.testing.assert_close(values[0], values[1], rtol=1e-12, atol=0)
    gradients = [torch.autograd.grad(value, features)[0] for value in values]
    torch.testing.assert_close(gradients[1][modalities == 0], gradients[0][modalities == 0], rtol=1e-9, atol=1e-12)
    assert not gradients[1][modalities == 1].any()


def test_target_is_fixed_inside_a_sum_of_losses_too() -> None:
    features, labels, modalities = make_batch()
    features.requires_grad_()
    losses = modinv.WeightedLosses({"fixed": (1.0, modinv.GaussianDistributionConsistencyLoss(target=0))})
    (gradient,) = torch.autograd.grad(losses(features, labels, modalities), features)
    assert not gradient[modalities == 0].any()
    assert gradient[modalities == 1].any()


def test_kl_is_that_of_the_lower_numbered_modality_from_the_higher() -> None:
    features, labels, modalities = make_batch()
    loss = modinv.GaussianDistributionConsistencyLoss(divergence="kl", shrinkage=0.2)
    forward, backward = loss(features, labels, modalities), loss(features, labels, 1 - modalities)
    jeffreys = modinv.GaussianDistributionConsistencyLoss(divergence="jeffreys", shrinkage=0.2)
    assert not torch.isclose(forward, backward)
    torch.testing.assert_close((forward + backward) / 2, jeffreys(features, labels, modalities))


@combined(
    divergence=["kl", "jeffreys", "bhattacharyya", "jensen_shannon"],
    shrinkage=[1e-6, 1e-4, 1e-2, "ledoit_wolf"],
    shape=[(2, 2048), (4, 2048), (32, 2048), (20, 30)],
)
def test_little_shrinkage_of_nearly_singular_covariances_keeps_float32_features_exact(
    divergence: DivergenceName, shrinkage: Any, shape: tuple[int, int]
) -> None:
    rows, dimension = shape
    # Rounding a float32 product of these rows is larger than the least eigenvalue that the shrinkage leaves.
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(2 * rows, dimension, generator=generator) / torch.arange(1, dimension + 1).sqrt()
    modalities = torch.arange(2 * rows) // rows
    loss = modinv.GaussianDistributionConsistencyLoss(divergence=divergence, shrinkage=shrinkage)
    single, double = features.clone().requires_grad_(), features.double().requires_grad_()
    values = [loss(rows, torch.zeros_like(modalities), modalities) for rows in (single, double)]
    values[0].backward()
    values[1].backward()
    assert single.grad is not None
    assert double.grad is not None
    torch.testing.assert_close(values[0].double(), values[1], rtol=1e-4, atol=0)
    assert (single.grad - double.grad).norm() <= 1e-4 * double.grad.norm()


def test_second_derivative_of_wasserstein_is_refused_and_of_jeffreys_is_right() -> None:
    features, labels, modalities = make_batch((4, 3), dimension=8)
    features.requires_grad_()
    value = modinv.GaussianDistributionConsistencyLoss()(features, labels, modalities)
    (gradient,) = torch.autograd.grad(value, features, create_graph=True)
    with pytest.raises(RuntimeError, match="second derivative"):
        torch.autograd.grad(gradient.square().sum(), features)
    jeffreys = modinv.GaussianDistributionConsistencyLoss(divergence="jeffreys", shrinkage=0.5)
    assert torch.autograd.gradgradcheck(lambda rows: jeffreys(rows, labels, modalities), features)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"divergence": "hellinger"}, "divergence must be one of 'wasserstein', 'kl', .* got 'hellinger'"),
        ({"divergence": "Wasserstein"}, "divergence must be one of"),
        ({"covariance": "spherical"}, "covariance must be one of 'full', 'diagonal', 'isotropic', got 'spherical'"),
        ({"level": "pooled"}, "level must be one of 'modality', 'identity', 'within', got 'pooled'"),
        ({"shrinkage": float("nan")}, "shrinkage .* must be a finite number"),
        ({"shrinkage": 1.5}, r"shrinkage .* in \[0, 1\], got 1.5"),
        ({"shrinkage": -0.1}, r"shrinkage .* in \[0, 1\]"),
        ({"shrinkage": "OAS"}, "shrinkage must be one of 'oas', 'ledoit_wolf', got 'OAS'"),
        ({"shrinkage": "oas", "covariance": "diagonal"}, "give a number in .* with covariance 'diagonal'"),
        *(
            ({"divergence": name}, rf"shrinkage of divergence '{name}' must be .* in \[1e-06, 1\], got 0")
            for name in DIVERGENCES
            if name not in INVERSE_FREE
        ),
        ({"num_modalities": 0}, "num_modalities must be at least 1"),
        ({"target": -1}, "target must be at least 0"),
        ({"target": 3, "num_modalities": 3}, "target must be one of 3 modalities, 0 to 2, got 3"),
    ],
)
def test_impossible_options_are_refused_by_name(option: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        modinv.GaussianDistributionConsistencyLoss(**option)


@pytest.mark.parametrize("option", [{"shrinkage": None}, {"shrinkage": True}, {"target": "0"}, {"num_modalities": 2.0}])
def test_options_of_another_kind_are_refused(option: dict[str, Any]) -> None:
    with pytest.raises(TypeError):
        modinv.GaussianDistributionConsistencyLoss(**option)


def test_options_are_keyword_only_and_shown() -> None:
    with pytest.raises(TypeError):
        modinv.GaussianDistributionConsistencyLoss("jeffreys")  # type: ignore[call-arg]
    assert repr(modinv.GaussianDistributionConsistencyLoss(covariance="diagonal")) == (
        "GaussianDistributionConsistencyLoss(divergence='wasserstein', covariance='diagonal', level='modality', "
        "shrinkage=0.0)"
    )

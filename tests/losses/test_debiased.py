"""The distribution consistency loss without what sampling adds on the average."""

from itertools import product
from typing import Any, get_args

import pytest
import torch
from torch import Tensor

import modinv
from batches import degenerate_batches, make_batch
from modinv.divergences import DIVERGENCES, Covariance, DivergenceName, Moments, divergence_between
from modinv.losses.gaussian_distribution_consistency import Level
from oracles import debiased_consistency
from quick import combined

LEVELS: tuple[Level, ...] = get_args(Level)
FORMS = [
    (name, covariance, level)
    for name, divergence in DIVERGENCES.items()
    for covariance, level in product(divergence.bias, LEVELS)
]
# Nothing is taken off the covariance part of "wasserstein" with "full".
FARTHER = [form for form in FORMS if form[:2] != ("wasserstein", "full")][::3]
SOME_QUICK = [pytest.param(form, marks=pytest.mark.slow if place % 3 else ()) for place, form in enumerate(FORMS)]
NAMED = {"-".join(form): form for form in FORMS}
DIMENSION = 5
# Rows of each identity in each modality: every form has the degrees that it needs.
COUNTS = ((5, 7), (6, 8))


def build(divergence: str, covariance: str, level: str, **others: Any) -> modinv.GaussianDistributionConsistencyLoss:
    shrinkage = 1e-6 if divergence in ("kl", "jeffreys") else 0.0
    return modinv.GaussianDistributionConsistencyLoss(
        divergence=divergence,  # type: ignore[arg-type]
        covariance=covariance,  # type: ignore[arg-type]
        level=level,  # type: ignore[arg-type]
        shrinkage=shrinkage,
        debiased=True,
        **others,
    )


@combined(
    form=NAMED,
    shape={
        "fewer rows": ((11, 13), 20),
        "more rows": ((30, 35), 6),
        "three modalities": ((14, 9, 12), 10),
        "one row in a modality": ((6, 1), 12),
        "few rows": ((3, 2), 8),
    },
)
def test_value_is_that_of_the_plain_formula(form: tuple[str, str, str], shape: tuple[tuple[int, ...], int]) -> None:
    divergence, covariance, level = form
    batch = make_batch(shape[0], dimension=shape[1], identities=3)
    expected = debiased_consistency(*batch, divergence, covariance=covariance, level=level)
    value = build(*form)(*batch)
    # The least shrinkage leaves variances of few rows small, and what is left of large terms has fewer digits.
    tolerance = 1e-10 * (1 + 1e2 * (divergence in ("kl", "jeffreys")))
    assert float(value) == pytest.approx(expected, rel=tolerance, abs=tolerance)


@pytest.mark.parametrize("form", SOME_QUICK, ids=NAMED)
def test_gradient_agrees_with_finite_differences(form: tuple[str, str, str]) -> None:
    features, labels, modalities = make_batch((11, 9), dimension=7, identities=2, seed=3)
    loss = build(*form)
    assert torch.autograd.gradcheck(
        lambda rows: loss(rows, labels, modalities), features.requires_grad_(), eps=1e-6, atol=1e-6, rtol=1e-5
    )


def gaussians(covariance: str, level: str, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Means of each modality and identity (2, 2, D), equal where the level does not tell them apart, and factors."""
    means = torch.randn(2, 2, DIMENSION, generator=generator, dtype=torch.float64) / 2
    factors = torch.randn(2, DIMENSION, DIMENSION, generator=generator, dtype=torch.float64)
    if covariance == "isotropic":  # there the form is one for isotropic features
        factors = torch.tensor([1.2, 0.8])[:, None, None] * torch.eye(DIMENSION, dtype=torch.float64)
    return means[:, :1].expand(-1, 2, -1) if level == "modality" else means, factors


@pytest.mark.slow
@pytest.mark.parametrize(
    ("divergence", "covariance", "level"),
    [
        *(("moments", "full", level) for level in LEVELS),
        *(("moments", "diagonal", level) for level in ("modality", "within")),
        *(("moments", "isotropic", "identity"), ("kl", "isotropic", "within")),
        *(("kl", "diagonal", level) for level in ("modality", "within")),
        ("jeffreys", "diagonal", "within"),
    ],
)
def test_mean_over_many_batches_is_the_divergence_of_the_distributions(
    divergence: DivergenceName, covariance: Covariance, level: str
) -> None:
    generator = torch.Generator().manual_seed(0)
    means, factors = gaussians(covariance, level, generator)
    cells = [(y, m) for m in range(2) for y in range(2) for _ in range(COUNTS[m][y])]
    labels, modalities = torch.tensor(cells).T
    sides = [[Moments(means[m, y], factors[m].T @ factors[m]) for m in range(2)] for y in range(2)]
    exact = [divergence_between(*pair, divergence=divergence, covariance=covariance) / DIMENSION for pair in sides]
    loss, values = build(divergence, covariance, level), []
    for _ in range(600):
        noise = torch.randn(len(labels), DIMENSION, generator=generator, dtype=torch.float64)
        rows = torch.einsum("nd,nde->ne", noise, factors[modalities])
        values.append(loss(rows + means[modalities, labels], labels, modalities))
    drawn = torch.stack(values)
    error = drawn.mean() - torch.stack(exact).mean()
    assert abs(error) < 3 * drawn.std() / len(drawn) ** 0.5


@pytest.mark.parametrize(("divergence", "covariance", "level"), FARTHER, ids=map("-".join, FARTHER))
def test_equal_distributions_are_farther_apart_with_the_noise_than_without(
    divergence: DivergenceName, covariance: Covariance, level: Level
) -> None:
    rows = torch.randn(60, 32, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    batch = (rows, torch.arange(60) % 5, torch.arange(60) // 30)
    loss = build(divergence, covariance, level)
    plain = modinv.GaussianDistributionConsistencyLoss(
        divergence=divergence, covariance=covariance, level=level, shrinkage=loss.shrinkage
    )
    assert loss(*batch) < 0.8 * plain(*batch)


def test_wasserstein_keeps_the_noise_of_its_covariance_part() -> None:
    batch = make_batch((9, 8))
    plain = modinv.GaussianDistributionConsistencyLoss().terms(*batch)
    debiased = modinv.GaussianDistributionConsistencyLoss(debiased=True).terms(*batch)
    assert torch.equal(debiased.covariance, plain.covariance)
    assert debiased.mean < plain.mean
    torch.testing.assert_close(debiased.total, debiased.mean + debiased.covariance)


def test_estimate_can_be_negative() -> None:
    rows = torch.randn(20, 32, generator=torch.Generator().manual_seed(0))
    twice = (rows.repeat(2, 1), torch.zeros(40, dtype=torch.long), torch.arange(40) // 20)
    assert build("moments", "full", "modality")(*twice) < 0


def test_gaussians_of_too_few_rows_are_compared_with_nothing() -> None:
    features = torch.randn(12, 24, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    few, modalities = torch.tensor([1, 1, 0, 0, 0, 0]).repeat(2), torch.arange(12) // 6
    loss = build("moments", "full", "identity")
    kept = few == 0
    torch.testing.assert_close(
        loss(features, few, modalities), loss(features[kept], few[kept], modalities[kept]), rtol=1e-12, atol=0
    )
    assert loss(features[~kept], few[~kept], modalities[~kept]) == 0


def test_target_receives_no_gradient() -> None:
    features, labels, modalities = make_batch((9, 8), identities=2)
    features.requires_grad_()
    fixed, free = build("moments", "full", "modality", target=1), build("moments", "full", "modality")
    gradients = [torch.autograd.grad(loss(features, labels, modalities), features)[0] for loss in (fixed, free)]
    assert not gradients[0][modalities == 1].any()
    torch.testing.assert_close(gradients[0][modalities == 0], gradients[1][modalities == 0], rtol=1e-9, atol=1e-12)


@combined(name=degenerate_batches(torch.float64).keys(), dtype=[torch.float64, torch.float32])
def test_degenerate_batch_gives_a_finite_value_and_gradient_with_variances_too(name: str, dtype: torch.dtype) -> None:
    features, labels, modalities = degenerate_batches(dtype)[name]
    features = features.clone().requires_grad_()
    value = build("jeffreys", "diagonal", "modality")(features, labels, modalities)
    (gradient,) = torch.autograd.grad(value, features)
    assert value.isfinite()
    assert gradient.isfinite().all()


REFUSED = "debiased must be False with divergence {!r} and covariance {!r}, since no mean is known of "


@pytest.mark.parametrize(
    ("option", "message"),
    [
        *(
            ({"divergence": name, "shrinkage": 0.1}, REFUSED.format(name, "full") + "a logarithm of mixed covariances")
            for name in ("bhattacharyya", "jensen_shannon")
        ),
        *(
            ({"divergence": name, "shrinkage": 0.1}, REFUSED.format(name, "full") + "an inverse of fewer rows")
            for name in ("kl", "jeffreys")
        ),
        ({"divergence": "moments", "shrinkage": 0.1}, "debiased 'moments' must have shrinkage 0, got 0.1"),
        ({"shrinkage": "oas"}, "debiased 'wasserstein' must have shrinkage 0, got 'oas'"),
        (
            {"divergence": "kl", "covariance": "diagonal", "shrinkage": 0.1},
            "debiased 'kl' must have shrinkage 1e-06, got 0.1",
        ),
    ],
)
def test_what_has_no_such_estimate_is_refused_with_the_reason(option: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        modinv.GaussianDistributionConsistencyLoss(debiased=True, **option)


def test_option_is_a_truth_value_and_shown() -> None:
    with pytest.raises(TypeError, match="debiased must be True or False, got 1"):
        modinv.GaussianDistributionConsistencyLoss(debiased=1)  # type: ignore[arg-type]
    assert repr(build("moments", "full", "modality")).endswith("shrinkage=0.0, debiased=True)")

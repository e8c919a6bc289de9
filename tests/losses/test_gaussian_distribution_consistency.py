"""The distribution consistency loss against D x D formulas in float64."""

import pytest
import torch
from torch import Tensor

import modinv
from batches import make_batch
from modinv.losses import gaussian_distribution_consistency
from modinv.losses.gaussian_distribution_consistency import Covariance, Divergence
from oracles import gaussian_consistency

BATCHES = {
    "fewer rows than features": ((5, 7), 20),
    "more rows than features": ((20, 25), 6),
    "one modality below, one above": ((30, 9), 20),
    "three modalities": ((4, 5, 6), 20),
    "three modalities, more rows": ((9, 12, 8), 5),
    "one row in a modality": ((6, 1), 12),
}
every_batch = pytest.mark.parametrize(("counts", "dimension"), BATCHES.values(), ids=BATCHES.keys())
every_covariance = pytest.mark.parametrize("covariance", ["full", "diagonal"])


@every_batch
@every_covariance
@pytest.mark.parametrize(
    ("divergence", "shrinkage"),
    [
        ("wasserstein", 0.0),
        ("wasserstein", 0.3),
        ("jeffreys", 0.1),
        ("jeffreys", 1.0),
        ("moments", 0.0),
        ("moments", 0.3),
    ],
)
def test_value_is_that_of_the_plain_formula(
    counts: tuple[int, ...], dimension: int, covariance: Covariance, divergence: Divergence, shrinkage: float
) -> None:
    features, labels, modalities = make_batch(counts, dimension=dimension)
    loss = modinv.GaussianDistributionConsistencyLoss(divergence=divergence, covariance=covariance, shrinkage=shrinkage)
    value = float(loss(features, labels, modalities))
    if divergence == "jeffreys" and min(counts) == 1:
        assert value == 0  # one row has no covariance to invert
        return
    expected = gaussian_consistency(features, modalities, divergence, covariance, shrinkage)
    assert value == pytest.approx(expected, rel=1e-10)
    assert float(loss(features.float(), labels, modalities)) == pytest.approx(expected, rel=1e-5)


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
        return (delta @ delta + (covariances[0] - covariances[1]).square().sum()) / len(delta)
    if divergence == "jeffreys":
        normals = [torch.distributions.MultivariateNormal(m, c) for m, c in zip(means, covariances, strict=True)]
        both = [torch.distributions.kl_divergence(normals[a], normals[1 - a]) for a in range(2)]
        mean: Tensor = torch.stack(both).mean() / len(delta)
        return mean
    values, vectors = torch.linalg.eigh(covariances[0])
    root = vectors * values.sqrt() @ vectors.T
    cross = torch.linalg.eigvalsh(root @ covariances[1] @ root).sqrt().sum()
    return (delta @ delta + covariances[0].trace() + covariances[1].trace() - 2 * cross) / len(delta)


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
def test_gradient_is_that_of_the_dense_formula(divergence: Divergence, shrinkage: float, dimension: int) -> None:
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


@pytest.mark.parametrize("name", ["wasserstein", "jeffreys", "moments"])
@every_covariance
def test_terms_add_up_and_tell_means_from_covariances(name: Divergence, covariance: Covariance) -> None:
    features, labels, modalities = make_batch((8, 8), gap=0.0)
    loss = modinv.GaussianDistributionConsistencyLoss(divergence=name, covariance=covariance, shrinkage=0.5)
    terms = loss.terms(features, labels, modalities)
    torch.testing.assert_close(terms.total, terms.mean + terms.covariance)
    moved = loss.terms(features + 3.0 * modalities[:, None], labels, modalities)
    torch.testing.assert_close(moved.covariance, terms.covariance)
    assert moved.mean > terms.mean


@pytest.mark.parametrize("name", ["wasserstein", "jeffreys", "moments"])
@every_covariance
def test_identical_modalities_are_zero_apart(name: Divergence, covariance: Covariance) -> None:
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
    batch = make_batch()
    values = {
        float(gaussian_distribution_consistency(*batch)),
        float(gaussian_distribution_consistency(*batch, divergence="jeffreys", shrinkage=0.2)),
        float(gaussian_distribution_consistency(*batch, divergence="moments")),
        float(gaussian_distribution_consistency(*batch, covariance="diagonal")),
        float(gaussian_distribution_consistency(*batch, shrinkage=0.2)),
    }
    assert len(values) == 5


def test_function_and_module_agree() -> None:
    batch = make_batch()
    value = gaussian_distribution_consistency(*batch, divergence="jeffreys", shrinkage=0.2)
    module = modinv.GaussianDistributionConsistencyLoss(divergence="jeffreys", shrinkage=0.2)
    assert torch.equal(value, module(*batch))


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
    ("options", "message"),
    [
        (
            {"divergence": "hellinger"},
            "divergence must be one of 'wasserstein', 'jeffreys', 'moments', got 'hellinger'",
        ),
        ({"divergence": "Wasserstein"}, "divergence must be one of"),
        ({"divergence": "kl"}, "divergence must be one of .* got 'kl'"),
        ({"covariance": "isotropic"}, "covariance must be one of 'full', 'diagonal', got 'isotropic'"),
        ({"level": "identity"}, "level must be one of 'modality', got 'identity'"),
        ({"shrinkage": float("nan")}, "shrinkage .* must be a finite number"),
        ({"shrinkage": 1.5}, r"shrinkage .* in \[0, 1\], got 1.5"),
        ({"shrinkage": -0.1}, r"shrinkage .* in \[0, 1\]"),
        ({"divergence": "jeffreys"}, r"shrinkage of divergence 'jeffreys' must be .* in \[1e-06, 1\], got 0"),
        ({"num_modalities": 0}, "num_modalities must be at least 1"),
    ],
)
def test_impossible_options_are_refused_by_name(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        modinv.GaussianDistributionConsistencyLoss(**options)  # type: ignore[arg-type]


@pytest.mark.parametrize("options", [{"shrinkage": "oas"}, {"shrinkage": True}, {"target": 0}, {"num_modalities": 2.0}])
def test_options_of_another_kind_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(TypeError):
        modinv.GaussianDistributionConsistencyLoss(**options)  # type: ignore[arg-type]


def test_options_are_keyword_only_and_shown() -> None:
    with pytest.raises(TypeError):
        modinv.GaussianDistributionConsistencyLoss("jeffreys")  # type: ignore[call-arg]
    assert repr(modinv.GaussianDistributionConsistencyLoss(covariance="diagonal")) == (
        "GaussianDistributionConsistencyLoss(divergence='wasserstein', covariance='diagonal', level='modality', "
        "shrinkage=0.0)"
    )

"""Full covariances from the Gram matrix and from the rows agree, and neither loses digits."""

from typing import Any

import pytest
import torch
from torch import Tensor

import modinv
from batches import make_batch
from modinv.divergences import DIVERGENCES, DenseGaussians, DivergenceName, full_gaussians
from modinv.divergences.dense import RowGaussians
from modinv.divergences.full import GramGaussians
from modinv.groups import average, comparisons_of
from modinv.statistics import Statistics, statistics_of

EXACT_SHRINKAGES = [0.0, 0.2, "oas", "ledoit_wolf"]


def from_gram(statistics: Statistics, level: str, shrinkage: float | str) -> GramGaussians:
    return GramGaussians(statistics, statistics.gram, comparisons_of(statistics, level), shrinkage)


def from_rows(statistics: Statistics, level: str, shrinkage: float | str) -> RowGaussians:
    return RowGaussians(statistics, comparisons_of(statistics, level), shrinkage)


@pytest.mark.parametrize("name", DIVERGENCES)
@pytest.mark.parametrize("shrinkage", EXACT_SHRINKAGES)
@pytest.mark.parametrize("level", ["modality", "within"])
@pytest.mark.parametrize("dimension", [6, 18, 40])
def test_gram_matrix_and_rows_give_the_same(
    name: DivergenceName, shrinkage: float | str, level: str, dimension: int
) -> None:
    if shrinkage == 0 and DIVERGENCES[name].inverts:
        shrinkage = 0.5
    features, labels, modalities = make_batch((10, 8), dimension=dimension, identities=3)
    features.requires_grad_()
    values, gradients = [], []
    for form in (from_gram, from_rows):
        statistics = statistics_of(features, labels, modalities)
        gaussians = form(statistics, level, shrinkage)
        parts = DIVERGENCES[name].of(gaussians)
        values.append(torch.stack(average(parts, comparisons_of(statistics, level), 1, dimension)))
        gradients.append(torch.autograd.grad(values[-1].sum(), features)[0])
    # Of two samples Ledoit and Wolf estimate the least shrinkage, which leaves fewer digits.
    scale = 1e3 if shrinkage == "ledoit_wolf" else 1.0
    torch.testing.assert_close(values[0], values[1], rtol=1e-10 * scale, atol=1e-11)
    torch.testing.assert_close(
        gradients[0], gradients[1], rtol=1e-7 * scale, atol=1e-9 * float(gradients[1].abs().max())
    )


@pytest.mark.parametrize(
    ("counts", "level", "expected"),
    [
        ((12, 12), "modality", GramGaussians),
        ((13, 12), "modality", RowGaussians),
        ((13, 12), "within", RowGaussians),
        ((13, 12), "identity", GramGaussians),
    ],
)
def test_the_cheaper_form_is_taken(counts: tuple[int, ...], level: str, expected: type[DenseGaussians]) -> None:
    statistics = statistics_of(*make_batch(counts, dimension=24))
    assert isinstance(full_gaussians(statistics, comparisons_of(statistics, level), 0.1), expected)


@pytest.mark.parametrize("level", ["modality", "identity", "within"])
def test_coordinates_have_the_inner_products_of_the_rows(level: str) -> None:
    features, labels, modalities = make_batch((7, 6), dimension=30, identities=3)
    coordinates = from_gram(statistics_of(features, labels, modalities), level, 0.1).coordinates()
    groups = modalities if level == "modality" else 2 * labels + modalities
    rows = torch.stack([row - features[groups == group].mean(0) for row, group in zip(features, groups, strict=True)])
    expected = rows @ rows.T
    if level == "identity":
        expected = expected * (labels[:, None] == labels)
    torch.testing.assert_close(coordinates.rows @ coordinates.rows.T, expected, rtol=0, atol=1e-11)


@pytest.mark.parametrize("level", ["identity", "within"])
@pytest.mark.parametrize("divergence", ["jeffreys", "bhattacharyya", "jensen_shannon"])
@pytest.mark.parametrize("spread", [1e-4, 0.0])
def test_cells_that_are_tight_beside_their_distances_are_finite(level: Any, divergence: Any, spread: float) -> None:
    # Rounding the products is more than the spread of a cell then, and its matrix need not be definite.
    loss = modinv.GaussianDistributionConsistencyLoss(divergence=divergence, level=level, shrinkage=0.1)
    for seed in range(3):
        generator = torch.Generator().manual_seed(seed)
        centers = torch.randn(8, 64, generator=generator)[torch.arange(48) % 8]
        features = (centers + spread * torch.randn(48, 64, generator=generator)).requires_grad_()
        value = loss(features, torch.arange(48) % 8, torch.arange(48) // 24)
        (gradient,) = torch.autograd.grad(value, features)
        assert value.isfinite()
        assert gradient.isfinite().all()


@pytest.mark.parametrize("rows", [30, 41])
def test_means_that_differ_by_rounding_alone_leave_jensen_shannon_finite(rows: int) -> None:
    loss = modinv.GaussianDistributionConsistencyLoss(divergence="jensen_shannon", level="identity", shrinkage=0.1)
    for seed in range(5):
        generator = torch.Generator().manual_seed(seed)
        labels, modalities = (torch.randint(most, (rows,), generator=generator) for most in (4, 2))
        features = torch.full((rows, 20), 3.3, requires_grad=True)
        value = loss(features, labels, modalities)
        assert value.isfinite()
        assert torch.autograd.grad(value, features)[0].isfinite().all()


HARD = {
    "duplicates": lambda rows: rows[torch.arange(len(rows)) % 9],
    "rank one eighth": lambda rows: rows[:, :8] @ rows[:8],
    "one row much longer": lambda rows: rows * torch.ones(len(rows), 1).index_fill(0, torch.tensor([0]), 1e4),
    "a common offset": lambda rows: rows + 1e3,
    "large": lambda rows: 1e4 * rows,
    "small": lambda rows: 1e-6 * rows,
}


@pytest.mark.parametrize("kind", HARD)
@pytest.mark.parametrize("divergence", ["wasserstein", "jeffreys", "bhattacharyya"])
def test_float32_features_are_as_exact_as_float64_ones(kind: str, divergence: Any) -> None:
    generator = torch.Generator().manual_seed(0)
    features = HARD[kind](torch.randn(39, 64, generator=generator))
    labels, modalities = torch.arange(39) % 5, torch.arange(39) // 20
    loss = modinv.GaussianDistributionConsistencyLoss(divergence=divergence, shrinkage=0.1)
    single, double = features.clone().requires_grad_(), features.double().requires_grad_()
    values = loss(single, labels, modalities), loss(double, labels, modalities)
    gradients = torch.autograd.grad(values[0], single)[0].double(), torch.autograd.grad(values[1], double)[0]
    tolerance = 1e-3 if kind in ("duplicates", "rank one eighth", "a common offset") else 1e-5
    torch.testing.assert_close(values[0].double(), values[1], rtol=tolerance, atol=0)
    assert (gradients[0] - gradients[1]).norm() <= 10 * tolerance * gradients[1].norm()


def test_products_that_are_rounded_to_an_indefinite_matrix_still_give_the_value() -> None:
    # Few of the rows are different: the float32 Gram matrix has eigenvalues below zero, by more than the first jitter.
    loss = modinv.GaussianDistributionConsistencyLoss(shrinkage=0.1)
    for seed in range(20):
        generator = torch.Generator().manual_seed(seed)
        features = torch.randn(9, 64, generator=generator)[torch.randint(9, (39,), generator=generator)]
        modalities = torch.randint(2, (39,), generator=generator)
        values = [loss(rows, torch.zeros_like(modalities), modalities) for rows in (features, features.double())]
        torch.testing.assert_close(values[0].double(), values[1], rtol=1e-3, atol=0)


def dense_root_trace(features: Tensor, modalities: Tensor, shrinkage: float) -> Tensor:
    """The D x D formula of the shrunk 2-Wasserstein loss with its own autograd; full rank by the shrinkage."""
    covariances = []
    for modality in range(2):
        covariance = torch.cov(features[modalities == modality].T)
        identity = torch.eye(len(covariance), dtype=torch.float64)
        covariances.append((1 - shrinkage) * covariance + shrinkage * covariance.trace() / len(covariance) * identity)
    factor = torch.linalg.cholesky(covariances[0])
    roots: Tensor = torch.linalg.eigvalsh(factor.T @ covariances[1] @ factor).sqrt().sum()
    delta = features[modalities == 0].mean(0) - features[modalities == 1].mean(0)
    return (delta @ delta + covariances[0].trace() + covariances[1].trace() - 2 * roots) / features.shape[1]


@pytest.mark.parametrize("counts", [(6, 7), (30, 25)], ids=["fewer rows", "more rows"])
@pytest.mark.parametrize("shrinkage", [1e-6, 1e-4, 0.1, 1.0])
def test_shrunk_wasserstein_is_right_down_to_the_least_shrinkage(counts: tuple[int, int], shrinkage: float) -> None:
    features, labels, modalities = make_batch(counts, dimension=20)
    loss = modinv.GaussianDistributionConsistencyLoss(shrinkage=shrinkage)
    expected = dense_root_trace(features, modalities, shrinkage)
    torch.testing.assert_close(loss(features, labels, modalities), expected, rtol=1e-8, atol=0)
    direction = torch.randn(features.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    (gradient,) = torch.autograd.grad(loss(features.requires_grad_(), labels, modalities), features)
    with torch.no_grad():
        ends = [dense_root_trace(features + step * direction, modalities, shrinkage) for step in (1e-5, -1e-5)]
    torch.testing.assert_close((gradient * direction).sum(), (ends[0] - ends[1]) / 2e-5, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("scale", [1e-4, 1e-6, 1e-8])
def test_shrunk_wasserstein_scales_with_the_square_beside_a_third_modality(scale: float, dtype: torch.dtype) -> None:
    features, labels, modalities = make_batch((6, 6, 6), dimension=30, identities=3, dtype=dtype)
    loss = modinv.GaussianDistributionConsistencyLoss(shrinkage=0.1)
    order = torch.randperm(18, generator=torch.Generator().manual_seed(0))
    whole = loss(features, labels, modalities).double()
    for rows in (torch.arange(18), order):
        small = loss(scale * features[rows], labels[rows], modalities[rows]).double() / scale**2
        torch.testing.assert_close(small, whole, rtol=1e-5 if dtype == torch.float32 else 1e-10, atol=0)


@pytest.mark.parametrize("divergence", ["kl", "jeffreys", "bhattacharyya"])
@pytest.mark.parametrize("level", ["identity", "within"])
@pytest.mark.parametrize("shrinkage", [1e-6, 1e-4])
def test_gradient_is_right_where_a_covariance_has_more_samples_than_features(
    divergence: Any, level: Any, shrinkage: float
) -> None:
    features, labels, modalities = make_batch((40, 38), dimension=5, identities=2, seed=1)
    loss = modinv.GaussianDistributionConsistencyLoss(divergence=divergence, level=level, shrinkage=shrinkage)
    direction = torch.randn(features.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    (gradient,) = torch.autograd.grad(loss(features.requires_grad_(), labels, modalities), features)
    with torch.no_grad():
        ends = [loss(features + step * direction, labels, modalities) for step in (1e-5, -1e-5)]
    torch.testing.assert_close((gradient * direction).sum(), (ends[0] - ends[1]) / 2e-5, rtol=1e-3, atol=1e-8)

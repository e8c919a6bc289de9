"""One divergence between two sample sets or two means and covariances, outside of a training loop."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import scipy.linalg
import torch
from numpy.typing import NDArray
from torch import Tensor

import oracles
from modinv.divergences import DivergenceName, divergence_between
from modinv.divergences.two_samples.sample_moments import Moments, moments_of

Gaussian = tuple[NDArray[np.float64], NDArray[np.float64]]

DIVERGENCES: tuple[Any, ...] = get_args(DivergenceName)
LOGARITHMIC: tuple[Any, ...] = ("kl", "jeffreys", "bhattacharyya", "jensen_shannon")
# (first rows, second rows, D): fewer rows than dimensions, as many, more on one side, in both together, on both sides
SHAPES = [(4, 6, 12), (5, 7, 12), (3, 20, 8), (6, 5, 8), (30, 21, 6), (12, 9, 1), (1, 5, 9)]

every_divergence = pytest.mark.parametrize("divergence", DIVERGENCES)
every_covariance = pytest.mark.parametrize("covariance", ["full", "diagonal", "isotropic"])
every_shape = pytest.mark.parametrize("shape", SHAPES, ids=str)


def samples(count: int, dimension: int, *, seed: int = 0) -> Tensor:
    """Correlated rows with a mean and a scale of their own."""
    generator = torch.Generator().manual_seed(100 * seed + dimension)
    mixing, offset = (torch.randn(k, dimension, generator=generator, dtype=torch.float64) for k in (dimension, 1))
    rows = torch.randn(count, dimension, generator=generator, dtype=torch.float64)
    features: Tensor = (1 + seed / 2) * rows @ mixing / dimension**0.5 + offset
    return features


def sample_sets(shape: tuple[int, int, int]) -> tuple[Tensor, Tensor]:
    return samples(shape[0], shape[2]), samples(shape[1], shape[2], seed=1)


def gaussian(rows: Tensor, covariance: str = "full", shrinkage: float = 0.0) -> Gaussian:
    """Mean and shrunk covariance with NumPy."""
    size = rows.shape[1]
    matrix = np.atleast_2d(np.cov(rows.numpy(), rowvar=False)) if len(rows) > 1 else np.zeros((size, size))
    if covariance != "full":
        variances = np.diag(matrix) if covariance == "diagonal" else np.full(size, np.trace(matrix) / size)
        matrix = np.diag(variances)
    return rows.numpy().mean(0), (1 - shrinkage) * matrix + shrinkage * np.trace(matrix) / size * np.eye(size)


def expected(divergence: str, first: Gaussian, second: Gaussian, covariance: str = "full") -> float:
    """Each divergence as it is defined, with the square root of SciPy."""
    if divergence == "jensen_shannon":
        return oracles.jensen_shannon([first, second], covariance)
    if divergence != "wasserstein":
        return oracles.DIVERGENCES[divergence](first, second)
    root = scipy.linalg.sqrtm(first[1])
    cross = scipy.linalg.sqrtm(root @ second[1] @ root).real  # SciPy before 1.16 rounds to complex numbers
    return float(((first[0] - second[0]) ** 2).sum() + np.trace(first[1] + second[1] - 2 * cross))


def exact_wasserstein(first: Tensor, second: Tensor) -> float:
    """In 50 digits, with covariances that are singular."""
    gaussians = [(rows.double().mean(0), rows - rows.double().mean(0), len(rows) - 1) for rows in (first, second)]
    return oracles.singular_wasserstein(gaussians[0], gaussians[1])


def covariance_only(rows: Tensor) -> Moments:
    mean, covariance = gaussian(rows)
    return Moments(torch.from_numpy(mean), torch.from_numpy(covariance))


@every_divergence
@every_covariance
@every_shape
def test_divergence_between_samples_is_that_of_their_shrunk_gaussians(
    divergence: DivergenceName, covariance: Any, shape: tuple[int, int, int]
) -> None:
    first, second = sample_sets(shape if shape[0] > 1 else (2, *shape[1:]))
    value = divergence_between(first, second, divergence=divergence, covariance=covariance, shrinkage=0.3)
    pair = gaussian(first, covariance, 0.3), gaussian(second, covariance, 0.3)
    assert value.shape == ()
    assert value.item() == pytest.approx(expected(divergence, pair[0], pair[1], covariance), rel=1e-10)


@every_divergence
def test_divergence_between_many_samples_needs_no_shrinkage(divergence: DivergenceName) -> None:
    first, second = sample_sets((30, 21, 6))
    value = divergence_between(first, second, divergence=divergence)
    assert value.item() == pytest.approx(expected(divergence, gaussian(first), gaussian(second)), rel=1e-10)


@every_divergence
@every_covariance
def test_samples_and_their_moments_have_the_same_divergence(divergence: DivergenceName, covariance: Any) -> None:
    first, second = sample_sets((30, 21, 6))
    options: Any = {"divergence": divergence, "covariance": covariance}
    value = divergence_between(first, second, **options)
    for make in (moments_of, covariance_only):
        torch.testing.assert_close(divergence_between(make(first), make(second), **options), value, rtol=1e-10, atol=0)
        torch.testing.assert_close(divergence_between(make(first), second, **options), value, rtol=1e-10, atol=0)


@every_divergence
@pytest.mark.parametrize("shape", [(4, 6, 12), (3, 20, 8)], ids=str)
def test_singular_covariances_are_shrunk_like_their_samples(
    divergence: DivergenceName, shape: tuple[int, int, int]
) -> None:
    first, second = sample_sets(shape)
    value = divergence_between(first, second, divergence=divergence, shrinkage=0.2)
    for make in (moments_of, covariance_only):
        other = divergence_between(make(first), make(second), divergence=divergence, shrinkage=0.2)
        torch.testing.assert_close(other, value, rtol=1e-10, atol=0)


@every_shape
def test_wasserstein_distance_of_singular_covariances_has_all_its_digits(shape: tuple[int, int, int]) -> None:
    first, second = sample_sets(shape)
    exact = pytest.approx(exact_wasserstein(first, second), rel=1e-12)
    assert divergence_between(first, second).item() == exact
    assert divergence_between(moments_of(first), moments_of(second)).item() == exact


@every_shape
def test_wasserstein_distance_of_singular_covariances_needs_no_samples(shape: tuple[int, int, int]) -> None:
    first, second = sample_sets(shape)
    value = divergence_between(covariance_only(first), covariance_only(second)).item()
    assert value == pytest.approx(exact_wasserstein(first, second), rel=1e-10)


@every_shape
def test_moment_distance_of_singular_covariances_is_exact(shape: tuple[int, int, int]) -> None:
    first, second = sample_sets(shape)
    value = divergence_between(first, second, divergence="moments").item()
    assert value == pytest.approx(expected("moments", gaussian(first), gaussian(second)), rel=1e-12)


@pytest.mark.parametrize("divergence", LOGARITHMIC)
def test_logarithmic_divergences_refuse_singular_covariances_in_words(divergence: DivergenceName) -> None:
    many = samples(23, 8)
    repeated = torch.cat([many[:, :7], many[:, :1] - 2 * many[:, 3:4]], dim=1)
    constant = many.clone()
    constant[:, 5] = 0.1
    assert (constant.mean(0)[5] != 0.1).item()  # which leaves a deviation that is rounding alone
    for singular in (samples(8, 8), samples(3, 8), many[:1], repeated, constant, covariance_only(repeated)):
        with pytest.raises(ValueError, match="singular one as second: set shrinkage"):
            divergence_between(many, singular, divergence=divergence)
    for diagonal in (constant, many[:1]):
        with pytest.raises(ValueError, match="singular one as first: set shrinkage"):
            divergence_between(diagonal, many, divergence=divergence, covariance="diagonal")


def test_covariance_is_singular_even_where_rounding_lets_cholesky_succeed() -> None:
    covariance = torch.ones(2, 2, dtype=torch.float64)
    covariance[1, 1] += 2 * torch.finfo(torch.float64).eps
    torch.linalg.cholesky(covariance)
    line, across = (
        Moments(torch.zeros(2), covariance),
        Moments(torch.zeros(2), torch.tensor([[1.0, -1.0], [-1.0, 1.0]])),
    )
    assert divergence_between(line, across).item() == pytest.approx(4, rel=1e-14)
    with pytest.raises(ValueError, match="singular one as first"):
        divergence_between(line, samples(9, 2), divergence="kl")


def test_logarithmic_divergences_take_features_of_any_scale() -> None:
    first, second = sample_sets((30, 21, 6))
    scales = 10.0 ** torch.arange(-30, 30, 10, dtype=torch.float64)
    value = divergence_between(first, second, divergence="jeffreys")
    scaled = divergence_between(first * scales, second * scales, divergence="jeffreys")
    torch.testing.assert_close(scaled, value, rtol=1e-10, atol=0)


@every_divergence
@every_covariance
def test_identical_samples_have_divergence_zero_and_never_less(divergence: DivergenceName, covariance: Any) -> None:
    for rows in (samples(5, 12), samples(30, 6)):
        value = divergence_between(rows, rows, divergence=divergence, covariance=covariance, shrinkage=0.1).item()
        assert 0 <= value < 1e-12
        assert not np.signbit(value)


def test_divergence_is_not_divided_by_the_number_of_features() -> None:
    mean, covariance = torch.zeros(5), torch.eye(5)
    assert divergence_between(Moments(mean, covariance), Moments(mean + 2, covariance)).item() == pytest.approx(20)
    kullback = divergence_between(Moments(mean, covariance), Moments(mean + 2, covariance), divergence="kl")
    assert kullback.item() == pytest.approx(10)


def test_kl_is_that_of_the_second_from_the_first() -> None:
    narrow, wide = Moments(torch.zeros(1), torch.eye(1)), Moments(torch.zeros(1), 4 * torch.eye(1))
    assert divergence_between(narrow, wide, divergence="kl").item() == pytest.approx((1 / 4 - 1 + np.log(4)) / 2)
    assert divergence_between(wide, narrow, divergence="kl").item() == pytest.approx((4 - 1 - np.log(4)) / 2)


def test_zero_covariances_leave_the_means() -> None:
    nothing = torch.zeros(4, 4)
    assert divergence_between(Moments(torch.zeros(4), nothing), Moments(torch.ones(4), nothing)).item() == 4
    assert divergence_between(torch.zeros(3, 4), torch.ones(2, 4), shrinkage=0.5).item() == pytest.approx(4)


@pytest.mark.parametrize(("scale", "offset"), [(1e-6, 0.0), (1e4, 0.0), (1.0, 1e4)])
def test_wasserstein_distance_scales_and_ignores_offsets(scale: float, offset: float) -> None:
    first, second = sample_sets((6, 9, 5))
    value = divergence_between(first * scale + offset, second * scale + offset)
    torch.testing.assert_close(value, scale**2 * divergence_between(first, second), rtol=1e-10, atol=0)


@every_divergence
@every_covariance
@pytest.mark.parametrize("shape", [(3, 4, 8), (3, 9, 4), (8, 7, 3)], ids=str)
def test_gradient_of_samples_is_exact(divergence: DivergenceName, covariance: Any, shape: tuple[int, int, int]) -> None:
    def value(first: Tensor, second: Tensor) -> Tensor:
        return divergence_between(first, second, divergence=divergence, covariance=covariance, shrinkage=0.2)

    assert torch.autograd.gradcheck(value, tuple(rows.requires_grad_() for rows in sample_sets(shape)))


@pytest.mark.parametrize("divergence", ["wasserstein", "moments"])
@pytest.mark.parametrize("shape", [(3, 4, 8), (8, 7, 3)], ids=str)
def test_gradient_without_shrinkage_is_exact(divergence: DivergenceName, shape: tuple[int, int, int]) -> None:
    pair = tuple(rows.requires_grad_() for rows in sample_sets(shape))
    assert torch.autograd.gradcheck(
        lambda first, second: divergence_between(first, second, divergence=divergence), pair
    )


@every_divergence
def test_gradient_of_a_covariance_is_exact(divergence: DivergenceName) -> None:
    other = covariance_only(samples(9, 3, seed=1))

    def value(mean: Tensor, root: Tensor) -> Tensor:
        return divergence_between(Moments(mean, root.T @ root), other, divergence=divergence)

    assert torch.autograd.gradcheck(value, (samples(1, 3)[0].requires_grad_(), samples(9, 3).requires_grad_()))


def test_gradient_of_a_singular_covariance_is_refused_in_words() -> None:
    singular = Moments(torch.zeros(3), torch.diag(torch.tensor([1.0, 1.0, 0.0])).requires_grad_())
    with pytest.raises(ValueError, match="no gradient reaches the singular covariance of first"):
        divergence_between(singular, samples(9, 3))


def test_second_derivative_that_would_be_wrong_is_refused() -> None:
    first, second = sample_sets((3, 4, 8))
    value = divergence_between(first.requires_grad_(), second, divergence="moments")
    (gradient,) = torch.autograd.grad(value, first, create_graph=True)
    with pytest.raises(RuntimeError, match="second derivative of divergence_between"):
        torch.autograd.grad(value + gradient.square().sum(), first)


def test_second_derivative_of_many_samples_is_exact() -> None:
    pair = tuple(rows.requires_grad_() for rows in sample_sets((6, 5, 3)))
    assert torch.autograd.gradgradcheck(lambda *rows: divergence_between(*rows, divergence="jeffreys"), pair)


def test_few_samples_make_nothing_of_feature_by_feature_size() -> None:
    first, second = (samples(8, 16, seed=k).repeat(1, 32).requires_grad_() for k in range(2))
    with torch.profiler.profile(profile_memory=True) as profile:
        for divergence in DIVERGENCES:
            divergence_between(first, second, divergence=divergence, shrinkage=0.1).backward()
    largest = max(abs(event.cpu_memory_usage) for event in profile.events())
    assert 0 < largest < 512 * 512 * 8 // 2


@pytest.mark.parametrize("count", [1, 2, 5, 6, 40])
@pytest.mark.parametrize("chunk_rows", [1, 3, 64])
def test_moments_do_not_depend_on_the_chunks(count: int, chunk_rows: int) -> None:
    rows = samples(count, 6) + 100
    moments = moments_of(rows, chunk_rows=chunk_rows)
    mean, covariance = gaussian(rows)
    assert moments.factor is not None
    assert moments.factor.shape == (min(count, 6), 6)
    np.testing.assert_allclose(moments.mean, mean, rtol=1e-13)
    np.testing.assert_allclose(moments.covariance, covariance, rtol=0, atol=1e-12)
    torch.testing.assert_close(moments.factor.T @ moments.factor, moments.covariance)


def test_moments_decompose_no_more_rows_than_a_chunk() -> None:
    def peak(chunk_rows: int) -> int:
        with torch.profiler.profile(profile_memory=True) as profile:
            moments_of(rows, chunk_rows=chunk_rows)
        return max(abs(int(event.cpu_memory_usage)) for event in profile.events())

    rows = samples(4000, 8)
    assert peak(16) < 16 * 1024 < peak(4000)


def test_moments_read_arrays_on_disk_and_chunks_of_any_length(tmp_path: Path) -> None:
    rows = samples(50, 6)
    np.save(tmp_path / "features.npy", rows.numpy())
    on_disk = np.load(tmp_path / "features.npy", mmap_mode="r")

    def chunks() -> Iterator[Tensor | NDArray[np.float64]]:
        yield rows[:7]
        yield rows[7:7]
        yield rows[7:30].numpy()
        yield rows[30:]

    for source in (on_disk, chunks(), [rows]):
        moments = moments_of(source, chunk_rows=8)
        torch.testing.assert_close(moments[:2], moments_of(rows)[:2], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_low_precision_samples_are_computed_in_float64(dtype: torch.dtype) -> None:
    for shape in [(30, 21, 6), (3, 4, 8)]:
        first, second = (rows.to(dtype) for rows in sample_sets(shape))
        value = divergence_between(first, second)
        assert value.dtype == torch.float64
        assert value.item() == pytest.approx(exact_wasserstein(first, second), rel=1e-12)


def test_single_precision_covariance_counts_its_own_rounding_as_zero() -> None:
    first, second = sample_sets((4, 30, 6))
    exact = covariance_only(first)
    single = Moments(exact.mean.float(), exact.covariance.float())
    assert divergence_between(single, second).item() == pytest.approx(exact_wasserstein(first, second), rel=1e-6)
    with pytest.raises(ValueError, match="singular one as first"):
        divergence_between(single, second, divergence="kl")


@pytest.mark.parametrize(
    ("first", "error", "message"),
    [
        (torch.zeros(0, 4), ValueError, "first must have at least one row"),
        (torch.zeros(4), ValueError, r"floating rows of shape \(n, D\), got shape \(4,\)"),
        (torch.zeros(2, 4).long(), TypeError, "got torch.int64"),
        (np.zeros((2, 4)), TypeError, "moments_of makes Moments of arrays"),
        (torch.zeros(2, 5), ValueError, "same number of features, got 5 and 4"),
        (torch.full((2, 4), torch.nan), ValueError, "first must be finite"),
        (Moments(torch.zeros(4), torch.zeros(3, 3)), ValueError, r"got shapes \[\(4,\), \(3, 3\)\]"),
        (Moments(torch.zeros(4), -torch.eye(4)), ValueError, "no negative eigenvalue, got -1 beside 1"),
        (Moments(torch.zeros(4), torch.ones(4, 4).triu()), ValueError, "first must be symmetric"),
        (Moments(torch.zeros(4), np.zeros((4, 4))), TypeError, "must be floating tensors"),  # type: ignore[arg-type]
    ],
)
def test_what_is_no_gaussian_is_refused_in_words(first: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        divergence_between(first, torch.ones(3, 4))


@pytest.mark.parametrize(
    ("source", "error", "message"),
    [
        ([], ValueError, "at least one row"),
        (torch.zeros(0, 3), ValueError, "at least one row"),
        ([torch.zeros(2, 3), torch.zeros(2, 4)], ValueError, "one width, got 3 and 4"),
        ([torch.zeros(3)], ValueError, r"got shape \(3,\)"),
        (np.zeros((2, 3), dtype=np.int64), TypeError, "got int64"),
        (np.full((2, 3), np.inf), ValueError, "must be finite"),
        (torch.zeros(2, 3, requires_grad=True), ValueError, "not differentiable"),
    ],
)
def test_what_has_no_moments_is_refused_in_words(source: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        moments_of(source)


def test_unknown_options_are_answered_with_the_known_ones() -> None:
    rows = torch.ones(2, 3)
    with pytest.raises(ValueError, match="'kl'"):
        divergence_between(rows, rows, divergence="hellinger")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="'isotropic'"):
        divergence_between(rows, rows, covariance="low rank")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="shrinkage"):
        divergence_between(rows, rows, shrinkage=1.5)
    with pytest.raises(ValueError, match="chunk_rows"):
        moments_of(rows, chunk_rows=0)

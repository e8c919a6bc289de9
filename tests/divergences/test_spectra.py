"""Traces of matrix square roots and their gradients."""

import math

import pytest
import torch
from torch import Tensor

from modinv.divergences import spectra


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def positive(size: int, *, smallest: float, seed: int = 0) -> Tensor:
    """A product of two positive definite matrices: positive real eigenvalues, not symmetric."""
    factors = [random(size, size, seed=seed + k) for k in range(2)]
    first, second = (factor @ factor.T + smallest * torch.eye(size) for factor in factors)
    return first @ second


@pytest.mark.parametrize("shape", [(5, 5), (3, 7), (7, 3), (1, 4)])
def test_nuclear_norm_is_the_sum_of_the_singular_values(shape: tuple[int, int]) -> None:
    matrix = random(*shape)
    torch.testing.assert_close(spectra.nuclear_norm(matrix), torch.linalg.matrix_norm(matrix, "nuc"))
    assert torch.autograd.gradcheck(spectra.nuclear_norm, matrix.requires_grad_())


def test_nuclear_norm_of_a_singular_matrix_has_the_least_subgradient() -> None:
    vector = random(4)
    matrix = torch.outer(vector, vector).requires_grad_()
    (gradient,) = torch.autograd.grad(spectra.nuclear_norm(matrix), matrix)
    torch.testing.assert_close(gradient, (matrix / vector.square().sum()).detach())


def test_nuclear_norm_of_zero_has_gradient_zero() -> None:
    matrix = torch.zeros(3, 4, requires_grad=True)
    (gradient,) = torch.autograd.grad(spectra.nuclear_norm(matrix), matrix)
    assert not gradient.any()


def test_eigenvalues_serve_as_well_where_the_entries_are_rounded() -> None:
    matrix = random(6, 9).float().double()  # what a Gram matrix of float32 features holds
    matrix.requires_grad_()
    exact, rounded = (
        (norm.detach(), *torch.autograd.grad(norm, matrix))
        for norm in (spectra.nuclear_norm(matrix, resolution) for resolution in (0.0, torch.finfo(torch.float32).eps))
    )
    torch.testing.assert_close(exact, rounded, rtol=1e-12, atol=1e-12)


def test_polynomials_map_all_but_the_smallest_singular_values_to_one() -> None:
    values = torch.logspace(-6, 0, 1000, dtype=torch.float64)
    for linear, cubic, quintic in spectra.QUINTICS:
        values = linear * values + cubic * values**3 + quintic * values**5
    torch.testing.assert_close(values, torch.ones_like(values), rtol=0, atol=1e-11)


@pytest.mark.parametrize("shape", [(5, 5), (3, 7)])
@pytest.mark.parametrize("smallest", [1.0, 1e-2, 1e-5])
def test_polynomials_alone_give_norm_and_polar_factor(shape: tuple[int, int], smallest: float) -> None:
    left, _, right = torch.linalg.svd(random(*shape), full_matrices=False)
    values = torch.logspace(0, math.log10(smallest), shape[0], dtype=torch.float64)
    norm, polar = spectra.iterated_polar_factor(left * values @ right)
    torch.testing.assert_close(norm, values.sum(), rtol=1e-11, atol=0)
    torch.testing.assert_close(polar, left @ right, rtol=0, atol=1e-9)


def test_polynomials_alone_leave_zero_and_pass_on_what_is_not_finite() -> None:
    norm, polar = spectra.iterated_polar_factor(torch.zeros(3, 4))
    assert norm == 0
    assert not polar.any()
    norm, polar = spectra.iterated_polar_factor(torch.full((3, 4), torch.nan))
    assert norm.isnan()
    assert polar.isnan().all()


@pytest.mark.parametrize("shapes", [(9, 8), (9, 5), (4, 5), (9, 2)], ids=str)
def test_product_nuclear_norm_is_that_of_the_product(shapes: tuple[int, int]) -> None:
    left, right = random(shapes[0], 4), random(shapes[1], 4, seed=1)
    expected = torch.linalg.matrix_norm(left @ right.T, "nuc")
    torch.testing.assert_close(spectra.product_nuclear_norm(left, right), expected)
    assert torch.autograd.gradcheck(spectra.product_nuclear_norm, (left.requires_grad_(), right.requires_grad_()))


@pytest.mark.parametrize("smallest", [1.0, 1e-3, 1e-6])
def test_trace_square_root_is_the_sum_of_the_roots_of_the_eigenvalues(smallest: float) -> None:
    matrix = positive(6, smallest=smallest)
    expected = torch.linalg.eigvals(matrix).real.sqrt().sum()
    torch.testing.assert_close(spectra.trace_square_root(matrix), expected, rtol=1e-9, atol=0)


@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e12])
def test_trace_square_root_is_homogeneous(scale: float) -> None:
    matrix = positive(5, smallest=0.1)
    torch.testing.assert_close(
        spectra.trace_square_root(scale * matrix), scale**0.5 * spectra.trace_square_root(matrix), rtol=1e-12, atol=0
    )


def test_trace_square_root_has_an_exact_gradient() -> None:
    assert torch.autograd.gradcheck(spectra.trace_square_root, positive(5, smallest=0.1).requires_grad_())


def test_trace_square_root_of_the_identity_has_half_of_it_as_gradient() -> None:
    matrix = torch.eye(4, requires_grad=True)
    (gradient,) = torch.autograd.grad(spectra.trace_square_root(matrix), matrix)
    torch.testing.assert_close(gradient, torch.eye(4) / 2)


def test_second_derivative_is_refused_in_words() -> None:
    matrix = random(3, 3).requires_grad_()
    for function in (
        spectra.nuclear_norm,
        spectra.trace_square_root,
        lambda rows: spectra.product_nuclear_norm(rows, rows),
    ):
        (gradient,) = torch.autograd.grad(function(matrix), matrix, create_graph=True)
        with pytest.raises(RuntimeError, match="second derivative"):
            torch.autograd.grad(gradient.sum(), matrix)

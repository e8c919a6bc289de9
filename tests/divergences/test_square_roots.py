"""Traces of matrix square roots and their gradients."""

import math

import pytest
import torch
from torch import Tensor

from modinv.divergences import square_roots


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def nuclear_norm(matrix: Tensor, eps: float = 0.0) -> Tensor:
    return square_roots.nuclear_norm(matrix, eps).sum()


def definite(size: int, *, smallest: float, seed: int = 0) -> Tensor:
    root = random(size, size, seed=seed)
    return root @ root.T + smallest * torch.eye(size)


@pytest.mark.parametrize("shape", [(5, 5), (3, 7), (7, 3), (1, 4)])
def test_nuclear_norm_is_the_sum_of_the_singular_values(shape: tuple[int, int]) -> None:
    matrix = random(*shape)
    torch.testing.assert_close(nuclear_norm(matrix), torch.linalg.matrix_norm(matrix, "nuc"))
    assert torch.autograd.gradcheck(nuclear_norm, matrix.requires_grad_())


def test_nuclear_norm_of_a_singular_matrix_has_the_least_subgradient() -> None:
    vector = random(4)
    matrix = torch.outer(vector, vector).requires_grad_()
    (gradient,) = torch.autograd.grad(nuclear_norm(matrix), matrix)
    torch.testing.assert_close(gradient, (matrix / vector.square().sum()).detach())


def test_nuclear_norm_of_zero_has_gradient_zero() -> None:
    matrix = torch.zeros(3, 4, requires_grad=True)
    (gradient,) = torch.autograd.grad(nuclear_norm(matrix), matrix)
    assert not gradient.any()


def test_eigenvalues_serve_as_well_where_the_entries_are_rounded() -> None:
    matrix = random(6, 9).float().double()  # what a Gram matrix of float32 features holds
    matrix.requires_grad_()
    exact, rounded = (
        (norm.detach(), *torch.autograd.grad(norm, matrix))
        for norm in (nuclear_norm(matrix, eps) for eps in (0.0, torch.finfo(torch.float32).eps))
    )
    torch.testing.assert_close(exact, rounded, rtol=1e-12, atol=1e-12)


def test_polynomials_map_all_but_the_smallest_singular_values_to_one() -> None:
    values = torch.logspace(-6, 0, 1000, dtype=torch.float64)
    for linear, cubic, quintic in square_roots.QUINTICS:
        values = linear * values + cubic * values**3 + quintic * values**5
    torch.testing.assert_close(values, torch.ones_like(values), rtol=0, atol=1e-11)


@pytest.mark.parametrize("shape", [(5, 5), (3, 7)])
@pytest.mark.parametrize("smallest", [1.0, 1e-2, 1e-5])
def test_polynomials_alone_give_norm_and_polar_factor(shape: tuple[int, int], smallest: float) -> None:
    left, _, right = torch.linalg.svd(random(*shape), full_matrices=False)
    values = torch.logspace(0, math.log10(smallest), shape[0], dtype=torch.float64)
    matrix = left * values @ right
    polar = square_roots.iterated_polar_factor(matrix)
    torch.testing.assert_close((polar * matrix).sum(), values.sum(), rtol=1e-11, atol=0)
    torch.testing.assert_close(polar, left @ right, rtol=0, atol=1e-9)


def test_polynomials_alone_leave_zero_and_pass_on_what_is_not_finite() -> None:
    assert not square_roots.iterated_polar_factor(torch.zeros(3, 4)).any()
    assert square_roots.iterated_polar_factor(torch.full((3, 4), torch.nan)).isnan().all()


def test_shares_of_the_rows_sum_to_the_nuclear_norms_of_blocks() -> None:
    first, second = random(2, 3), random(3, 3, seed=1)
    shares = square_roots.nuclear_norm(torch.block_diag(first, second))
    expected = [torch.linalg.matrix_norm(block, "nuc") for block in (first, second)]
    torch.testing.assert_close(torch.stack([shares[:2].sum(), shares[2:].sum()]), torch.stack(expected))


@pytest.mark.parametrize("shapes", [(9, 8), (9, 5), (4, 5), (9, 2)], ids=str)
def test_product_nuclear_norm_is_that_of_the_product(shapes: tuple[int, int]) -> None:
    left, right = random(shapes[0], 4), random(shapes[1], 4, seed=1)
    expected = torch.linalg.matrix_norm(left @ right.T, "nuc")
    torch.testing.assert_close(square_roots.product_nuclear_norm(left, right), expected)
    assert torch.autograd.gradcheck(square_roots.product_nuclear_norm, (left.requires_grad_(), right.requires_grad_()))


WEIGHTS = torch.tensor([[1.0, 2, 3, 0, 0, 1], [0, 1, 0, 2, 1, 1]], dtype=torch.float64)


def root_trace(rows: Tensor, ridges: Tensor) -> Tensor:
    return square_roots.root_trace(rows, WEIGHTS[:, : len(rows)], ridges).sum()


def ridges_of(value: float, size: int) -> Tensor:
    return torch.full((2, size), value, dtype=torch.float64)


@pytest.mark.parametrize("ridge", [1.0, 1e-3, 1e-6])
def test_root_trace_is_the_sum_of_the_roots_of_the_eigenvalues(ridge: float) -> None:
    rows, ridges = random(6, 4), ridges_of(ridge, 4)
    first, second = (rows.T @ torch.diag(w) @ rows + torch.diag(r) for w, r in zip(WEIGHTS, ridges, strict=True))
    expected = torch.linalg.eigvals(first @ second).real.sqrt().sum()
    torch.testing.assert_close(root_trace(rows, ridges), expected, rtol=1e-9, atol=0)


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_root_trace_scales_with_the_square_of_the_rows(scale: float) -> None:
    rows, ridges = random(6, 4), ridges_of(0.1, 4)
    torch.testing.assert_close(
        root_trace(scale * rows, scale**2 * ridges), scale**2 * root_trace(rows, ridges), rtol=1e-12, atol=0
    )


def test_root_trace_has_an_exact_gradient_for_rows_and_ridges() -> None:
    ridges = 0.1 + random(2, 4, seed=1).square()
    assert torch.autograd.gradcheck(root_trace, (random(6, 4).requires_grad_(), ridges.requires_grad_()))


def test_root_trace_of_ridges_alone_has_half_of_one_as_their_gradient() -> None:
    ridges = ridges_of(1.0, 4).requires_grad_()
    (gradient,) = torch.autograd.grad(root_trace(torch.zeros(3, 4, dtype=torch.float64), ridges), ridges)
    torch.testing.assert_close(gradient, torch.full_like(ridges, 0.5))


def test_shares_of_the_dimensions_sum_to_the_root_traces_of_blocks() -> None:
    blocks, ridges = [random(2, 2), random(3, 3, seed=1)], ridges_of(0.1, 5)
    shares = square_roots.root_trace(torch.block_diag(*blocks), WEIGHTS[:, :5], ridges)
    parts = zip(blocks, WEIGHTS[:, :5].split([2, 3], 1), ridges.split([2, 3], 1), strict=True)
    expected = [square_roots.root_trace(*part).sum() for part in parts]
    torch.testing.assert_close(torch.stack([shares[:2].sum(), shares[2:].sum()]), torch.stack(expected))


def test_second_derivative_is_refused_in_words() -> None:
    matrix = definite(3, smallest=0.1).requires_grad_()
    for function in (
        nuclear_norm,
        lambda rows: root_trace(rows, ridges_of(0.1, 3)),
        lambda rows: square_roots.product_nuclear_norm(rows, rows),
    ):
        (gradient,) = torch.autograd.grad(function(matrix), matrix, create_graph=True)
        with pytest.raises(RuntimeError, match="second derivative"):
            torch.autograd.grad(gradient.sum(), matrix)

"""Definite matrices: inverse, log-determinants, quadratic forms, coordinates and scatter, and their derivatives."""

import pytest
import torch
from torch import Tensor

from modinv.divergences import definite
from modinv.divergences.definite import Definite, coordinates_of, scatter_of

PARTS = (slice(0, 3), slice(3, 5))


def make_definite(size: int, seed: int = 0) -> Tensor:
    root = torch.randn(size, size, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return root @ root.T + torch.eye(size)


def symmetric(matrix: Tensor) -> Tensor:
    return (matrix + matrix.mT) / 2  # a perturbed entry has to stay symmetric


def test_inverse_is_the_inverse_and_can_be_differentiated_twice() -> None:
    matrix = torch.stack([make_definite(4), make_definite(4, seed=1)]).requires_grad_()
    torch.testing.assert_close(Definite(matrix).inverse, torch.linalg.inv(matrix))
    assert torch.autograd.gradcheck(lambda x: Definite(symmetric(x)).inverse, matrix)
    assert torch.autograd.gradgradcheck(lambda x: Definite(symmetric(x)).inverse, matrix)


def test_log_pivots_sum_to_log_determinants_of_blocks_and_can_be_differentiated_twice() -> None:
    matrix = make_definite(5).requires_grad_()
    blocks = torch.tensor([[1, 1, 1, 0, 0], [0, 0, 0, 1, 1]], dtype=torch.float64)

    def log_determinants(x: Tensor) -> Tensor:
        return blocks @ Definite(symmetric(x) * (blocks.T @ blocks)).log_pivots

    expected = torch.stack([torch.logdet(matrix[:3, :3]), torch.logdet(matrix[3:, 3:])])
    torch.testing.assert_close(log_determinants(matrix), expected)
    assert torch.autograd.gradcheck(log_determinants, matrix)
    assert torch.autograd.gradgradcheck(log_determinants, matrix)


def test_shares_sum_to_quadratic_forms_of_blocks_and_can_be_differentiated_twice() -> None:
    matrix, columns = make_definite(5).requires_grad_(), torch.randn(5, 2, dtype=torch.float64).requires_grad_()
    blocks = torch.tensor([[1, 1, 1, 0, 0], [0, 0, 0, 1, 1]], dtype=torch.float64)

    def forms(x: Tensor, columns: Tensor) -> Tensor:
        return blocks @ Definite(symmetric(x) * (blocks.T @ blocks)).shares(columns)  # (2, 2)

    expected = [(columns[part] * torch.linalg.solve(matrix[part, part], columns[part])).sum(0) for part in PARTS]
    torch.testing.assert_close(forms(matrix, columns), torch.stack(expected))
    assert torch.autograd.gradcheck(forms, (matrix, columns))
    assert torch.autograd.gradgradcheck(forms, (matrix, columns))


def test_shares_keep_their_digits_where_the_matrix_is_nearly_singular() -> None:
    # A column that the matrix holds: the form is exactly known, though the inverse has lost half of its digits.
    scale = torch.logspace(0, -12, 5, dtype=torch.float64)
    root = torch.linalg.qr(make_definite(5)).Q
    matrix = root @ torch.diag(scale) @ root.T
    column = matrix @ torch.ones(5, 1, dtype=torch.float64)
    torch.testing.assert_close(Definite(matrix).shares(column).sum(), column.sum(), rtol=1e-10, atol=0)


def test_an_accelerator_gets_the_same_inverse_by_a_triangular_solve() -> None:
    factor = torch.linalg.cholesky(make_definite(6))
    half = definite._inverse_of(factor)
    torch.testing.assert_close(half.T @ half, torch.cholesky_inverse(factor))


def invariant(products: Tensor) -> Tensor:
    """Something that reads rows, and does not change when all rows are turned."""
    rows = coordinates_of(symmetric(products), torch.ones(len(products), dtype=torch.float64), 0.0)
    weights = torch.arange(1.0, len(products) + 1, dtype=torch.float64)
    return (rows.T @ (weights[:, None] * rows)).square().sum()


def test_coordinates_have_the_products_and_can_be_differentiated_twice() -> None:
    products = make_definite(4).requires_grad_()
    rows = coordinates_of(products, products.detach().diagonal().sqrt(), 0.0)
    torch.testing.assert_close(rows @ rows.T, products)
    assert torch.autograd.gradcheck(invariant, products)
    assert torch.autograd.gradgradcheck(invariant, products)


@pytest.mark.parametrize("length", [0.0, 1e-20, 1e10])
def test_coordinates_take_rows_of_any_length(length: float) -> None:
    lengths = torch.tensor([1.0, length, 2.0], dtype=torch.float64)
    directions = torch.linalg.cholesky(make_definite(3))
    directions = directions / directions.norm(dim=1, keepdim=True)
    products = lengths[:, None] * (directions @ directions.T) * lengths
    rows = coordinates_of(products, lengths, 1e-15)
    torch.testing.assert_close(rows @ rows.T, products, rtol=1e-12, atol=0)


def test_coordinates_of_rows_that_depend_on_each_other_have_a_finite_gradient() -> None:
    products = torch.ones(5, 5, dtype=torch.float64, requires_grad=True)  # one row, five times
    rows = coordinates_of(products, torch.ones(5, dtype=torch.float64), 1e-15)
    (gradient,) = torch.autograd.grad((rows.T @ rows).square().sum(), products)
    torch.testing.assert_close(rows @ rows.T, products)
    assert gradient.isfinite().all()


def test_indefinite_products_get_more_jitter() -> None:
    products = torch.ones(4, 4, dtype=torch.float64)
    products[3, 3] -= 1e-6
    scale = torch.ones(4, dtype=torch.float64)
    for jitter in (5e-7, 1e-7):  # 8 times as much is enough, then 8 sqrt(N) times
        rows = coordinates_of(products, scale, jitter)
        assert (rows.diagonal() > 0).all()  # a pivot below zero is what an indefinite matrix leaves
        torch.testing.assert_close(rows @ rows.T, products, rtol=0, atol=5e-6)


def test_scatter_is_that_of_each_weight_and_can_be_differentiated_twice() -> None:
    rows = torch.randn(5, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    weights = torch.rand(5, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    expected = torch.stack([rows.T @ torch.diag(weight) @ rows for weight in weights.T])
    torch.testing.assert_close(scatter_of(rows, weights), expected)
    assert torch.autograd.gradcheck(lambda x: scatter_of(x, weights), rows)
    assert torch.autograd.gradgradcheck(lambda x: scatter_of(x, weights), rows)

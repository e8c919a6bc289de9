"""The inverse and the log-determinants of a definite matrix, and their derivatives."""

import torch
from torch import Tensor

from modinv.divergences.definite import Definite, inverse_of_factor


def definite(size: int, seed: int = 0) -> Tensor:
    root = torch.randn(size, size, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return root @ root.T + torch.eye(size)


def symmetric(matrix: Tensor) -> Tensor:
    return (matrix + matrix.T) / 2  # a perturbed entry has to stay symmetric


def test_inverse_is_the_inverse_and_can_be_differentiated_twice() -> None:
    matrix = definite(5).requires_grad_()
    torch.testing.assert_close(Definite(matrix).inverse, torch.linalg.inv(matrix))
    assert torch.autograd.gradcheck(lambda x: Definite(symmetric(x)).inverse, matrix)
    assert torch.autograd.gradgradcheck(lambda x: Definite(symmetric(x)).inverse, matrix)


def test_log_pivots_sum_to_log_determinants_of_blocks_and_can_be_differentiated_twice() -> None:
    matrix = definite(5).requires_grad_()
    blocks = torch.tensor([[1, 1, 1, 0, 0], [0, 0, 0, 1, 1]], dtype=torch.float64)

    def log_determinants(x: Tensor) -> Tensor:
        return blocks @ Definite(symmetric(x) * (blocks.T @ blocks)).log_pivots

    expected = torch.stack([torch.logdet(matrix[:3, :3]), torch.logdet(matrix[3:, 3:])])
    torch.testing.assert_close(log_determinants(matrix), expected)
    assert torch.autograd.gradcheck(log_determinants, matrix)
    assert torch.autograd.gradgradcheck(log_determinants, matrix)


def test_an_accelerator_gets_the_same_inverse_by_a_triangular_solve() -> None:
    factor = torch.linalg.cholesky(definite(6))
    torch.testing.assert_close(inverse_of_factor(factor, on_host=False), inverse_of_factor(factor, on_host=True))

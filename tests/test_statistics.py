"""Means, rows around them, and the Gram matrix."""

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

import modinv
from batches import make_batch
from modinv.statistics import statistics_of


def test_means_and_rows_rebuild_the_features() -> None:
    features, labels, modalities = make_batch((4, 6, 5))
    statistics = statistics_of(features, labels, modalities)
    assert statistics.counts.tolist() == [4, 6, 5]
    for modality in range(3):
        rows = features[modalities == modality]
        torch.testing.assert_close(
            statistics.centered.means[modality], rows.mean(0) - features.mean(0), rtol=0, atol=1e-14
        )
        torch.testing.assert_close(
            statistics.centered.rows[modalities == modality], rows - rows.mean(0), rtol=0, atol=1e-14
        )


def test_gram_holds_the_inner_products_of_rows_and_means() -> None:
    statistics = statistics_of(*make_batch())
    stacked = torch.cat(statistics.centered)
    for i in range(len(stacked)):
        for j in range(len(stacked)):
            torch.testing.assert_close(statistics.gram[i, j], stacked[i].dot(stacked[j]), rtol=0, atol=1e-11)


def test_row_gram_holds_the_inner_products_of_the_shifted_features() -> None:
    features, labels, modalities = make_batch((4, 6, 5))
    shifted = features - features.mean(0)
    torch.testing.assert_close(
        statistics_of(features, labels, modalities).row_gram, shifted @ shifted.T, rtol=0, atol=1e-11
    )


def test_cell_sizes_count_rows_of_one_identity_and_modality() -> None:
    _, labels, modalities = batch = make_batch()
    sizes = statistics_of(*batch).cell_sizes
    for i in range(len(labels)):
        assert sizes[i] == ((labels == labels[i]) & (modalities == modalities[i])).sum()


def derived(features: Tensor, labels: Tensor, modalities: Tensor) -> Tensor:
    """Something that reads all of the Gram matrix and does not move with a common offset."""
    gram = statistics_of(features, labels, modalities).gram  # (N + 2, N + 2)
    generator = torch.Generator().manual_seed(3)
    to_differences = torch.eye(len(gram), dtype=torch.float64)
    to_differences[-2:, -2:] = torch.tensor([[1.0, -1.0], [-1.0, 1.0]])
    free = to_differences @ gram @ to_differences
    return (torch.rand(free.shape, dtype=torch.float64, generator=generator) * free.square()).sum()


def test_gram_has_exact_first_and_second_derivatives() -> None:
    features, labels, modalities = make_batch((3, 4), dimension=3)
    features.requires_grad_()
    assert torch.autograd.gradcheck(lambda rows: derived(rows, labels, modalities), features)
    assert torch.autograd.gradgradcheck(lambda rows: derived(rows, labels, modalities), features)


def test_products_are_float64_where_the_user_lets_float32_ones_be_rounded() -> None:
    features, labels, modalities = make_batch((40, 40), dimension=512, dtype=torch.float32)

    def gram_and_gradient(rows: Tensor) -> tuple[Tensor, Tensor]:
        rows = rows.clone().requires_grad_()
        gram = statistics_of(rows, labels, modalities).gram
        return gram, torch.autograd.grad(gram.square().sum(), rows)[0]

    exact, exact_gradient = gram_and_gradient(features.double())
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        gram, gradient = gram_and_gradient(features)
    finally:
        torch.set_float32_matmul_precision(before)
    # Even a float32 product that is not rounded is a million times further off.
    assert (gram - exact).abs().max() < 1e-14 * exact.abs().max()
    assert (gradient - exact_gradient).abs().max() < 1e-7 * exact_gradient.abs().max()  # cast to float32 once


class _CountProducts(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Count the matrix products of at least so many multiplications."""

    def __init__(self, least: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.least, self.count = least, 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN204
        if func is torch.ops.aten.mm.default:
            self.count += args[0].shape[0] * args[0].shape[1] * args[1].shape[1] >= self.least
        return func(*args, **(kwargs or {}))


def test_sum_of_losses_costs_one_gram_matrix_forward_and_one_product_backward() -> None:
    features, labels, modalities = make_batch((16, 16), dimension=97)
    losses = modinv.WeightedLosses(
        {
            "gaussian": (1.0, modinv.GaussianDistributionConsistencyLoss()),
            "jeffreys": (1.0, modinv.GaussianDistributionConsistencyLoss(divergence="jeffreys", shrinkage=0.5)),
            "center": (1.0, modinv.HeteroCenterTripletLoss()),
            "triplet": (1.0, modinv.WeightedRegularizedTripletLoss()),
            "intra": (1.0, modinv.IntraModalityLoss()),
        }
    )
    features.requires_grad_()
    with _CountProducts(32 * 32 * 97) as products:
        value = losses(features, labels, modalities)
        assert products.count == 1
        torch.autograd.grad(value, features)
        assert products.count == 2


def test_diagonal_covariance_builds_no_gram_matrix() -> None:
    features, labels, modalities = make_batch((16, 16), dimension=97)
    loss = modinv.GaussianDistributionConsistencyLoss(covariance="diagonal")
    with _CountProducts(32 * 32 * 97) as products:
        loss(features, labels, modalities)
    assert products.count == 0

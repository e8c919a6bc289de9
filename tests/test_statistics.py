"""Means, rows around them, and the Gram matrix."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

import modinv
from batches import make_batch
from modinv.statistics import Statistics, statistics_of


def test_means_and_rows_rebuild_the_features() -> None:
    features, labels, modalities = make_batch((4, 6, 5))
    statistics = statistics_of(features, labels, modalities)
    assert statistics.counts.tolist() == [4, 6, 5]
    for modality in range(3):
        rows = features[modalities == modality]
        torch.testing.assert_close(statistics.means[modality], rows.mean(0) - features.mean(0), rtol=0, atol=1e-14)
        torch.testing.assert_close(statistics.rows[modalities == modality], rows - rows.mean(0), rtol=0, atol=1e-14)


def test_gram_holds_the_inner_products_of_rows_and_means() -> None:
    statistics = statistics_of(*make_batch())
    stacked = torch.cat([statistics.rows, statistics.means])
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


@pytest.mark.parametrize("read", [lambda s: s.rows, lambda s: s.means, lambda s: s.gram, lambda s: s.row_gram])
def test_statistics_have_exact_gradients(read: Callable[[Statistics], Tensor]) -> None:
    features, labels, modalities = make_batch((3, 4), dimension=3)
    weights = torch.rand(9, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(3))

    def total(rows: Tensor) -> Tensor:
        # The shift is detached, which is exact for what does not move with a common offset: differences of the means.
        part = read(statistics_of(rows, labels, modalities))
        centered = part - part.mean(0) if part.shape[0] == 2 else part
        return (weights[: part.shape[0], : part.shape[1]] * centered).sum()

    offset_free = read(statistics_of(features + 1, labels, modalities))
    torch.testing.assert_close(offset_free, read(statistics_of(features, labels, modalities)), rtol=0, atol=1e-12)
    if offset_free.shape == (7, 3) or offset_free.shape == (2, 3):
        assert torch.autograd.gradcheck(total, features.requires_grad_())


def test_gram_has_exact_first_and_second_derivatives() -> None:
    rows = torch.rand(4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(4)).requires_grad_()
    gram = modinv.statistics._Gram.apply
    assert torch.autograd.gradcheck(gram, rows)
    assert torch.autograd.gradgradcheck(gram, rows)


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

"""Means, rows around them, and the Gram matrix."""

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

import modinv
from batches import make_batch
from modinv.centers import RowsToCenters
from modinv.directions import inner_products
from modinv.distances import safe_sqrt
from modinv.losses.loss import farthest, nearest
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


class _CountProducts(TorchDispatchMode):
    """Count the matrix products of at least so many multiplications."""

    def __init__(self, least: int) -> None:
        super().__init__()
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


def test_triplets_in_front_of_a_gaussian_loss_read_its_gram_matrix_too() -> None:
    features, labels, modalities = make_batch((16, 16), dimension=97)
    triplet, gaussian = modinv.BatchHardTripletLoss(), modinv.GaussianDistributionConsistencyLoss()
    losses = modinv.WeightedLosses({"triplet": (1.0, triplet), "gaussian": (1.0, gaussian)})
    with _CountProducts(32 * 32 * 97) as products:
        terms = losses.terms(features, labels, modalities)
    assert products.count == 1
    torch.testing.assert_close(terms.triplet, triplet(features, labels, modalities), rtol=1e-12, atol=0)


def test_centers_alone_in_a_sum_build_no_gram_matrix_of_the_rows() -> None:
    features, labels, modalities = make_batch((16, 16), dimension=97)
    losses = modinv.WeightedLosses({"center": (1.0, modinv.HeteroCenterTripletLoss())})
    with _CountProducts(32 * 32 * 97) as products:
        losses(features, labels, modalities)
    assert products.count == 0


def test_diagonal_covariance_builds_no_gram_matrix() -> None:
    features, labels, modalities = make_batch((16, 16), dimension=97)
    loss = modinv.GaussianDistributionConsistencyLoss(covariance="diagonal")
    with _CountProducts(32 * 32 * 97) as products:
        loss(features, labels, modalities)
    assert products.count == 0


def test_row_distances_are_euclidean() -> None:
    batch = make_batch()
    expected = torch.cdist(batch.features, batch.features, compute_mode="donot_use_mm_for_euclid_dist")
    actual = statistics_of(*batch).row_distances
    torch.testing.assert_close(actual, expected, rtol=1e-12, atol=1e-6)  # the diagonal is a root of rounding errors


def test_inner_products_are_those_of_the_features_and_keep_their_digits_far_from_the_origin() -> None:
    features, labels, modalities = make_batch(dtype=torch.float32)
    for rows in (features, features + 1e4):
        products = inner_products(statistics_of(rows, labels, modalities))
        exact = rows.double() @ rows.double().T
        torch.testing.assert_close(products, exact, rtol=1e-12, atol=1e-4)  # float32 rounds 24 x 1e8 to 100


def test_inner_products_have_exact_derivatives() -> None:
    features, labels, modalities = make_batch(dimension=5)
    weights = torch.randn(16, 16, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    leaf = features.clone().requires_grad_()
    (gradient,) = torch.autograd.grad((weights * inner_products(statistics_of(leaf, labels, modalities))).sum(), leaf)
    torch.testing.assert_close(gradient, (weights + weights.T) @ features, rtol=1e-10, atol=1e-10)


def test_center_distances_are_those_of_the_cells() -> None:
    features, labels, modalities = batch = make_batch()
    centers = torch.stack(
        [features[(labels == y) & (modalities == m)].mean(0) for y, m in zip(labels, modalities, strict=True)]
    )
    expected = torch.cdist(centers, centers, compute_mode="donot_use_mm_for_euclid_dist")
    torch.testing.assert_close(RowsToCenters(statistics_of(*batch)).between_cells, expected, rtol=1e-12, atol=1e-6)


def test_safe_sqrt_has_value_and_gradient_zero_at_zero_and_below() -> None:
    squares = torch.tensor([4.0, 0.0, -1e-7], requires_grad=True)
    roots = safe_sqrt(squares)
    (gradient,) = torch.autograd.grad(roots.sum(), squares)
    assert roots.tolist() == [2.0, 0.0, 0.0]
    assert gradient.tolist() == [0.25, 0.0, 0.0]


def test_safe_sqrt_lets_nan_through() -> None:
    assert safe_sqrt(torch.tensor(torch.nan)).isnan()


def test_extremes_over_a_mask_are_zero_where_it_is_empty() -> None:
    values = torch.tensor([[3.0, 1.0, 2.0], [5.0, 4.0, 6.0]])
    mask = torch.tensor([[True, False, True], [False, False, False]])
    assert farthest(values, mask).tolist() == [3.0, 0.0]
    assert nearest(values, mask).tolist() == [2.0, 0.0]

"""Which Gaussians are compared, and what each comparison counts."""

import torch

from batches import make_batch
from modinv.groups import LEVELS, both_ways, comparisons_of, joint_weights, pair_weights, pairs
from modinv.statistics import statistics_of


def test_weights_of_the_comparisons_sum_to_one_for_all_pairs_alike() -> None:
    statistics = statistics_of(*make_batch((9, 8, 7), identities=5))
    for level in LEVELS:
        weights = pair_weights(comparisons_of(statistics, level), 1)
        torch.testing.assert_close(weights.sum(1), torch.full((3,), 1 / 3, dtype=torch.float64))


def test_nothing_to_compare_gives_weights_of_zero() -> None:
    features, labels, modalities = make_batch((9, 0))
    for count in (1, 2):
        compared = comparisons_of(statistics_of(features, labels, modalities, count), "modality")
        assert not pair_weights(compared, 0).any()
        assert not joint_weights(compared)[0].any()


def test_pairs_come_in_order_for_any_number_of_modalities() -> None:
    for count in (1, 2, 4):
        numbers = torch.arange(count)
        first, second = pairs(numbers)
        expected = [(a, b) for a in range(count) for b in range(a + 1, count)]
        assert list(zip(first.tolist(), second.tolist(), strict=True)) == expected
        assert torch.equal(both_ways(numbers), torch.stack([first, second]))


def test_lengths_of_pairs_come_out_of_inner_products() -> None:
    compared = comparisons_of(statistics_of(*make_batch((3, 4, 5))), "modality")
    vectors = torch.randn(3, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    lengths = compared.pair_lengths((vectors @ vectors.T)[:, :, None])
    torch.testing.assert_close(lengths[:, 0], torch.pdist(vectors).square())


def test_a_covariance_of_one_row_counts_nothing_at_the_level_of_identities() -> None:
    statistics = statistics_of(torch.randn(3, 4), torch.tensor([0, 0, 1]), torch.tensor([0, 0, 1]))
    compared = comparisons_of(statistics, "identity")
    assert compared.weights.tolist() == [[1.0, 0.0], [1.0, 0.0], [0.0, 0.0]]
    assert compared.degrees.tolist() == [[1.0, 1.0, 0.0], [0.0, 0.0, 0.0]]

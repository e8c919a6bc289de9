"""The forms of a set of Gaussians agree with each other, and each is taken where it is the cheaper one."""

import pytest
import torch
from modinv.divergences.layout import lay_out, single_pair

from batches import make_batch
from modinv import divergences
from modinv.divergences import FeatureGaussians, Gaussians, SampleGaussians, compare, compare_all, gaussians_of
from modinv.statistics import statistics_of

FORMULAS = {
    "wasserstein": divergences.wasserstein,
    "kl": divergences.kl,
    "jeffreys": divergences.jeffreys,
    "bhattacharyya": divergences.bhattacharyya,
    "moments": divergences.moments,
}


@pytest.mark.parametrize("name", [*FORMULAS, "jensen_shannon"])
@pytest.mark.parametrize("shrinkage", [0.2, "oas", "ledoit_wolf"])
@pytest.mark.parametrize("dimension", [6, 17, 18, 19, 40])
def test_sample_space_and_feature_space_give_the_same(name: str, shrinkage: float | str, dimension: int) -> None:
    features, labels, modalities = make_batch((10, 8), dimension=dimension)
    features.requires_grad_()
    values, gradients = [], []
    for form in (SampleGaussians, FeatureGaussians):
        statistics = statistics_of(features, labels, modalities)
        gaussians = form(statistics, lay_out(statistics, "modality"), shrinkage)
        if name == "jensen_shannon":
            parts = divergences.jensen_shannon(gaussians, *compare_all(gaussians.layout))
        else:
            parts = FORMULAS[name](gaussians, compare(gaussians.layout, needs_covariance=True))
        values.append(torch.stack(parts))
        gradients.append(torch.autograd.grad(values[-1].sum(), features)[0])
    torch.testing.assert_close(values[0], values[1], rtol=1e-10, atol=1e-11)
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-8, atol=1e-10)


def test_unshrunk_root_trace_is_the_same_in_both_spaces() -> None:
    for counts, dimension in (((10, 8), 6), ((10, 8), 40), ((12, 3), 9)):
        statistics = statistics_of(*make_batch(counts, dimension=dimension))
        pairs = single_pair()
        roots = [
            form(statistics, lay_out(statistics, "modality"), 0.0).root_trace(pairs)
            for form in (SampleGaussians, FeatureGaussians)
        ]
        torch.testing.assert_close(roots[0], roots[1], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("counts", "level", "expected"),
    [
        ((12, 12), "modality", SampleGaussians),
        ((13, 12), "modality", FeatureGaussians),
        ((13, 12), "identity", SampleGaussians),
        ((13, 12), "within", SampleGaussians),
    ],
)
def test_full_covariance_takes_the_cheaper_space(
    counts: tuple[int, int], level: str, expected: type[Gaussians]
) -> None:
    statistics = statistics_of(*make_batch(counts, dimension=24))
    assert isinstance(gaussians_of(statistics, level, "full", 0.1), expected)


def test_weights_of_the_comparisons_sum_to_one_for_each_pair_alike() -> None:
    statistics = statistics_of(*make_batch((9, 8, 7), identities=5))
    for level in divergences.LEVELS:
        pairs = compare(lay_out(statistics, level), needs_covariance=True)
        assert pairs.ordered == ((0, 1), (0, 2), (1, 2))
        third = torch.full((3, 3), 1 / 3, dtype=torch.float64).triu(1)
        torch.testing.assert_close(pairs.weights.sum(2), third)


def test_nothing_to_compare_gives_weights_of_zero() -> None:
    features, labels, modalities = make_batch((9, 0))
    for count in (1, 2):
        layout = lay_out(statistics_of(features, labels, modalities, count), "modality")
        assert not compare(layout, needs_covariance=False).weights.any()
        assert not compare_all(layout)[0].any()

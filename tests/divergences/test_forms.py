"""The forms of a set of Gaussians: each answer against D x D matrices, and the two full forms against each other."""

from itertools import product

import numpy as np
import pytest
import torch

from batches import make_batch
from modinv.divergences import DiagonalGaussians, FeatureGaussians, Gaussians, SampleGaussians, gaussians_of
from modinv.statistics import statistics_of
from oracles import modality_gaussians

FORMS = {"sample": SampleGaussians, "feature": FeatureGaussians, "diagonal": DiagonalGaussians}
COUNTS = (4, 6, 5)
PAIRS = [(a, b) for a, b in product(range(3), repeat=2) if a != b]

every_form = pytest.mark.parametrize("form", FORMS)
shapes = pytest.mark.parametrize("dimension", [3, 11, 40])


def build(form: str, dimension: int, shrinkage: float) -> tuple[Gaussians, list[tuple[np.ndarray, np.ndarray]]]:
    features, labels, modalities = make_batch(COUNTS, dimension=dimension)
    covariance = "diagonal" if form == "diagonal" else "full"
    oracle = modality_gaussians(features, modalities, shrinkage, covariance)
    return FORMS[form](statistics_of(features, labels, modalities), shrinkage), oracle


@every_form
@shapes
def test_traces_and_mean_distances_are_those_of_the_moments(form: str, dimension: int) -> None:
    gaussians, oracle = build(form, dimension, 0.3)
    np.testing.assert_allclose(gaussians.traces(), [np.trace(cov) for _, cov in oracle], rtol=1e-12)
    for a, b in PAIRS:
        expected = ((oracle[a][0] - oracle[b][0]) ** 2).sum()
        np.testing.assert_allclose(gaussians.squared_mean_distances()[a, b], expected, rtol=1e-12)


@every_form
@shapes
@pytest.mark.parametrize("shrinkage", [0.0, 0.3, 1.0])
def test_covariance_distances_are_frobenius_norms(form: str, dimension: int, shrinkage: float) -> None:
    gaussians, oracle = build(form, dimension, shrinkage)
    for a, b in PAIRS:
        expected = ((oracle[a][1] - oracle[b][1]) ** 2).sum()
        np.testing.assert_allclose(gaussians.squared_covariance_distances()[a, b], expected, rtol=1e-10, atol=1e-10)


@every_form
@shapes
@pytest.mark.parametrize("shrinkage", [0.01, 0.3, 1.0])
def test_relative_traces_and_means_are_those_of_the_inverse(form: str, dimension: int, shrinkage: float) -> None:
    gaussians, oracle = build(form, dimension, shrinkage)
    relative = gaussians.relative()
    for a, b in PAIRS:
        inverse = np.linalg.inv(oracle[b][1])
        difference = oracle[a][0] - oracle[b][0]
        excess = np.trace(inverse @ oracle[a][1]) - dimension
        np.testing.assert_allclose(relative.excess_trace[a, b], excess, rtol=1e-10)
        np.testing.assert_allclose(relative.mahalanobis[a, b], difference @ inverse @ difference, rtol=1e-10)


@pytest.mark.parametrize(("counts", "expected"), [((12, 12), SampleGaussians), ((13, 12), FeatureGaussians)])
def test_full_covariance_takes_sample_space_while_rows_do_not_outnumber_features(
    counts: tuple[int, int], expected: type[Gaussians]
) -> None:
    statistics = statistics_of(*make_batch(counts, dimension=24))
    assert isinstance(gaussians_of(statistics, "full", 0.1), expected)


def test_sample_space_makes_nothing_of_feature_by_feature_size() -> None:
    features, labels, modalities = make_batch((8, 8), dimension=512)
    with torch.profiler.profile(profile_memory=True) as profile:
        for shrinkage in (0.0, 0.2):
            gaussians = gaussians_of(statistics_of(features, labels, modalities), "full", shrinkage)
            gaussians.root_traces(), gaussians.squared_covariance_distances()
        gaussians.relative()
    largest = max(abs(event.cpu_memory_usage) for event in profile.events())
    assert 0 < largest < 512 * 512 * 8 // 2

"""Telling the modality of a row, against plain loops that leave out each row and learn again."""

from typing import Literal

import pytest
import torch

from batches import make_batch
from modinv.diagnostics import modality_accuracy, modality_gap

from .plain_loops import accuracy_of, linear_accuracy_of

Classifier = Literal["nearest_mean", "linear"]
CLASSIFIERS: tuple[Classifier, ...] = ("nearest_mean", "linear")
both = pytest.mark.parametrize("classifier", CLASSIFIERS)


@both
@pytest.mark.parametrize("modalities", [[0, 0, 0], [1, 1, 1], []])
def test_one_modality_alone_has_gap_and_accuracy_zero(modalities: list[int], classifier: Classifier) -> None:
    features, numbers = torch.rand(len(modalities), 4), torch.tensor(modalities, dtype=torch.int64)
    assert [float(value) for value in modality_gap(features, numbers)] == [0, 0, 0, 0]
    assert float(modality_accuracy(features, numbers, classifier=classifier)) == 0


def test_accuracy_is_that_of_the_nearest_mean_without_the_row() -> None:
    for seed in range(5):
        features, _, modalities = make_batch((9, 7, 4), gap=0.3, seed=seed)
        assert float(modality_accuracy(features, modalities)) == pytest.approx(
            accuracy_of(features, modalities), rel=1e-12
        )


@pytest.mark.parametrize("dimension", [3, 12, 40])  # fewer than the rows, and more
def test_linear_accuracy_is_that_of_discriminant_analysis_without_the_row(dimension: int) -> None:
    seen = set()
    for seed in range(6):
        features, _, modalities = make_batch((9, 7, 5), gap=0.3, seed=seed, dimension=dimension)
        expected = linear_accuracy_of(features, modalities)
        assert float(modality_accuracy(features, modalities, classifier="linear")) == pytest.approx(expected, rel=1e-12)
        seen.add(round(expected, 6))
    assert len(seen) > 3


def test_linear_probe_finds_a_small_gap_in_a_direction_of_little_spread() -> None:
    generator = torch.Generator().manual_seed(0)
    features, modalities = torch.randn(200, 20, generator=generator), torch.arange(200) % 2
    features[:, 7] = 0.1 * features[:, 7] + 0.5 * modalities
    assert float(modality_accuracy(features, modalities)) < 0.7
    assert float(modality_accuracy(features, modalities, classifier="linear")) > 0.95


@pytest.mark.parametrize("dimension", [8, 400])  # fewer than the rows, and more
def test_linear_probe_of_one_distribution_guesses(dimension: int) -> None:
    generator = torch.Generator().manual_seed(0)
    shares = [
        float(
            modality_accuracy(
                torch.randn(60, dimension, generator=generator), torch.arange(60) % 2, classifier="linear"
            )
        )
        for _ in range(40)
    ]
    assert 0.45 < sum(shares) / len(shares) < 0.52


@pytest.mark.parametrize("scale", [1e-6, 1e6])
@both
def test_accuracy_ignores_scale_and_position(scale: float, classifier: Classifier) -> None:
    features, _, modalities = make_batch((20, 17), gap=0.3)
    expected = modality_accuracy(features, modalities, classifier=classifier)
    assert modality_accuracy(scale * (features + 3), modalities, classifier=classifier) == expected
    assert 0.5 < float(expected) < 1


def test_accuracy_counts_modalities_alike() -> None:
    features = torch.cat([torch.full((90, 2), -5.0), torch.full((5, 2), -5.0), torch.full((5, 2), 5.0)])
    modalities = (torch.arange(100) >= 90).long()  # half of the second modality looks like the first
    features += 0.1 * torch.rand(100, 2, generator=torch.Generator().manual_seed(0))
    assert float(modality_accuracy(features, modalities)) == 0.75


@both
def test_equal_rows_leave_a_guess(classifier: Classifier) -> None:
    for rows in (torch.full((9, 4), 0.3), torch.full((14, 24), 1e4 / 3, dtype=torch.float64)):
        modalities = (torch.arange(len(rows)) % 4).clamp(max=2)
        accuracy = modality_accuracy(rows, modalities, classifier=classifier)
        assert float(accuracy) == pytest.approx(1 / 3, rel=1e-12)


@both
def test_two_points_without_spread_are_told_apart(classifier: Classifier) -> None:
    modalities = torch.tensor([0, 0, 0, 1, 1])
    features = modalities[:, None] * torch.full((5, 3), 0.1) + 0.7
    assert float(modality_accuracy(features, modalities, classifier=classifier)) == 1


@both
def test_accuracy_leaves_out_a_modality_with_one_row(classifier: Classifier) -> None:
    features, _, modalities = make_batch((9, 7))
    more = torch.cat([features, features[:1] + 1])
    expected = float(modality_accuracy(features, modalities, classifier=classifier))
    numbers = torch.cat([modalities, torch.tensor([2])])
    assert float(modality_accuracy(more, numbers, classifier=classifier)) == expected


def test_unknown_classifier_is_answered_with_the_known_ones() -> None:
    features, _, modalities = make_batch()
    with pytest.raises(ValueError, match="classifier must be one of 'nearest_mean', 'linear', got 'lda'"):
        modality_accuracy(features, modalities, classifier="lda")  # type: ignore[arg-type]

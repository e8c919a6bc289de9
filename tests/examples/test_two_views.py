"""The example on the halves of real digits."""

import runpy
from pathlib import Path

import pytest
import torch
from sklearn.metrics import average_precision_score

SCRIPT = Path(__file__).parents[2] / "examples" / "two_views.py"


@pytest.fixture(scope="module")
def views() -> dict[str, object]:
    return runpy.run_path(str(SCRIPT))


def test_mean_average_precision_is_that_of_scikit_learn(views: dict[str, object]) -> None:
    torch.manual_seed(0)
    queries, gallery, labels = torch.randn(30, 4), torch.randn(30, 4), torch.randint(3, (30,))
    similarities = torch.nn.functional.normalize(queries) @ torch.nn.functional.normalize(gallery).T
    expected = [average_precision_score(labels == label, row) for label, row in zip(labels, similarities, strict=True)]
    value = views["mean_average_precision"](queries, gallery, labels)  # type: ignore[operator]
    assert value == pytest.approx(100 * sum(expected) / len(expected), rel=1e-6)


def test_gain_is_the_interval_of_student_for_paired_differences(views: dict[str, object]) -> None:
    # Differences 1, 2, 3: mean 2, standard error 1 / sqrt(3), quantile of t with 2 degrees of freedom 4.3027.
    assert views["gain"]([2.0, 4.0, 6.0], [1.0, 2.0, 3.0]) == "+2.00 (-0.48 … +4.48)"  # type: ignore[operator]


@pytest.mark.slow
def test_distribution_consistency_helps_on_real_halves(views: dict[str, object]) -> None:
    baseline, consistency, *_ = views["METHODS"].values()  # type: ignore[attr-defined]
    scores = [views["score"](seed, losses(), 200) for losses in (baseline, consistency) for seed in (3, 4)]  # type: ignore[operator]
    assert min(scores[2:]) > max(scores[:2])

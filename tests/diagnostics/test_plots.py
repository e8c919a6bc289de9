"""Pictures hold the numbers that they are drawn from."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib import pyplot
from matplotlib.figure import Figure

from batches import degenerate_batches, make_batch
from modinv.diagnostics import (
    distance_histograms,
    modality_gap,
    plot_cloud,
    plot_gap,
    plot_histograms,
)

HISTOGRAMS = distance_histograms(*make_batch((13, 10)), bins=20)
GAPS = [modality_gap(*make_batch(gap=gap)[::2]) for gap in (2.0, 1.0, 0.5)]


@pytest.fixture(autouse=True)
def without_a_window() -> Iterator[None]:
    pyplot.switch_backend("Agg")
    yield
    pyplot.close("all")


def texts(axes: Any) -> list[str]:
    return [text.get_text() for text in axes.get_legend().get_texts()]


def test_each_kind_of_pair_has_a_line_of_area_one() -> None:
    axes: Any = plot_histograms(HISTOGRAMS)
    assert texts(axes) == [
        "within a modality, same identity",
        "within a modality, different identity",
        "across modalities, same identity",
        "across modalities, different identity",
    ]
    for patch, counts in zip(axes.patches, HISTOGRAMS[1:], strict=True):
        values, edges, _ = patch.get_data()
        np.testing.assert_allclose(values * np.diff(edges), counts / counts.sum(), rtol=1e-6)


def test_histogram_without_pairs_is_drawn() -> None:
    axes: Any = plot_histograms(distance_histograms(*make_batch((1, 0))))
    assert all(not patch.get_data().values.any() for patch in axes.patches)


def test_cloud_holds_the_rows_on_the_directions_of_largest_variance() -> None:
    features, _, modalities = make_batch((13, 10))
    axes: Any = plot_cloud(features, modalities)
    points = np.concatenate([np.asarray(axes.collections[place].get_offsets()) for place in (0, 2)])
    variances = np.linalg.eigvalsh(np.cov(features.numpy().T))[::-1]
    np.testing.assert_allclose(np.cov(points.T), np.diag(variances[:2]), atol=1e-9 * variances[0])
    assert [len(axes.collections[place].get_offsets()) for place in (0, 2)] == [13, 10]
    np.testing.assert_allclose(axes.collections[1].get_offsets()[0], points[:13].mean(0), rtol=1e-9)
    assert texts(axes) == ["visible", "infrared"]
    assert f"{variances[0] / variances.sum():.0%} of the variance" in axes.get_xlabel()


@pytest.mark.parametrize("seed", range(4))
def test_largest_weight_of_each_direction_is_positive_so_that_a_picture_repeats(seed: int) -> None:
    features, _, _ = make_batch((13,), seed=seed)
    axes: Any = plot_cloud(features, torch.zeros(13).long())
    for weights in np.asarray(axes.collections[0].get_offsets()).T @ features.numpy():
        assert weights[np.abs(weights).argmax()] > 0


def test_cloud_names_the_modalities_as_it_is_told() -> None:
    features, _, modalities = make_batch((5, 4, 3))
    assert texts(plot_cloud(features, modalities, names=("image", "text"))) == ["image", "text", "modality 2"]
    assert len(texts(plot_cloud(features, modalities, num_modalities=4))) == 4


@pytest.mark.parametrize("name", ["no row", "one row", "constant rows", "one feature", "one modality only"])
def test_cloud_of_a_degenerate_batch_is_drawn(name: str, tmp_path: Path) -> None:
    features, _, modalities = degenerate_batches(torch.float32)[name]
    figure = plot_cloud(features, modalities).figure
    assert isinstance(figure, Figure)
    figure.savefig(tmp_path / "cloud.svg")
    assert (tmp_path / "cloud.svg").stat().st_size > 1000


def test_cloud_does_not_depend_on_the_row_order() -> None:
    features, _, modalities = make_batch((13, 10))
    order = torch.randperm(23, generator=torch.Generator().manual_seed(3))
    drawn: list[Any] = [plot_cloud(features, modalities), plot_cloud(features[order], modalities[order])]
    first, second = (np.sort(axes.collections[0].get_offsets(), axis=0) for axes in drawn)
    np.testing.assert_allclose(first, second, atol=1e-9)


def test_gap_is_drawn_beside_chance_at_its_steps() -> None:
    axes: Any = plot_gap(GAPS, steps=[10, 20, 40])
    measured, chance = axes.lines
    assert list(measured.get_xdata()) == [10, 20, 40]
    assert list(measured.get_ydata()) == [float(gap.relative) for gap in GAPS]
    assert list(chance.get_ydata()) == [float(gap.chance) for gap in GAPS]
    by_default: Any = plot_gap(GAPS)
    assert list(by_default.lines[0].get_xdata()) == [0, 1, 2]


def test_one_gap_is_a_point_that_is_seen() -> None:
    axes: Any = plot_gap(GAPS[:1])
    assert [line.get_marker() for line in axes.lines] == ["o", "o"]
    axes = plot_gap(GAPS)
    assert [line.get_marker() for line in axes.lines] == ["None", "None"]


def test_what_is_given_is_drawn_into() -> None:
    given: Any = Figure().subplots()
    assert plot_gap(GAPS, axes=given) is given
    assert plot_histograms(HISTOGRAMS, axes=given) is given
    assert plot_cloud(*make_batch()[::2], axes=given) is given
    assert not pyplot.get_fignums()


def test_what_cannot_be_drawn_is_refused() -> None:
    with pytest.raises(
        TypeError, match=r"gaps must be a sequence of ModalityGap, as modality_gap gives them, got 0\.3"
    ):
        plot_gap([0.3])  # type: ignore[list-item]
    with pytest.raises(ValueError, match="steps must be one for each of the 3 gaps, got 2"):
        plot_gap(GAPS, steps=[1, 2])
    with pytest.raises(TypeError, match="features must be a floating tensor"):
        plot_cloud(torch.ones(3, 3).long(), torch.zeros(3).long())


def test_missing_matplotlib_is_told_with_the_command_that_helps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r'plots need matplotlib: python -m pip install "modinv\[plot\]"'):
        plot_gap(GAPS)

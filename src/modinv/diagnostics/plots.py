"""Pictures of the diagnostics: histograms of distances, clouds of features, the gap over time.

They need matplotlib, ``pip install "modinv[plot]"``, which is imported when a picture is drawn. Each function draws
into the axes that it is given, or into a new figure, and returns the axes. A notebook shows a new figure by itself;
``axes.figure.savefig("name.svg")`` writes it to a file.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from modinv._checks import describe
from modinv.diagnostics.gap import ModalityGap
from modinv.diagnostics.histograms import DistanceHistograms
from modinv.diagnostics.rows import statistics_of_modalities

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["plot_cloud", "plot_gap", "plot_histograms"]

# Okabe and Ito's, which every kind of color vision tells apart: blue, orange, green, purple.
_COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7")
_NAMES = ("visible", "infrared")


def plot_histograms(histograms: DistanceHistograms, *, axes: "Axes | None" = None) -> "Axes":
    """Draw how often pairs of rows lie at which cosine distance, each kind of pair with an area of 1.

    Retrieval across modalities works where "across modalities, same identity" lies left of "across modalities,
    different identity". Solid lines are pairs within a modality, dashed ones pairs across.

    Args:
        histograms: from `distance_histograms`, or of a `FeatureReport`.
        axes: where to draw; default: a new figure.

    Returns:
        The axes.

    Raises:
        ImportError: in one sentence, without matplotlib.
    """
    axes = _axes(axes)
    edges = histograms.edges.cpu()
    kinds = {
        "within a modality, same identity": (histograms.intra_same, 0, "-"),
        "within a modality, different identity": (histograms.intra_different, 1, "-"),
        "across modalities, same identity": (histograms.cross_same, 0, "--"),
        "across modalities, different identity": (histograms.cross_different, 1, "--"),
    }
    for name, (counts, color, style) in kinds.items():
        density = counts.cpu() / counts.sum().clamp(min=1).cpu() / (edges[1] - edges[0])
        axes.stairs(density.tolist(), edges.tolist(), label=name, color=_COLORS[color], linestyle=style)
    axes.set(xlabel="cosine distance", ylabel="density of pairs", xlim=(0, float(edges[-1])))
    axes.legend(fontsize="small")
    return axes


def plot_cloud(
    features: Tensor,
    modalities: Tensor,
    *,
    names: Sequence[str] = _NAMES,
    num_modalities: int | None = None,
    axes: "Axes | None" = None,
) -> "Axes":
    """Draw the rows on their two principal components, each modality in its own color, and the means as crosses.

    The axes say what share of the variance they show. Where that is small, a gap can be there and not be seen: ask
    `modality_gap` too.

    Args:
        features: (N, D), any floating type; thousands of rows are too many to see.
        modalities: 0 visible, 1 infrared, …, integers (N,).
        names: of the modalities; those beyond are numbered.
        num_modalities: see `modality_gap`.
        axes: where to draw; default: a new figure.

    Returns:
        The axes.

    Raises:
        ImportError: in one sentence, without matplotlib.
        TypeError, ValueError: one sentence, when features or modalities break the data contract.
    """
    statistics = statistics_of_modalities(features, modalities, num_modalities)
    axes = _axes(axes)
    points, shares = _principal(statistics.features)
    for number in range(len(statistics.counts)):
        own = points[modalities == number].cpu()
        color = _COLORS[number % len(_COLORS)]
        name = names[number] if number < len(names) else f"modality {number}"
        axes.scatter(own[:, 0].tolist(), own[:, 1].tolist(), s=9, alpha=0.5, color=color, linewidths=0, label=name)
        if len(own):
            x, y = own.mean(0).tolist()
            axes.scatter(x, y, s=160, marker="P", color=color, edgecolor="white")
    axes.set(
        xlabel=f"first component, {shares[0]:.0%} of the variance",
        ylabel=f"second component, {shares[1]:.0%}",
        aspect="equal",
    )
    axes.legend(fontsize="small")
    return axes


def plot_gap(
    gaps: Sequence[ModalityGap], *, steps: Sequence[float] | None = None, axes: "Axes | None" = None
) -> "Axes":
    """Draw the relative gap between the modalities over time, beside what chance would show.

    Args:
        gaps: from `modality_gap`, one for each step or epoch.
        steps: when each was measured; default: 0, 1, 2, ….
        axes: where to draw; default: a new figure.

    Returns:
        The axes.

    Raises:
        ImportError: in one sentence, without matplotlib.
        TypeError, ValueError: if a gap is none, or the steps are not one for each.
    """
    for gap in gaps:
        if not isinstance(gap, ModalityGap):
            raise TypeError(f"gaps must be a sequence of ModalityGap, as modality_gap gives them, got {describe(gap)}")
    places = list(range(len(gaps))) if steps is None else list(steps)
    if len(places) != len(gaps):
        raise ValueError(f"steps must be one for each of the {len(gaps)} gaps, got {len(places)}")
    axes = _axes(axes)
    axes.plot(places, [float(gap.relative) for gap in gaps], color=_COLORS[0], label="gap between the means")
    axes.plot(places, [float(gap.chance) for gap in gaps], color="0.4", linestyle=":", label="by chance")
    for line in axes.lines[-2:] if len(gaps) == 1 else ():
        line.set_marker("o")  # a line through one point is not seen
    axes.set(xlabel="step", ylabel="relative gap, in spreads")
    axes.set_ylim(bottom=0)
    axes.legend(fontsize="small")
    return axes


def _axes(axes: Any) -> Any:
    """Return the axes, or those of a new figure."""
    if axes is not None:
        return axes
    try:
        from matplotlib import pyplot
    except ImportError as missing:
        raise ImportError('plots need matplotlib: python -m pip install "modinv[plot]"') from missing
    return pyplot.subplots(layout="constrained")[1]


@torch.no_grad()
def _principal(rows: Tensor) -> tuple[Tensor, list[float]]:
    """Return the rows (N, D) on their two principal components, (N, 2), and the share of the variance of each."""
    around = rows - rows.mean(0)
    points = torch.zeros(len(rows), 2, dtype=rows.dtype, device=rows.device)
    if not len(rows):
        return points, [0.0, 0.0]
    left, values, right = torch.linalg.svd(around, full_matrices=False)
    count = min(2, len(values))
    # An axis has no direction by itself: its largest weight is positive, so that pictures repeat.
    signs = right[:count].gather(1, right[:count].abs().argmax(1, keepdim=True)).sign()[:, 0]
    points[:, :count] = left[:, :count] * values[:count] * signs
    shares = (values.square() / values.square().sum()).nan_to_num()[:count].tolist()
    return points, shares + [0.0] * (2 - count)

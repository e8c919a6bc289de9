"""Draws the embeddings before and after training: distances between images, and a map in two dimensions."""

from typing import NamedTuple

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

import modinv
from modinv.diagnostics import distance_histograms
from reid.report.reading import Embeddings
from reid.report.style import DIFFERENT, INFRARED, METHODS, SAME, VISIBLE, axes_grid

__all__ = ["Projection", "overlap", "plot_distances", "plot_map", "project"]

_BINS = 60
_LINKED = 6


class Projection(NamedTuple):
    """Rows in two dimensions."""

    points: Tensor  # (N, 2)
    shares: tuple[float, float]
    """Of the variance, that each dimension explains."""


def project(features: Tensor, modalities: Tensor) -> Projection:
    """Project rows of length 1 on the two directions in which they vary most (PCA).

    Args:
        features: (N, D); made of length 1 here, as cosine retrieval does.
        modalities: (N,); they only decide which way round the map is: infrared lies to the right and above.

    Returns:
        The map; zeros in a dimension in which nothing varies.
    """
    rows = functional.normalize(features.double(), dim=1)
    rows = rows - rows.mean(0)
    wide = rows.shape[1] > len(rows)
    gram = rows @ rows.T if wide else rows.T @ rows  # the smaller of the two has the same spectrum
    values, vectors = torch.linalg.eigh(functional.pad(gram, (0, 2, 0, 2)))  # padded: never less than two directions
    values, vectors = values[-2:].flip(0).clamp(min=0), vectors[:, -2:].flip(1)
    points = vectors[: len(rows)] * values.sqrt() if wide else rows @ vectors[: rows.shape[1]]  # (N, 2)
    infrared = modalities == modinv.INFRARED
    lean = points[infrared].sum(0) / infrared.sum().clamp(min=1)  # the mean of all rows is 0
    shares = values / gram.trace().clamp(min=torch.finfo(gram.dtype).tiny)
    return Projection(points * (1 - 2 * (lean < 0).double()), (float(shares[0]), float(shares[1])))


def overlap(first: Tensor, second: Tensor) -> float:
    """Measure how much two histograms have in common: 0 apart, 1 of the same shape.

    Args:
        first: counts (B,).
        second: counts (B,).

    Returns:
        The sum over the bins of the smaller share.
    """
    return float(torch.minimum(_shares(first), _shares(second)).sum())


def plot_distances(embeddings: Embeddings, model: str) -> Figure:
    """Draw how cosine distances are spread, within and across modalities, before and after training.

    Args:
        embeddings: of one model.
        model: how titles call it.

    Returns:
        The figure.
    """
    title = f"Cosine distances between test images before and after training: {model}."
    figure, axes = axes_grid(2, 2, title, height=2.6, sharex=True, sharey="row")
    used = 0.0
    for column, (when, features) in enumerate((("Before", embeddings.before), ("After", embeddings.after))):
        counted = distance_histograms(features, embeddings.identities, embeddings.modalities, bins=_BINS)
        edges = counted.edges.numpy()
        pairs = {
            "within one modality": (counted.intra_same, counted.intra_different),
            "across modalities": (counted.cross_same, counted.cross_different),
        }
        for row, (where, (same, different)) in enumerate(pairs.items()):
            _plot_histograms(axes[2 * row + column], edges, same, different, f"{when} training, {where}")
        used = max(used, float(edges[1:][(torch.stack(counted[1:]).sum(0) > 0).numpy()].max(initial=0.1)))
    axes[0].set_xlim(0, used)
    for axis in axes[2:]:
        axis.set_xlabel("cosine distance (0 same direction, 2 opposite)")
    for axis in axes[::2]:
        axis.set_ylabel("share of the pairs (%)")
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower left", ncols=2)
    return figure


def plot_map(embeddings: Embeddings, model: str) -> Figure:
    """Draw both modalities on one map before and after training, and the two centers of some identities.

    Args:
        embeddings: of one model.
        model: how titles call it.

    Returns:
        The figure.
    """
    title = f"Test embeddings in two dimensions (PCA, each map by itself) before and after training: {model}."
    figure, axes = axes_grid(2, 2, title, height=3.9)
    linked = _linked_identities(embeddings)
    for column, (when, features) in enumerate((("Before", embeddings.before), ("After", embeddings.after))):
        points, shares = project(features, embeddings.modalities)
        places = points.numpy()
        _plot_modalities(axes[column], places, embeddings.modalities.numpy())
        _plot_identities(axes[2 + column], places, embeddings, linked)
        axes[column].set_title(f"{when} training: every image")
        axes[2 + column].set_title(f"{when} training: {len(linked)} people, their centers joined")
        for axis in (axes[column], axes[2 + column]):
            axis.set(
                xlabel=f"1st principal component ({shares[0]:.0%} of the variance)",
                ylabel=f"2nd principal component ({shares[1]:.0%})",
            )
            axis.set_aspect("equal", adjustable="datalim")
    entries = [axis.get_legend_handles_labels() for axis in (axes[0], axes[2])]
    handles, labels = ([*first, *second] for first, second in zip(*entries, strict=True))
    figure.legend(handles, labels, loc="outside lower left", ncols=4, markerscale=2)
    return figure


def _plot_histograms(axis: Axes, edges: NDArray[np.float64], same: Tensor, different: Tensor, heading: str) -> None:
    kinds = (("different identity", different, DIFFERENT, "--"), ("same identity", same, SAME, "-"))
    for label, counts, color, line in kinds:
        percent = 100 * _shares(counts).numpy()
        axis.stairs(percent, edges, fill=True, color=color, alpha=0.25)
        axis.stairs(percent, edges, color=color, linestyle=line, linewidth=1.6, label=label)
    pairs = f"{int(same.sum()):,} same, {int(different.sum()):,} different pairs"
    axis.set_title(f"{heading}\n{pairs}, overlap {overlap(same, different):.0%}")
    axis.margins(y=0.05)


def _plot_modalities(axis: Axes, places: NDArray[np.float64], modalities: NDArray[np.int64]) -> None:
    for label, number, style in (("visible", modinv.VISIBLE, VISIBLE), ("infrared", modinv.INFRARED, INFRARED)):
        chosen = places[modalities == number]
        axis.scatter(
            chosen[:, 0],
            chosen[:, 1],
            s=12,
            alpha=0.55,
            linewidths=0,
            label=label,
            color=style["color"],
            marker=style["marker"],
        )


def _plot_identities(axis: Axes, places: NDArray[np.float64], embeddings: Embeddings, linked: list[int]) -> None:
    axis.scatter(places[:, 0], places[:, 1], s=4, color="#DDDDDD", linewidths=0)
    identities, modalities = embeddings.identities.numpy(), embeddings.modalities.numpy()
    for color, identity in zip(METHODS, linked, strict=False):
        centers = []
        for number, style in ((modinv.VISIBLE, VISIBLE), (modinv.INFRARED, INFRARED)):
            chosen = places[(identities == identity) & (modalities == number)]
            axis.scatter(chosen[:, 0], chosen[:, 1], s=16, marker=style["marker"], color=color, alpha=0.6, linewidths=0)
            centers.append(chosen.mean(0))
        line = np.array(centers)  # (2, 2)
        axis.plot(line[:, 0], line[:, 1], color=color, linewidth=2.2, label=f"person {identity}")


def _linked_identities(embeddings: Embeddings) -> list[int]:
    """Choose identities that are there in both modalities, spread evenly over their numbers."""
    seen = [set(embeddings.identities[embeddings.modalities == m].tolist()) for m in (modinv.VISIBLE, modinv.INFRARED)]
    both = sorted(seen[0] & seen[1])
    return [both[round(k)] for k in np.linspace(0, len(both) - 1, min(_LINKED, len(both)))]


def _shares(counts: Tensor) -> Tensor:
    return counts.double() / counts.sum().clamp(min=1)

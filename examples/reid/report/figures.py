"""Draws curves and spaces: the CMC, what changed by epoch, and the embeddings before and after training."""

from collections.abc import Mapping, Sequence
from math import ceil
from typing import Any, Final

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor
from torch.nn import functional

import modinv
from modinv.diagnostics import distance_histograms, modality_gap
from reid.training.snapshot import Embeddings

__all__ = ["STYLE", "draw_cmc", "draw_space", "draw_training"]

# A method's name may hold a dollar sign.
STYLE: Final[dict[Any, Any]] = {
    "axes.grid": True,
    "grid.color": "#DDDDDD",
    "legend.frameon": False,
    "text.parse_math": False,
}
# Of M. Okabe and K. Ito, Color Universal Design, 2008: blue and vermillion, which all eyes tell apart.
_BLUE, _RED = "#0072B2", "#D55E00"
_WIDTH: Final = 3


def draw_cmc(rows: Sequence[Mapping[str, Any]]) -> Figure:
    """Draw the share of queries whose person is found up to each rank, a line for each method of ``results.json``."""
    figure = Figure(figsize=(9, 4.5), layout="constrained")
    axis = figure.subplots()
    for row in rows:
        curve = 100 * np.mean([run["mean"]["cmc"] for run in row["runs"]], axis=0)  # (R,)
        axis.plot(np.arange(1, 1 + len(curve)), curve, marker=".", label=f" {row['method']}")
    axis.set(xlabel="rank", ylabel="queries found (%)")
    axis.legend()
    return figure


def draw_training(logs: Mapping[str, Sequence[Mapping[str, str]]]) -> Figure:
    """Draw every column of the logs of each model by epoch, a panel each; no line at all is a ValueError."""
    cells = (cell for lines in logs.values() for line in lines for cell in line.items())
    columns = dict.fromkeys(name for name, value in cells if value != "nan")
    names = [name for name in columns if name not in ("epoch", "step", "seconds")]
    if not names:
        raise ValueError("there is no METHOD-seedN.csv with an epoch in the folder.")
    height = ceil(len(names) / _WIDTH)
    figure = Figure(figsize=(9, 0.5 + 2.2 * height), layout="constrained")
    axes = figure.subplots(height, _WIDTH, squeeze=False, sharex=True)
    for axis, name in zip(axes.flat, names, strict=False):
        for model, lines in logs.items():
            held = [line for line in lines if name in line]
            values = [float(line[name]) for line in held]
            axis.plot([int(line["epoch"]) for line in held], values, marker=".", label=f" {model}")
        axis.set_title(name)
    for axis in axes.flat[len(names) :]:
        axis.set_axis_off()
    figure.supxlabel("epoch")
    figure.legend(*axes.flat[0].get_legend_handles_labels(), loc="outside lower left", ncols=_WIDTH)
    return figure


def draw_space(embeddings: Embeddings) -> Figure:
    """Draw distances across the modalities, and both modalities on a map, before and after training."""
    figure = Figure(figsize=(9, 8), layout="constrained")
    axes = figure.subplots(2, 2)
    for column, when in enumerate(("before", "after")):
        rows = functional.normalize(getattr(embeddings, when), dim=1)  # (N, D)
        _draw_distances(axes[0, column], rows, embeddings, when)
        _draw_map(axes[1, column], rows, embeddings.modalities, when)
    return figure


def _draw_distances(axis: Axes, rows: Tensor, embeddings: Embeddings, when: str) -> None:
    counted = distance_histograms(rows, embeddings.identities, embeddings.modalities)
    kinds = {"different identity": counted.cross_different, "same identity": counted.cross_same}
    shares = [counts.double() / counts.sum().clamp(min=1) for counts in kinds.values()]
    for label, share, color in zip(kinds, shares, (_RED, _BLUE), strict=True):
        axis.stairs(100 * share.numpy(), counted.edges.numpy(), fill=True, alpha=0.4, color=color, label=label)
    overlap = float(torch.minimum(*shares).sum())
    axis.set(title=f"{when}, across modalities: overlap {overlap:.0%}", xlabel="cosine distance")
    axis.set_ylabel("pairs (%)")
    axis.legend()


def _draw_map(axis: Axes, rows: Tensor, modalities: Tensor, when: str) -> None:
    centered = rows - rows.mean(0)
    values, directions = torch.linalg.eigh(centered.T @ centered)
    points = (centered @ directions[:, -2:].flip(1)).numpy()  # (N, 2)
    shares = values[-2:].flip(0) / values.sum().clamp(min=torch.finfo(values.dtype).tiny)
    for label, number, marker, color in (
        ("visible", modinv.VISIBLE, "o", _BLUE),
        ("infrared", modinv.INFRARED, "^", _RED),
    ):
        chosen = points[(modalities == number).numpy()]
        axis.scatter(chosen[:, 0], chosen[:, -1], s=10, alpha=0.5, marker=marker, color=color, label=label)
    gap = modality_gap(rows, modalities)
    axis.set_title(f"{when}: modality gap {float(gap.relative):.2f}, by chance {float(gap.chance):.2f}")
    axis.set(xlabel=f"1st principal component ({shares[0]:.0%})", ylabel=f"2nd ({shares[-1]:.0%})")
    axis.legend()

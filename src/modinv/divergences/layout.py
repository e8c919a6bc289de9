"""Which Gaussians a level compares, and which rows make them.

A level fits one Gaussian per modality m and comparison r: R = 1 comparison at level ``"modality"``; R = N at the two
levels of identities, where row r stands for its identity, so that an identity of k rows is compared k times with the
weight 1 / k. Duplicates instead of a list of identities keep every shape free of the data.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from modinv.statistics import Statistics

__all__ = ["LEVELS", "Layout", "Pair", "compare", "compare_all", "lay_out"]

LEVELS = ("modality", "identity", "within")


class Layout(NamedTuple):
    """The Gaussians of a level: M modalities times R comparisons."""

    covariance_rows: Tensor  # (M, N, R): 1 where row i is one of the samples of the covariance
    degrees: Tensor  # (M, R): denominator of the covariance, 0 where there is none
    present: Tensor  # (M, R) bool: has a mean
    votes: Tensor  # (R,): what a comparison counts, before those that cannot be made are left out
    averaging: Tensor | None = None  # (M, N, R): what row i counts in the mean; None: it is the modality's mean
    same_covariance: Tensor | None = None  # (N, N): 1 where two rows are samples of one; None: those of a modality are
    same_comparison: Tensor | None = None  # (N, N): 1 where two rows take part in one comparison; None: all do
    cells: Tensor | None = None  # (N, N): rows to the mean of their cell; None: covariances are around modalities


class Pair(NamedTuple):
    """Two modalities, and the weight of each of their comparisons; the weights of all pairs sum to one or zero."""

    first: int
    second: int
    weights: Tensor  # (R,)


def lay_out(statistics: Statistics, level: str) -> Layout:
    """Return the layout of a level, one of :data:`LEVELS`.

    * ``"modality"``: mean and covariance of the rows of a modality;
    * ``"identity"``: mean and covariance of the rows of an identity in a modality;
    * ``"within"``: mean of an identity in a modality, covariance of all rows of the modality around their identities.
    """
    members = statistics.membership.T[:, :, None]  # (M, N, 1)
    if level == "modality":
        return Layout(
            covariance_rows=members,
            degrees=(statistics.counts - 1).clamp(min=0)[:, None],
            present=(statistics.counts > 0)[:, None],
            votes=statistics.counts.new_ones(1),
        )
    same = statistics.same_identity.to(statistics.dtype)  # (N, N)
    cell_rows = members * same  # (M, N, R): row i is of modality m and of r's identity
    counts = cell_rows.sum(1)  # (M, R)
    identities = (statistics.membership / statistics.cell_sizes[:, None]).sum(0)  # (M,): identities of each modality
    cells = statistics.same_cell.to(statistics.dtype)
    common = {
        "averaging": cell_rows / counts.clamp(min=1)[:, None],
        "present": counts > 0,
        "votes": 1 / same.sum(1),
        "cells": cells / statistics.cell_sizes[:, None],
    }
    if level == "identity":
        return Layout(
            covariance_rows=cell_rows,
            degrees=(counts - 1).clamp(min=0),
            same_covariance=cells,
            same_comparison=same,
            **common,
        )
    return Layout(
        covariance_rows=members.expand_as(cell_rows),
        degrees=(statistics.counts - identities).clamp(min=0).round()[:, None].expand_as(counts),
        **common,
    )


def compare(layout: Layout, *, needs_covariance: bool) -> list[Pair]:
    """Return the pairs of modalities; each pair that has a comparison weighs the same.

    Args:
        layout: of the level.
        needs_covariance: whether both Gaussians need a covariance beside a mean.
    """
    usable = _usable(layout, needs_covariance)  # (M, R)
    num_modalities = max(len(usable), 2)  # a lone modality is compared with itself, at weight zero
    pairs = [(a, b % len(usable)) for a in range(num_modalities) for b in range(a + 1, num_modalities)]
    votes = torch.stack([usable[a] * usable[b] * (a != b) for a, b in pairs]) * layout.votes  # (pairs, R)
    sums = votes.sum(1, keepdim=True)  # (pairs, 1): how many comparisons, a whole number up to rounding
    # Weights of zero, not a mask: what is not finite must arrive even where nothing can be compared.
    weights = votes / sums.clamp(min=0.5)
    if len(pairs) > 1:
        weights = weights / (sums > 0).sum().clamp(min=1)
    return [Pair(a, b, weight) for (a, b), weight in zip(pairs, weights, strict=True)]


def compare_all(layout: Layout) -> tuple[Tensor, Tensor]:
    """Return the weights of the comparisons of all modalities at once, (R,), and which modalities take part, (M,).

    A modality takes part if it has a covariance; a comparison counts if all of these have one in it, two at least.
    """
    usable = _usable(layout, needs_covariance=True)  # (M, R)
    present = usable.amax(1)  # (M,)
    enough = present.sum() >= 2
    complete = (usable >= present[:, None]).all(0) * enough  # (R,)
    present = present.where(enough, 1)  # at weight zero, all of them
    votes = complete * layout.votes
    return votes / votes.sum().where(complete.any(), 1), present


def _usable(layout: Layout, needs_covariance: bool) -> Tensor:
    """Return which Gaussians can be compared, 0 or 1, (M, R)."""
    usable = layout.present & (layout.degrees > 0) if needs_covariance else layout.present
    return usable.to(layout.votes.dtype)

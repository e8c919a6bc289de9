"""Which Gaussians a level compares, and which rows make them.

A level fits one Gaussian per modality m and comparison r: R = 1 comparison at level ``"modality"``; R = N at the two
levels of identities, where row r stands for its identity, so that an identity of k rows is compared k times with the
weight 1 / k. Duplicates instead of a list of identities keep every shape free of the data.
"""

from collections.abc import Callable
from itertools import combinations
from typing import NamedTuple

import torch
from torch import Tensor

from modinv._lazy import lazy
from modinv.statistics import Statistics

__all__ = ["LEVELS", "Layout", "Pairs", "compare", "compare_all", "lay_out", "single_pair"]

LEVELS = ("modality", "identity", "within")


class Layout(NamedTuple):
    """The Gaussians of a level: M modalities times R comparisons."""

    covariance_rows: Tensor  # (N, M, R): 1 where row i is one of the samples of the covariance
    degrees: Tensor  # (M, R): denominator of the covariance, 0 where there is none
    present: Tensor  # (M, R): 1 where there is a mean
    votes: Tensor | None = None  # (R,): what a comparison counts, before those that cannot be made are left out
    averaging: Tensor | None = None  # (N, M, R): what row i counts in the mean; None: it is the modality's mean
    same_covariance: Tensor | None = None  # (N, N): 1 where two rows are samples of one; None: those of a modality are
    same_comparison: Tensor | None = None  # (N, N): 1 where two rows take part in one comparison; None: all do
    cells: Tensor | None = None  # (N, N): rows to the mean of their cell; None: covariances are around modalities


class Pairs:
    """Comparisons of two modalities each; an answer about them is the sum over all, with these weights.

    Args:
        weights: of a with b in comparison r, (M, M, R); zero for what is not in ``ordered``.
        ordered: the pairs (a, b).
    """

    def __init__(self, weights: Tensor, ordered: tuple[tuple[int, int], ...]) -> None:
        self.weights = weights
        self.ordered = ordered

    def both_ways(self) -> "Pairs":
        """Return the comparisons of a with b and of b with a."""
        return Pairs(self._symmetric, self.ordered + tuple((b, a) for a, b in self.ordered))

    def sum(self, answer: Callable[[int, int], Tensor]) -> Tensor:
        """Return the weighted sum of what ``answer(a, b)`` returns, (R,) or () -> (), in the type of the weights."""
        terms = [(answer(a, b).to(self.weights.dtype) * self.weights[a, b]).sum() for a, b in self.ordered]
        return sum(terms[1:], terms[0])

    @lazy
    def degrees(self) -> Tensor:
        """What all comparisons of a modality weigh, (M, R): sum_ab w_ab (t_a + t_b) = sum_a degree_a t_a."""
        return self._symmetric.sum(1)

    @lazy
    def laplacian(self) -> Tensor:
        """L with sum_ab w_ab |v_a - v_b|^2 = sum_ab L_ab <v_a, v_b> for any vectors v, (M, M, R)."""
        identity = torch.eye(len(self.weights), dtype=self.weights.dtype, device=self.weights.device)
        return identity[:, :, None] * self.degrees[:, None] - self._symmetric

    @lazy
    def _symmetric(self) -> Tensor:
        return self.weights + self.weights.transpose(0, 1)


def lay_out(statistics: Statistics, level: str) -> Layout:
    """Return the layout of a level, one of :data:`LEVELS`.

    * ``"modality"``: mean and covariance of the rows of a modality;
    * ``"identity"``: mean and covariance of the rows of an identity in a modality;
    * ``"within"``: mean of an identity in a modality, covariance of all rows of the modality around their identities.
    """
    members = statistics.membership[:, :, None]  # (N, M, 1)
    if level == "modality":
        counts = statistics.counts[:, None]  # (M, 1)
        return Layout(members, degrees=(counts - 1).clamp(min=0), present=counts.clamp(max=1))
    same = statistics.same_identity.to(statistics.dtype)  # (N, N)
    cell_rows = members * same[:, None]  # (N, M, R): row i is of modality m and of r's identity
    counts = cell_rows.sum(0)  # (M, R)
    cells = statistics.same_cell.to(statistics.dtype)
    layout = Layout(
        cell_rows,
        degrees=(counts - 1).clamp(min=0),
        present=counts.clamp(max=1),
        votes=1 / same.sum(1),
        averaging=cell_rows / counts.clamp(min=1),
        same_covariance=cells,
        same_comparison=same,
        cells=cells / statistics.cell_sizes[:, None],
    )
    if level == "identity":
        return layout
    identities = (statistics.membership / statistics.cell_sizes[:, None]).sum(0)  # (M,): identities of each modality
    degrees = (statistics.counts - identities).clamp(min=0).round()[:, None]
    return Layout(  # written out: Dynamo traces no _replace up to torch 2.6
        covariance_rows=members.expand_as(cell_rows),
        degrees=degrees.expand_as(counts),
        present=layout.present,
        votes=layout.votes,
        averaging=layout.averaging,
        cells=layout.cells,
    )


def compare(layout: Layout, *, needs_covariance: bool) -> Pairs:
    """Return the pairs of modalities, a < b; each pair that has a comparison weighs the same, all of them one.

    Args:
        layout: of the level.
        needs_covariance: whether both Gaussians need a covariance beside a mean.
    """
    usable = _usable(layout, needs_covariance)  # (M, R)
    votes = (usable.T[:, :, None] * usable.T[:, None]).triu(1).permute(1, 2, 0)  # (M, M, R)
    weights = votes
    if layout.votes is not None:
        votes = votes * layout.votes
        # The sum says how many comparisons there are: a whole number up to rounding. Where it is none the weights are
        # zero, and not masked: what is not finite must arrive even if nothing can be compared.
        weights = votes / votes.sum(2, keepdim=True).clamp(min=0.5)
    if len(usable) > 2:
        weights = weights / votes.any(2).sum().clamp(min=1)
    return Pairs(weights, tuple(combinations(range(len(usable)), 2)) or ((0, 0),))


def single_pair() -> Pairs:
    """Return the comparison of the first of two Gaussians with the second."""
    return Pairs(torch.ones(2, 2, dtype=torch.float64).triu(1)[:, :, None], ((0, 1),))


def compare_all(layout: Layout) -> tuple[Tensor, Tensor]:
    """Return the weights of the comparisons of all modalities at once, (R,), and which modalities take part, (M,).

    A modality takes part if it has a covariance; a comparison counts if all of these have one in it, two at least.
    """
    usable = _usable(layout, needs_covariance=True)  # (M, R)
    present = usable.amax(1)  # (M,)
    enough = present.sum() >= 2
    complete = ((usable >= present[:, None]).all(0) * enough).to(usable.dtype)  # (R,)
    present = present.where(enough, 1)  # at weight zero, all of them
    votes = complete if layout.votes is None else complete * layout.votes
    return votes / votes.sum().where(complete.any(), 1), present


def _usable(layout: Layout, needs_covariance: bool) -> Tensor:
    """Return which Gaussians can be compared, 0 or 1, (M, R)."""
    return layout.present * layout.degrees.clamp(max=1) if needs_covariance else layout.present

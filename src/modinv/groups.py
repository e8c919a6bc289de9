"""Labels and modalities to groups: which rows share an identity or a modality, and which groups a level compares.

Nothing here depends on a feature, and every shape depends on the number of rows alone: no ``unique``, no ``nonzero``.
So nothing waits for a device and everything compiles. The one exception, :func:`places_of`, looks only where
reading is free.
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from modinv._checks import host_values, is_traced

__all__ = [
    "LEVELS",
    "Cells",
    "Comparisons",
    "Groups",
    "Places",
    "average",
    "both_ways",
    "comparisons_of",
    "groups_of",
    "joint_weights",
    "membership",
    "pair_weights",
    "pairs",
    "places_of",
    "same_identity",
    "same_modality",
]

LEVELS = ("modality", "identity", "within")


def same_identity(labels: Tensor, others: Tensor | None = None) -> Tensor:
    """Return which rows show the same identity, bool (N, N), or as which other rows, bool (N, K).

    Example:
        >>> import torch
        >>> same_identity(torch.tensor([7, 7, 9])).int().tolist()
        [[1, 1, 0], [1, 1, 0], [0, 0, 1]]
    """
    return labels[:, None] == (labels if others is None else others)


def same_modality(modalities: Tensor, others: Tensor | None = None) -> Tensor:
    """Return which rows are of the same modality, bool (N, N), or as which other rows, bool (N, K)."""
    return modalities[:, None] == (modalities if others is None else others)


def membership(modalities: Tensor, num_modalities: int) -> Tensor:
    """Return which rows are of which modality, bool (N, M); a row out of range is of none.

    Example:
        >>> import torch
        >>> membership(torch.tensor([0, 1, 2]), 2).int().tolist()
        [[1, 0], [0, 1], [0, 0]]
    """
    return modalities[:, None] == torch.arange(num_modalities, device=modalities.device)


class Groups(NamedTuple):
    """Rows in groups, of which each has the slot of its first row: N slots, however many groups there are."""

    slots: Tensor  # (N,): the first row of each row's group
    sizes: Tensor  # floating (N,): rows in the group of each row

    def means(self, values: Tensor) -> Tensor:
        """Replace each row of ``values``, (N,) or (N, K), by the mean over its group.

        Rows are added into the slots. A product with the N x N matrix of the means costs N times as much.
        """
        if not len(values):
            return values
        sums = torch.zeros_like(values).index_add(0, self.slots, values).index_select(0, self.slots)
        sizes = self.sizes.to(values.dtype)
        return sums / (sizes if values.ndim == 1 else sizes[:, None])


def groups_of(same: Tensor, dtype: torch.dtype = torch.float64) -> Groups:
    """Return the groups, from which rows share one, bool (N, N).

    Example:
        >>> import torch
        >>> groups_of(same_identity(torch.tensor([7, 8, 7]))).means(torch.tensor([1.0, 5.0, 3.0])).tolist()
        [2.0, 5.0, 2.0]
    """
    first = same.to(torch.uint8).argmax(1) if len(same) else same.new_zeros(0, dtype=torch.long)
    return Groups(first, same.sum(1).to(dtype))


class Places(NamedTuple):
    """Where the groups are in a batch, G of them, each once."""

    first: Tensor  # (G,): the first row of each group
    groups: Tensor  # (N,): the group of each row
    sizes: Tensor  # (G,): rows of each group

    def means(self, rows: Tensor) -> Tensor:
        """Return the mean of each group, (N, D) -> (G, D)."""
        sums = rows.new_zeros(len(self.first), rows.shape[1]).index_add(0, self.groups, rows)
        return sums / self.sizes[:, None]


def places_of(*numbers: Tensor) -> Places | None:
    """Return where the groups are of rows that share all numbers, each (N,), or None where reading them is not free.

    That is on an accelerator, and in a graph, which must serve other numbers too.
    """
    values = [part for part in map(host_values, numbers) if part is not None]
    if is_traced() or len(values) < len(numbers):
        return None
    rows: dict[tuple[int, ...], int] = {}
    keys = zip(*(part.tolist() for part in values), strict=True)
    firsts = [rows.setdefault(key, row) for row, key in enumerate(keys)]  # of each row, the first row of its group
    found = np.unique(np.array(firsts, dtype=np.int64), return_inverse=True, return_counts=True)
    return Places(*map(torch.from_numpy, found))


class Cells(Protocol):
    """What is known of the cells of a batch, in the type of its statistics; :class:`modinv.statistics.Statistics`."""

    membership: Tensor  # (N, M): the modality of each row as 0 and 1
    counts: Tensor  # (M,): rows of each modality

    @property
    def same_identity(self) -> Tensor:
        """Which rows show the same identity, bool (N, N)."""

    @property
    def cell_sizes(self) -> Tensor:
        """Rows in the cell of each row, (N,)."""

    @property
    def cell_averaging(self) -> Tensor:
        """The matrix that replaces each row by the mean of its cell, (N, N)."""


class Comparisons(NamedTuple):
    """The groups that a level compares: M modalities in each of R comparisons.

    Level ``"modality"`` makes R = 1 comparison. The levels of identities make R = N: row r stands for its identity. An
    identity of k rows is compared k times, each with the weight 1 / k. No shape depends on the labels that way.
    Each comparison has covariances of its own (Q = R), or all share them (Q = 1).
    """

    weights: Tensor  # (N, M): what row i counts in a covariance, 1 / degrees; 0 where there is none
    degrees: Tensor  # (M, Q): degrees of freedom of each covariance, 0 where there is none
    counts: Tensor  # (M, R): rows of each mean
    differences: Tensor  # (P, M M): takes inner products of M vectors to |v_a - v_b|^2 for each pair
    belongs: Tensor | None = None  # (N, R): in which comparisons a covariance has row i as a sample; None: in all
    averaging: Tensor | None = None  # (N, M, R): what row i counts in a mean; None: it is the modality's mean
    cells: Tensor | None = None  # (N, N): rows to the mean of their cell; None: covariances are around modalities
    votes: Tensor | None = None  # (R,): what a comparison counts; None: there is one

    def around(self, rows: Tensor) -> Tensor:
        """Take the mean of each cell off its rows, (N, k), where covariances are around cells."""
        return rows if self.cells is None else rows - self.cells.to(rows.dtype) @ rows

    def pair_lengths(self, products: Tensor) -> Tensor:
        """Return |v_a - v_b|^2 for each pair from the inner products of vectors, (M, M, R) -> (P, R)."""
        return self.differences @ products.flatten(0, 1)

    def sums(self, values: Tensor) -> Tensor:
        """Add up over the samples of each covariance, (…, N) -> (…, Q)."""
        return values.sum(-1, keepdim=True) if self.belongs is None else values @ self.belongs


def comparisons_of(cells: Cells, level: str) -> Comparisons:
    """Return what a level compares.

    * ``"modality"``: mean and covariance of the rows of a modality;
    * ``"identity"``: mean and covariance of the rows of an identity in a modality;
    * ``"within"``: mean of an identity in a modality, covariance of the modality's rows around their identities' means.
    """
    members, counts = cells.membership, cells.counts[:, None]  # (N, M), (M, 1)
    if level == "modality":
        degrees = (counts - 1).clamp(min=0)
        return Comparisons(members / degrees.clamp(min=1).T, degrees, counts, _pair_differences(members))
    same = cells.same_identity.to(members.dtype)  # (N, N)
    cell_counts = members.T @ same  # (M, R)
    if level == "identity":
        belongs, degrees = same, (cell_counts - 1).clamp(min=0)
    else:
        identities = (members / cells.cell_sizes[:, None]).sum(0)[:, None]  # (M, 1): a whole number up to rounding
        belongs, degrees = None, (counts - identities).clamp(min=0).round()
    return Comparisons(
        weights=members * (degrees.clamp(max=1) / degrees.clamp(min=1)).T,
        degrees=degrees,
        counts=cell_counts,
        differences=_pair_differences(members),
        belongs=belongs,
        averaging=members[:, :, None] * same[:, None] / cell_counts.clamp(min=1),
        cells=cells.cell_averaging,
        votes=1 / same.sum(1),
    )


def pairs(values: Tensor) -> tuple[Tensor, Tensor]:
    """Return the values of the first and of the second modality of each pair, (M, …) -> (P, …) twice.

    The pairs are (0, 1), (0, 2), …, (1, 2), …; one modality makes none.
    """
    if len(values) == 2:
        a, b = values.unbind()  # the gradient of two slices would fill two tensors with zeros
        return a[None], b[None]
    rest = [values[place:] for place in range(1, len(values))]
    firsts = [row.expand_as(others) for row, others in zip(values.split(1), rest, strict=False)]
    return torch.cat([values[:0], *firsts]), torch.cat([values[:0], *rest])


def both_ways(values: Tensor) -> Tensor:
    """Return the values of the first modality of each pair, then those of the second, (M, …) -> (2, P, …)."""
    return values[:, None] if len(values) == 2 else torch.stack(pairs(values))


def pair_weights(compared: Comparisons, least_degrees: int) -> Tensor:
    """Return what each comparison of two modalities counts, (P, R): each pair the same, all of them one.

    Args:
        compared: the Gaussians.
        least_degrees: how many degrees of freedom both covariances need; 0 where a mean is enough.
    """
    usable = _usable(compared, least_degrees)  # (M, R)
    weights = torch.mul(*pairs(usable))  # (P, R)
    if compared.votes is not None:
        votes = weights * compared.votes
        # The sum says how many comparisons there are: a whole number up to rounding. Where it is none the weights are
        # zero, and not masked: what is not finite must arrive even if nothing can be compared.
        weights = votes / votes.sum(1, keepdim=True).clamp(min=0.5)
    return weights if len(weights) == 1 else weights / weights.sum().round().clamp(min=1)


def average(parts: Sequence[Tensor], compared: Comparisons, least_degrees: int, divisor: float) -> list[Tensor]:
    """Return the means over all comparisons, divided by ``divisor``, each ().

    Args:
        parts: of each pair and comparison, (P, R); or (), which is a mean already.
        compared: what is compared.
        least_degrees: see :func:`pair_weights`.
        divisor: for all of them.
    """
    if not parts[0].ndim:
        return [part / divisor for part in parts]
    weights = pair_weights(compared, least_degrees) / divisor
    shared = weights.sum(-1, keepdim=True) if weights.shape[-1] > 1 else weights  # what all comparisons share
    return [part.flatten() @ (weights if part.shape == weights.shape else shared).flatten() for part in parts]


def joint_weights(compared: Comparisons) -> tuple[Tensor, Tensor]:
    """Return the weights of the comparisons of all modalities at once, (R,), and the share of each modality, (M,).

    A modality takes part if it has a covariance. A comparison counts if all of these have one in it, two at least.
    """
    usable = _usable(compared, 1)  # (M, R)
    present = usable.amax(1)  # (M,)
    enough = present.sum() >= 2
    complete = ((usable >= present[:, None]).all(0) * enough).to(usable.dtype)  # (R,)
    present = present.where(enough, 1)  # at weight zero, all of them
    votes = complete if compared.votes is None else complete * compared.votes
    return votes / votes.sum().clamp(min=0.5), present / present.sum()  # a whole number up to rounding, as above


def _usable(compared: Comparisons, least_degrees: int) -> Tensor:
    """Return which Gaussians can be compared, 0 or 1, (M, R)."""
    present = compared.counts.clamp(max=1)
    return present * (compared.degrees + (1 - least_degrees)).clamp(min=0, max=1) if least_degrees else present


def _pair_differences(members: Tensor) -> Tensor:
    identity = torch.eye(members.shape[1], dtype=members.dtype, device=members.device)
    differences = torch.sub(*pairs(identity))  # (P, M)
    return (differences[:, :, None] * differences[:, None]).flatten(1)

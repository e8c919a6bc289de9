"""What a batch holds: rows per cell, identities that meet, and the distances that a margin is measured against."""

import math
from typing import NamedTuple

import torch
from torch import Tensor
from typing_extensions import override

from modinv import groups
from modinv.centers import RowsToCenters
from modinv.diagnostics.rows import drop_rounding, precise, rounding
from modinv.losses.loss import farthest, nearest
from modinv.statistics import statistics_of

__all__ = ["BatchContents", "contents_of"]


class BatchContents(NamedTuple):
    """What a batch holds, in numbers; ``print`` shows it in words. Distances are NaN where there is none."""

    rows: int
    num_features: int
    modality_rows: tuple[int, ...]  # of modality 0, 1, …
    identities: int | None  # None: no labels were given
    meeting: int  # identities in two modalities or more
    cell_rows: tuple[int, ...]  # of each cell of identity and modality, ascending
    length: float  # mean length of a row
    spread: float  # root mean squared distance of a row to the mean of its modality
    partner: float  # median over the rows, from the cell's center to the farthest of its identity in another modality
    rival: float  # median over the rows, from the cell's center to the nearest of another identity

    @override
    def __str__(self) -> str:
        shares = ", ".join(f"{count} of modality {number}" for number, count in enumerate(self.modality_rows))
        lines = [f"{self.rows} rows of {self.num_features} features: {shares}", self._identities()]
        lines.append(f"a row is {self.length:.3g} long and {self.spread:.3g} from the mean of its modality")
        if not math.isnan(self.partner):
            lines.append(f"a center is {self.partner:.3g} from its farthest partner in another modality (median)")
        if not math.isnan(self.rival):
            lines.append(f"a center is {self.rival:.3g} from the nearest one of another identity (median)")
        return "\n".join(lines)

    def _identities(self) -> str:
        if self.identities is None:
            return "no labels"
        least, most = (self.cell_rows[0], self.cell_rows[-1]) if self.cell_rows else (0, 0)
        sizes = f"{least}" if least == most else f"{least} to {most}"
        return (
            f"{self.identities} identities, {self.meeting} of them in two modalities or more; "
            f"{len(self.cell_rows)} cells of {sizes} rows"
        )

    @property
    def remarks(self) -> tuple[str, ...]:
        """What this batch lacks, one sentence each."""
        said = []
        if self.rows and sum(count > 0 for count in self.modality_rows) < 2:
            said.append("one modality only: check the modalities, and let the sampler draw rows of both")
        elif self.identities and not self.meeting:
            said.append("no identity is in two modalities: let the sampler draw each in both, as PK sampling does")
        elif self.identities and self.meeting < self.identities:
            said.append(f"identities in one modality only: {self.identities - self.meeting} of {self.identities}")
        if self.identities == 1:
            said.append("one identity only: there are no negatives")
        if single := self.cell_rows.count(1):
            said.append(f"cells of one row, which have no spread: {single} of {len(self.cell_rows)}")
        if self.rows > 1 and self.spread == 0:
            said.append("all rows of a modality are equal: the features have collapsed")
        return tuple(said)


@torch.no_grad()
def contents_of(features: Tensor, labels: Tensor | None, modalities: Tensor, count: int | None) -> BatchContents:
    """Return what a batch holds; without labels, nothing is said of identities."""
    given = torch.zeros_like(modalities) if labels is None else labels
    statistics = statistics_of(precise(features), given, modalities, count)
    rows = statistics.features
    cells, sizes = torch.unique(torch.stack([given, modalities]), dim=1, return_counts=True)
    identities, meetings = torch.unique(cells[0], return_counts=True)
    spread = statistics.centered.rows.square().sum(1).mean().sqrt()
    known = labels is not None
    partners, rivals = statistics.same_identity & ~statistics.same_cell, ~statistics.same_identity
    between = statistics.kept(RowsToCenters).between_cells
    return BatchContents(
        rows=len(rows),
        num_features=rows.shape[1],
        modality_rows=tuple(int(count) for count in groups.membership(modalities, len(statistics.counts)).sum(0)),
        identities=len(identities) if known else None,
        meeting=int((meetings > 1).sum()) if known else 0,
        cell_rows=tuple(sorted(sizes.tolist())) if known else (),
        length=float(rows.square().sum(1).sqrt().mean()),
        spread=float(drop_rounding(spread, rounding(features))),
        partner=_median(farthest(between, partners), partners) if known else math.nan,
        rival=_median(nearest(between, rivals), rivals) if known else math.nan,
    )


def _median(distances: Tensor, mask: Tensor) -> float:
    """Return the median over the rows that have anything in the mask (N, N); NaN without any."""
    return float(distances[mask.any(1)].median()) if bool(mask.any()) else math.nan

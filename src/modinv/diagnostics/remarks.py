"""Why a loss is zero or saturated in a batch, and whether its margins fit the features, in sentences."""

import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from torch import nn

from modinv.diagnostics.contents import BatchContents

__all__ = ["WHY_ZERO", "Measured", "margin_remarks", "remarks_on"]

# Our choice: a value and a pull below this are as good as none.
_NOTHING = 1e-6
# Our choice: a margin between these shares of the distance to the nearest rival fits it.
_LEAST_MARGIN, _MOST_MARGIN = 0.02, 1.0
# Why a part of a loss is exactly 0, by its name.
WHY_ZERO = {
    "mean": "the means coincide",
    "covariance": "no two groups with two rows each have different covariances",
    "compactness": "no cell has two different rows",
    "discrepancy": "all centers keep the margin, or there is one identity",
    "positive": "no anchor, or all positives coincide",
    "negative": "no anchor, or a negative coincides with each",
}


class Measured(NamedTuple):
    """A term, and its gradient by the features."""

    value: float
    gradient: float  # its length
    rows: int  # that have any of it


def remarks_on(loss: Callable[..., Any], batch: BatchContents, total: Measured) -> Iterator[str]:
    """Say what is special about the value and the gradient of a loss in this batch."""
    margins = " and ".join(f"the margin {margin:g}" for margin in _margins(loss))
    # What the value would change by if all rows moved by their spread.
    reach = total.gradient * (batch.spread or batch.length) * batch.rows**0.5
    if not math.isfinite(total.value) or not math.isfinite(total.gradient):
        yield "not finite: look for features that are not, or that overflow"
    elif lack := _lack(loss, batch):
        yield f"{total.value:.3g}, since the batch lacks {lack}"
    elif abs(total.value) < _NOTHING and reach < _NOTHING:
        yield f"0, since all rows keep {margins}" if margins else "0: nothing is left to compare or to improve"
    elif reach < _NOTHING * abs(total.value):
        yield "saturated: " + ("equal rows have no direction to go" if batch.spread == 0 else "no row can lower it")
    elif total.rows < batch.rows and margins:
        yield f"{batch.rows - total.rows} of {batch.rows} rows get no gradient: they keep {margins}, or are no anchors"


def _lack(loss: Callable[..., Any], batch: BatchContents) -> str:
    """Return what the loss needs and the batch lacks, or nothing."""
    needs = getattr(loss, "needs", None)
    if needs == "modalities" and sum(count > 0 for count in batch.modality_rows) < 2:
        return "two modalities"
    return "an identity in two modalities" if needs == "identities" and not batch.meeting else ""


def _margins(loss: Callable[..., Any]) -> list[float]:
    """Return the margins of a loss and of what is inside it."""
    parts = loss.modules() if isinstance(loss, nn.Module) else [loss]
    margins = [getattr(part, "margin", None) for part in parts]
    return [float(margin) for margin in margins if isinstance(margin, int | float) and margin > 0]


def margin_remarks(loss: Callable[..., Any], batch: BatchContents) -> Iterator[str]:
    """Compare margins that are in the unit of the features with the distance that they are added to."""
    for margin in _margins(loss):
        share = margin / batch.rival if batch.rival > 0 else math.nan
        nearest = f"the distance to the nearest rival, {batch.rival:.3g}"
        if share < _LEAST_MARGIN:
            yield f"the margin {margin:g} is {100 * share:.2g} % of {nearest}: raise it, or normalise the features"
        elif share > _MOST_MARGIN:
            yield f"the margin {margin:g} is {share:.3g} times {nearest}: lower it, or let the features be longer"

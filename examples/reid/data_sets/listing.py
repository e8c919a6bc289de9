"""Says which images of a data set are for training, validation and test, before any of them is read.

So the program refuses a wrong folder at once. Validation images show identities of their own, to choose a model with.
"""

from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from reid.data_sets.layout import ImageList, refuse_missing
from reid.data_sets.remarks import Counts, remarks_of
from reid.protocols import Trials

__all__ = ["HeldOutList", "Listing", "hold_out", "list_parts"]

_VALIDATION_SHARE: Final = 5  # one training identity in five, where a data set has no validation identities of its own


class HeldOutList(NamedTuple):
    """Which images are scored, and the trials of the protocol as indices into them."""

    images: ImageList
    trials: Trials


class Listing(NamedTuple):
    """Which images there are, and the protocol, before any image is read."""

    train: ImageList
    test: HeldOutList
    validation: HeldOutList | None = None
    remarks: tuple[str, ...] = ()
    """What is not as in the real data set, a line each."""


def hold_out(images: ImageList, trials: Trials) -> HeldOutList:
    """Refuse a trial in which no query has a match before a model is trained for it."""
    labels = list(zip(trials.identities.tolist(), trials.origins.tolist(), strict=True))
    for number, (queries, gallery) in enumerate(zip(trials.queries, trials.galleries, strict=True), start=1):
        origins: dict[int, set[int]] = {}
        for identity, origin in (labels[row] for row in gallery):
            origins.setdefault(identity, set()).add(origin)
        if not any(origins.get(identity, set()) - {origin} for identity, origin in (labels[row] for row in queries)):
            raise ValueError(
                f"None of the {len(queries):,} queries of trial {number} has a match among the {len(gallery):,} images "
                "of its gallery: scores need images of the same identities in both."
            )
    return HeldOutList(images, trials)


def list_parts(
    lists: Mapping[str, ImageList],
    counts: Mapping[str, Counts],
    trials: Callable[[ImageList], Trials],
    validation: int | None,
) -> Listing:
    """List a data set without validation identities of its own.

    Args:
        lists: its training images, then its test images, each by a name that `counts` has too.
        counts: of the real data set.
        trials: the protocol.
        validation: number of training identities to validate on instead; None: one in five.
    """
    train, test = lists.values()
    missing = [path for path in train.paths + test.paths if not path.is_file()]
    refuse_missing(missing, "the lists of the data set name")
    remarks = tuple(remarks_of(lists, counts))
    if validation == 0:
        return Listing(train, hold_out(test, trials(test)), None, remarks)
    known = np.unique(train.identities)
    if validation is None:
        validation = max(1, len(known) // _VALIDATION_SHARE)
    if not 0 < validation < len(known):
        raise ValueError(
            f"validation must be from 0 to {len(known) - 1}, but is {validation}: leave some of the {len(known)} "
            "training identities to train on."
        )
    # Spread evenly over the identities: which ones they are depends on nothing else.
    chosen = np.isin(train.identities, known[np.arange(validation) * len(known) // validation])
    held = _pick(train, chosen)
    return Listing(_pick(train, ~chosen), hold_out(test, trials(test)), hold_out(held, trials(held)), remarks)


def _pick(images: ImageList, chosen: NDArray[np.bool_]) -> ImageList:
    rows = np.flatnonzero(chosen)
    return ImageList(tuple(images.paths[row] for row in rows), *(column[rows] for column in images[1:]))

"""Warns once where no batch holds what a cross-modality loss compares, so that its value is 0 for ever."""

import warnings
from typing import Literal, TypeAlias

from modinv._checks import host_values
from modinv.statistics import Statistics

__all__ = ["Meeting", "Meetings"]

Meeting: TypeAlias = Literal["modalities", "identities"]

_PATIENCE = 100  # batches
_LACKS = {"modalities": "two modalities", "identities": "an identity in two modalities"}
_HELP = {
    "modalities": "let the sampler draw rows of both modalities",
    "identities": "let the sampler draw each identity in both modalities, as PK sampling does",
}


class Meetings:
    """Looks at the batches of a training until one holds what is needed, and warns after 100 that do not.

    A plain counter, no tensor: it is not in the ``state_dict``. Where reading the batch would make the CPU wait, and
    in a graph, nobody looks.
    """

    def __init__(self) -> None:
        self.missed: int | None = 0  # batches in a row; None: no need to look any more

    def look(self, statistics: Statistics, needs: Meeting, name: str) -> None:
        """Look at one batch for the loss ``name``."""
        if self.missed is None:
            return
        met = _met(statistics, needs)
        if met is None:
            return
        self.missed = None if met else self.missed + 1
        if self.missed == _PATIENCE:
            self.missed = None
            warnings.warn(
                f"{name} has seen {_PATIENCE} batches in training and none with {_LACKS[needs]}, so it compared "
                f"nothing: {_HELP[needs]}, and check the modalities that it is given",
                stacklevel=2,
            )


def _met(statistics: Statistics, needs: Meeting) -> bool | None:
    """Return whether the batch holds what is needed, None where it cannot be read for free."""
    labels, modalities = host_values(statistics.labels), host_values(statistics.modalities)
    if labels is None or modalities is None:
        return None
    if needs == "modalities":
        return len(set(modalities.tolist())) > 1
    return len(set(zip(labels.tolist(), modalities.tolist(), strict=True))) > len(set(labels.tolist()))

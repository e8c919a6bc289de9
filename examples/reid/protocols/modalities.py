"""Which modality asks and which answers."""

from typing import Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from modinv import INFRARED, VISIBLE

__all__ = ["Direction", "ModalityRoles", "of_modality", "roles_of"]

Direction = Literal["visible-to-infrared", "infrared-to-visible"]


class ModalityRoles(NamedTuple):
    """The modalities of queries and gallery."""

    query: int
    gallery: int


def roles_of(direction: Direction) -> ModalityRoles:
    """Tell which modality asks and which answers: ``"visible-to-infrared"`` has visible queries."""
    if direction not in get_args(Direction):
        raise ValueError(f"direction must be one of {', '.join(get_args(Direction))}, got {direction!r}.")
    if direction == "visible-to-infrared":
        return ModalityRoles(VISIBLE, INFRARED)
    return ModalityRoles(INFRARED, VISIBLE)


def of_modality(identities: NDArray[np.int64], modalities: NDArray[np.int64], modality: int) -> NDArray[np.int64]:
    """Find the images of a modality: indices, ascending, one at least."""
    if np.shape(identities) != np.shape(modalities) or np.ndim(modalities) != 1:
        raise ValueError(
            "identities and modalities must be two vectors of one length, "
            f"got {np.shape(identities)} and {np.shape(modalities)}."
        )
    if not np.isin(modalities, (VISIBLE, INFRARED)).all():
        raise ValueError(
            f"modalities must be {VISIBLE} (visible) or {INFRARED} (infrared), got {np.unique(modalities).tolist()}."
        )
    indices = np.flatnonzero(modalities == modality)
    if len(indices) == 0:
        name = "visible" if modality == VISIBLE else "infrared"
        raise ValueError(f"there is no {name} image among the {len(modalities)}; pass those of both modalities.")
    return indices

"""The protocol of RegDB: everything of one modality against everything of the other, once for each split."""

import numpy as np
from numpy.typing import NDArray

from reid.protocols.modalities import Direction, of_modality, roles_of
from reid.protocols.trials import Rule, Trials

__all__ = ["regdb_trials"]

# Two cameras side by side; nothing is removed, because a query and its gallery are never of one camera. The
# CMC counts images, as AGW does on this data set: with ten images of each person its R5, R10 and R20 are lower
# than those that count persons, and R1 is the same.
_RULE = Rule(locations=(1, 2), level="image")


def regdb_trials(identities: NDArray[np.int64], modalities: NDArray[np.int64], *, direction: Direction) -> Trials:
    """Make the one trial of a split of RegDB from its test images.

    There are ten splits of the persons, and a model for each: published numbers are means over ten trials with
    ten models. A model that is scored on a split that is not its own has been trained on the persons there.

    Args:
        identities: of the 2 x 2060 test images, shape ``(N,)``, in the order of the split's files.
        modalities: 0 visible, 1 infrared, shape ``(N,)``.
        direction: which modality asks, and which answers.

    Returns:
        One trial; queries and gallery keep the order of the images.

    Raises:
        ValueError: for an unknown direction, or a modality without an image.

    Reference:
        D. T. Nguyen et al., Person Recognition System Based on a Combination of Body Images from Visible Light
        and Thermal Cameras, Sensors 2017 (data set); M. Ye et al., Deep Learning for Person Re-identification:
        A Survey and Outlook, TPAMI 2022, with its code (protocol).

    """
    asking, answering = roles_of(direction)
    query, gallery = (of_modality(identities, modalities, modality) for modality in (asking, answering))
    return Trials((query,), (gallery,), identities, modalities + 1, _RULE)

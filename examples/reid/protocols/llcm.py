"""The protocol of LLCM: galleries of one image of each person and camera, in both directions, in two readings."""

from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from modinv import INFRARED, VISIBLE
from reid.protocols.modalities import Direction, of_modality, roles_of
from reid.protocols.single_shot import NUM_TRIALS, single_shot_gallery, sort_into_cells
from reid.protocols.trials import Rule, Trials

__all__ = ["LLCM_CAMERAS", "Roles", "llcm_trials"]

Roles = Literal["named", "published"]

LLCM_CAMERAS = {VISIBLE: (1, 2, 3, 4, 5, 6, 7, 8, 9), INFRARED: (1, 2, 4, 5, 6, 7, 8, 9)}
# Every camera has its own place, in both modalities; only the same person there is removed.
_RULE = Rule(locations=(1, 2, 3, 4, 5, 6, 7, 8, 9), same_identity=True)


def llcm_trials(
    identities: NDArray[np.int64],
    cameras: NDArray[np.int64],
    modalities: NDArray[np.int64],
    numbers: NDArray[np.int64],
    *,
    direction: Direction,
    roles: Roles = "named",
) -> Trials:
    """Draw the ten trials of LLCM from its test images.

    All images of the modality that asks are queries; the gallery of trial t has one image of each person and
    camera of the other, drawn like AGW's for SYSU-MM01. Images of the query's person from the query's camera
    are removed.

    The code published with the data set does this for infrared-to-visible. What it calls visible-to-infrared
    exchanges the roles: the ten sets of *single infrared images* ask, and *all visible images* answer. That
    is ``roles="published"``; its numbers do not compare with those of ``"named"``, which does what the name of
    the direction says. For infrared-to-visible the two are the same.

    Args:
        identities: of the test images, shape ``(N,)``, any order.
        cameras: 1 to 9, shape ``(N,)``.
        modalities: 0 visible, 1 infrared, shape ``(N,)``.
        numbers: of the image inside its identity, camera and modality, in the order of the file names, ``(N,)``.
        direction: which modality asks, and which answers.
        roles: ``"named"`` (default) or ``"published"``.

    Returns:
        The trials; queries are in the order camera, identity, image number.

    Raises:
        ValueError: for an unknown option or unfitting arrays.

    Reference:
        Y. Zhang, H. Wang, Diverse Embedding Expansion Network and Low-Light Cross-Modality Benchmark for
        Visible-Infrared Person Re-identification, CVPR 2023, with its code.

    """
    if roles not in get_args(Roles):
        raise ValueError(f"roles must be one of {', '.join(get_args(Roles))}, got {roles!r}.")
    asking, answering = roles_of(direction)
    _check_cameras(cameras, modalities)
    everything, cells = {}, {}
    for modality in (VISIBLE, INFRARED):
        rows = of_modality(identities, modalities, modality)
        found = sort_into_cells(identities[rows], cameras[rows], numbers[rows])
        cells[modality] = {key: {number: int(rows[i]) for number, i in cell.items()} for key, cell in found.items()}
        everything[modality] = np.array([i for cell in cells[modality].values() for i in cell.values()], dtype=np.int64)
    exchanged = roles == "published" and direction == "visible-to-infrared"
    single = [single_shot_gallery(cells[answering], LLCM_CAMERAS[answering], seed) for seed in range(NUM_TRIALS)]
    everyone = (everything[asking],) * NUM_TRIALS
    queries, galleries = (tuple(single), everyone) if exchanged else (everyone, tuple(single))
    return Trials(queries, galleries, identities, cameras, _RULE)


def _check_cameras(cameras: NDArray[np.int64], modalities: NDArray[np.int64]) -> None:
    if np.shape(cameras) != np.shape(modalities):
        raise ValueError(f"cameras and modalities must be of one length, got {len(cameras)} and {len(modalities)}.")
    for modality, known in LLCM_CAMERAS.items():
        if strange := sorted(set(cameras[modalities == modality].tolist()) - set(known)):
            name = "visible" if modality == VISIBLE else "infrared"
            raise ValueError(f"cameras of {name} images must be {', '.join(map(str, known))}, got {strange}.")

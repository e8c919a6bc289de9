"""Writes the look-alike of SYSU-MM01 as the official code keeps features: `.mat` files, and the split beside them."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import scipy.io

from examples.look_alike import LookAlike

__all__ = ["Folders", "write_look_alike"]

_IDENTITIES = 48


class Folders(NamedTuple):
    """Where the features and the split are."""

    features: Path
    exp: Path


def write_look_alike(folder: Path, images: LookAlike, *, normalize: bool = False, name: str = "raw") -> Folders:
    """Write ``NAME_cam#.mat``, ``test_id.mat`` and ``rand_perm_cam.mat``; other identities are there too."""
    folders = Folders(folder / "feature", folder / "exp")
    features = images.features(normalize)
    chosen = sorted(set(images.identities.tolist()))
    outer = np.empty((6, 1), dtype=object)
    for path in folders:
        path.mkdir(parents=True, exist_ok=True)
    for camera in range(1, 7):
        cells, permutations = (np.empty((_IDENTITIES, 1), dtype=object) for _ in range(2))
        for identity in range(1, _IDENTITIES + 1):
            rows = features[(images.cameras == camera) & (images.identities == identity)]
            if identity not in chosen:
                rows = np.full((3, features.shape[1]), float(camera))
            cells[identity - 1, 0] = rows if len(rows) else np.zeros((0, 0))
            found = images.permutations.get((camera, identity), np.tile([1, 2, 3], (10, 1)))
            permutations[identity - 1, 0] = found.astype(np.uint8)
        outer[camera - 1, 0] = permutations
        scipy.io.savemat(folders.features / f"{name}_cam{camera}.mat", {"feature": cells})
    scipy.io.savemat(folders.exp / "rand_perm_cam.mat", {"rand_perm_cam": outer})
    scipy.io.savemat(folders.exp / "test_id.mat", {"id": np.array([chosen], dtype=np.uint16)})
    return folders

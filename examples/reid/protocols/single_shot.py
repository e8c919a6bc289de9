"""AGW's galleries: one random image of each identity and camera, drawn by a seed for each trial."""

import random
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["NUM_TRIALS", "Cells", "single_shot_gallery", "sort_into_cells"]

NUM_TRIALS = 10

Cells = Mapping[tuple[int, int], Mapping[int, int]]
"""``(camera, identity)`` → image number → index of the image; cameras, identities and numbers ascend."""


def sort_into_cells(identities: NDArray[np.int64], cameras: NDArray[np.int64], numbers: NDArray[np.int64]) -> Cells:
    """Find the images of each camera and identity that has one; no image may come twice."""
    shapes = {np.shape(array) for array in (identities, cameras, numbers)}
    if len(shapes) != 1 or identities.ndim != 1:
        raise ValueError(f"identities, cameras and numbers must be three vectors of one length, got {sorted(shapes)}.")
    cells: dict[tuple[int, int], dict[int, int]] = {}
    for index in np.lexsort((numbers, identities, cameras)).tolist():
        cell = cells.setdefault((int(cameras[index]), int(identities[index])), {})
        if cell.setdefault(int(numbers[index]), index) != index:
            raise ValueError(
                f"image {numbers[index]} of camera {cameras[index]}, identity {identities[index]} "
                "comes twice; pass every image of the test split once."
            )
    return cells


def single_shot_gallery(cells: Cells, cameras: Sequence[int], seed: int) -> NDArray[np.int64]:
    """Draw one image of each identity and camera that answers with Python's ``random``, as AGW's code and LLCM's do.

    The order of the draws is identity, camera, and each draw is a choice from the images in the order of their
    numbers, which is the order of their file names. The seed is that of the trial, 0 … 9. Indices ``(G,)`` come back
    in the order of the draws.
    """
    generator = random.Random(seed)  # one stream over the cells visited: fewer cameras give other images
    walk = sorted((identity, camera) for camera, identity in cells if camera in cameras)
    picks = [generator.choice(list(cells[camera, identity].values())) for identity, camera in walk]
    return np.array(picks, dtype=np.int64)

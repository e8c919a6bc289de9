"""Makes a cross-modality data set of drawn persons on disk, in the very layout of SYSU-MM01.

Cameras 3 and 6 are near-infrared, the others visible, and cameras 2 and 3 look at one place. It is as large as is
asked for: 296, 99 and 96 identities are those of the real data set.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import scipy.io
from numpy.typing import NDArray

from reid.data.sysu import INFRARED_CAMERAS
from reid.synthetic.appearance import Camera, draw_camera, draw_place
from reid.synthetic.folder import Cell, check_options, draw_cells, ensure_folder, generator, write_lines

__all__ = ["draw_cameras", "make_synthetic_sysu"]

_CAMERAS: Final = (1, 2, 3, 4, 5, 6)
_PLACES: Final = (1, 2, 2, 4, 5, 6)
# Roughly as in SYSU-MM01: cameras 1 and 2 see about six identities in ten, the others nearly all.
_SEEN: Final = (0.6, 0.6, 0.95, 0.95, 0.95, 0.97)
_TRIALS: Final = 10
# Numbers of the random streams; 2 and 3 are those of the persons and their images.
_PLACE_STREAM, _CAMERA_STREAM, _SPLIT_STREAM, _PERMUTATION_STREAM = 0, 1, 4, 5


class _Options(NamedTuple):
    train: int
    val: int
    test: int
    seed: int
    size: tuple[int, int]
    images_per_camera: int


def make_synthetic_sysu(
    root: Path,
    *,
    train: int = 75,
    val: int = 25,
    test: int = 40,
    seed: int = 0,
    size: tuple[int, int] = (64, 32),
    images_per_camera: int = 10,
    progress: bool = True,
) -> Path:
    """Make the synthetic data set unless it is there already, whole and with these options.

    A synthetic set made with other options is replaced; a folder that is no synthetic set is never touched.

    Args:
        root: folder of the data set.
        train, val, test: numbers of identities; the field trains on the first two.
        seed: of every random number.
        size: (height, width) of the images in pixels.
        images_per_camera: least number of images of an identity under a camera; ten-shot needs 10.
        progress: whether to show a progress bar.

    Returns:
        `root`.

    Raises:
        FileExistsError: when `root` holds something else.
        ValueError: when an option is out of range.
    """
    check_options(size, seed, least=1, train=train, test=test, images_per_camera=images_per_camera)
    check_options(size, seed, least=0, val=val)
    for name, value, most in (
        ("images_per_camera", images_per_camera, 253),  # two more may be drawn, and numbers are stored in bytes
        ("train + val + test", train + val + test, 9999),  # folders have four digits
    ):
        if value > most:
            raise ValueError(f"{name} must be at most {most}, but is {value}: lower it.")
    options = _Options(train, val, test, seed, size, images_per_camera)
    return ensure_folder(root, options._asdict(), lambda folder: _fill(folder, options, progress))


def draw_cameras(seed: int) -> dict[int, Camera]:
    """Draw the six cameras of the data set with this seed, by their numbers; 2 and 3 share a place."""
    return {
        camera: draw_camera(
            generator(seed, _CAMERA_STREAM, camera),
            draw_place(generator(seed, _PLACE_STREAM, place)),
            infrared=camera in INFRARED_CAMERAS,
        )
        for camera, place in zip(_CAMERAS, _PLACES, strict=True)
    }


def _fill(root: Path, options: _Options, progress: bool) -> None:
    cells = list(_cells(root, options))
    _write_splits(root / "exp", options)
    _write_permutations(root / "exp", cells, options)
    draw_cells(cells, seed=options.seed, size=options.size, progress=progress)


def _cells(root: Path, options: _Options) -> Iterator[Cell]:
    """Tell which cameras see which identity, always one of visible and one of infrared, and how often."""
    cameras = draw_cameras(options.seed)
    for identity in range(1, options.train + options.val + options.test + 1):
        numbers = generator(options.seed, _SPLIT_STREAM, identity)
        seen = numbers.uniform(size=len(_CAMERAS)) < _SEEN
        counts = options.images_per_camera + numbers.integers(0, 3, len(_CAMERAS))
        seen[3] |= not (seen[0] or seen[1] or seen[4])
        seen[5] |= not seen[2]
        for camera in (camera for camera in _CAMERAS if seen[camera - 1]):
            folder = root / f"cam{camera}" / f"{identity:04d}"
            files = tuple(folder / f"{number:04d}.jpg" for number in range(1, counts[camera - 1] + 1))
            yield Cell(identity, camera, cameras[camera], files)


def _write_splits(folder: Path, options: _Options) -> None:
    total = options.train + options.val + options.test
    identities = generator(options.seed, _SPLIT_STREAM).permutation(total) + 1
    train, val, test = np.split(identities, [options.train, options.train + options.val])
    for name, chosen in {"train": train, "val": val, "test": test, "available": identities}.items():
        write_lines(folder / f"{name}_id.txt", [",".join(str(identity) for identity in sorted(chosen.tolist()))])


def _write_permutations(folder: Path, cells: list[Cell], options: _Options) -> None:
    """Write the gallery choice of the official protocol: a cell of cells, as MATLAB nests them."""
    outer = np.empty((len(_CAMERAS), 1), dtype=object)
    total = options.train + options.val + options.test
    for camera in _CAMERAS:
        inner = np.empty((total, 1), dtype=object)
        for row in range(total):
            inner[row, 0] = np.zeros((_TRIALS, 0), dtype=np.uint8)
        outer[camera - 1, 0] = inner
    for cell in cells:
        outer[cell.number - 1, 0][cell.identity - 1, 0] = _permutations(cell, options.seed)
    scipy.io.savemat(folder / "rand_perm_cam.mat", {"rand_perm_cam": outer})


def _permutations(cell: Cell, seed: int) -> NDArray[np.uint8]:
    numbers = generator(seed, _PERMUTATION_STREAM, cell.identity, cell.number)
    rows = [numbers.permutation(len(cell.files)) + 1 for _ in range(_TRIALS)]
    return np.stack(rows).astype(np.uint8)  # (10, n)

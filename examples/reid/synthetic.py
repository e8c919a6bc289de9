"""Makes a cross-modality data set of drawn persons on disk, in the very layout of SYSU-MM01.

Cameras 3 and 6 are near-infrared, the others visible, and cameras 2 and 3 look at one place. The images of
each (seed, identity, camera) have a random generator of their own, so they are the same whatever else is
made. The set is made aside and renamed when it is whole, and carries its options in `synthetic.json`.
"""

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import scipy.io
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

from reid.appearance import Camera, draw_camera, draw_person, draw_place
from reid.drawing import draw_images
from reid.sysu import INFRARED_CAMERAS

__all__ = ["FINGERPRINT", "draw_cameras", "ensure_synthetic_sysu", "make_synthetic_sysu"]

FINGERPRINT: Final = "synthetic.json"
_VERSION: Final = 1  # count up whenever the same options give other pixels
_CAMERAS: Final = (1, 2, 3, 4, 5, 6)
_PLACES: Final = (1, 2, 2, 4, 5, 6)
# Roughly as in SYSU-MM01: cameras 1 and 2 see about six identities in ten, the others nearly all.
_SEEN: Final = (0.6, 0.6, 0.95, 0.95, 0.95, 0.97)
_TRIALS: Final = 10
_PLACE_STREAM, _CAMERA_STREAM, _PERSON_STREAM, _IMAGE_STREAM, _SPLIT_STREAM, _PERMUTATION_STREAM = range(6)


class _Options(NamedTuple):
    train: int
    val: int
    test: int
    seed: int
    size: tuple[int, int]
    images_per_camera: int


class _Cell(NamedTuple):
    """What one camera sees of one identity."""

    identity: int
    camera: int
    images: int


def ensure_synthetic_sysu(
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
        train: number of training identities.
        val: number of validation identities; the field trains on both kinds.
        test: number of test identities.
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
    options = _checked(_Options(train, val, test, seed, size, images_per_camera))
    if not _is_made(root, options):
        if (root / FINGERPRINT).is_file():
            shutil.rmtree(root)
        _make(root, options, progress)
    return root


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
    """Make the synthetic data set in a folder that does not exist yet, or is empty.

    Args:
        root: folder to make.
        train: number of training identities.
        val: number of validation identities; the field trains on both kinds.
        test: number of test identities.
        seed: of every random number.
        size: (height, width) of the images in pixels.
        images_per_camera: least number of images of an identity under a camera; ten-shot needs 10.
        progress: whether to show a progress bar.

    Returns:
        `root`.

    Raises:
        FileExistsError: when `root` holds something already.
        ValueError: when an option is out of range.
    """
    _make(root, _checked(_Options(train, val, test, seed, size, images_per_camera)), progress)
    return root


def draw_cameras(seed: int) -> dict[int, Camera]:
    """Draw the six cameras of a data set.

    Args:
        seed: of the data set.

    Returns:
        The cameras by their numbers, 1 to 6; 2 and 3 share a place.
    """
    return {
        camera: draw_camera(
            _generator(seed, _CAMERA_STREAM, camera),
            draw_place(_generator(seed, _PLACE_STREAM, place)),
            infrared=camera in INFRARED_CAMERAS,
        )
        for camera, place in zip(_CAMERAS, _PLACES, strict=True)
    }


def _checked(options: _Options) -> _Options:
    least = _Options(1, 0, 1, 0, (16, 8), 1)
    for name in ("train", "val", "test", "seed", "images_per_camera"):
        if getattr(options, name) < getattr(least, name):
            raise ValueError(
                f"{name} must be at least {getattr(least, name)}, but is {getattr(options, name)}: raise it."
            )
    if options.size[0] < least.size[0] or options.size[1] < least.size[1]:
        raise ValueError(
            f"size must be (height, width) of at least {least.size} pixels, but is {options.size}: raise it."
        )
    if options.images_per_camera > 253:  # two more may be drawn, and a permutation is stored in bytes
        raise ValueError(f"images_per_camera must be at most 253, but is {options.images_per_camera}: lower it.")
    return options


def _fingerprint(options: _Options) -> dict[str, object]:
    return {"version": _VERSION, **options._asdict(), "size": list(options.size)}


def _is_made(root: Path, options: _Options) -> bool:
    file = root / FINGERPRINT
    if not file.is_file():
        return False
    try:
        return bool(json.loads(file.read_text(encoding="utf-8")) == _fingerprint(options))
    except ValueError:
        return False


def _make(root: Path, options: _Options, progress: bool) -> None:
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise FileExistsError(
            f"The synthetic data set is made in a new folder, but {root} holds something else already: "
            "name another folder, or move that one away."
        )
    root.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=f".{root.name}-", dir=root.parent))
    try:
        _fill(aside, options, progress)
        aside.chmod(0o755)  # mkdtemp makes folders that only their owner can read
        _publish(aside, root, options)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _publish(aside: Path, root: Path, options: _Options) -> None:
    try:
        if root.is_dir():
            root.rmdir()
        os.replace(aside, root)
    except OSError:
        if not _is_made(root, options):  # otherwise another process was quicker, with the same set
            raise


def _fill(root: Path, options: _Options, progress: bool) -> None:
    cells = list(_cells(options))
    _write_splits(root / "exp", options)
    _write_permutations(root / "exp", cells, options)
    cameras = draw_cameras(options.seed)
    total = sum(cell.images for cell in cells)
    with tqdm(total=total, desc="drawing persons", unit="image", disable=not progress) as bar:
        for cell in cells:
            _write_images(root, cell, cameras[cell.camera], options)
            bar.update(cell.images)
    (root / FINGERPRINT).write_text(json.dumps(_fingerprint(options), indent=1) + "\n", encoding="utf-8")


def _write_images(root: Path, cell: _Cell, camera: Camera, options: _Options) -> None:
    person = draw_person(_generator(options.seed, _PERSON_STREAM, cell.identity))
    generator = _generator(options.seed, _IMAGE_STREAM, cell.identity, cell.camera)
    folder = root / f"cam{cell.camera}" / f"{cell.identity:04d}"
    folder.mkdir(parents=True)
    images = draw_images(person, camera, cell.images, options.size, generator)
    for number, image in enumerate(images, start=1):
        Image.fromarray(image).save(folder / f"{number:04d}.jpg", quality=92)


def _generator(*key: int) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence(key))


def _cells(options: _Options) -> Iterator[_Cell]:
    """Tell which cameras see which identity, always one of visible and one of infrared, and how often."""
    for identity in range(1, options.train + options.val + options.test + 1):
        generator = _generator(options.seed, _SPLIT_STREAM, identity)
        seen = generator.uniform(size=len(_CAMERAS)) < _SEEN
        images = options.images_per_camera + generator.integers(0, 3, len(_CAMERAS))
        seen[3] |= not (seen[0] or seen[1] or seen[4])
        seen[5] |= not seen[2]
        yield from (_Cell(identity, camera, int(images[camera - 1])) for camera in _CAMERAS if seen[camera - 1])


def _write_splits(folder: Path, options: _Options) -> None:
    folder.mkdir(parents=True)
    total = options.train + options.val + options.test
    identities = _generator(options.seed, _SPLIT_STREAM).permutation(total) + 1
    train, val, test = np.split(identities, [options.train, options.train + options.val])
    for name, chosen in {"train": train, "val": val, "test": test, "available": identities}.items():
        line = ",".join(str(identity) for identity in sorted(chosen.tolist()))
        (folder / f"{name}_id.txt").write_text(line + "\n", encoding="utf-8")


def _write_permutations(folder: Path, cells: list[_Cell], options: _Options) -> None:
    """Write the gallery choice of the official protocol: a cell of cells, as MATLAB nests them."""
    outer = np.empty((len(_CAMERAS), 1), dtype=object)
    total = options.train + options.val + options.test
    for camera in _CAMERAS:
        inner = np.empty((total, 1), dtype=object)
        for row in range(total):
            inner[row, 0] = np.zeros((_TRIALS, 0), dtype=np.uint8)
        outer[camera - 1, 0] = inner
    for cell in cells:
        outer[cell.camera - 1, 0][cell.identity - 1, 0] = _permutations(cell, options.seed)
    scipy.io.savemat(folder / "rand_perm_cam.mat", {"rand_perm_cam": outer})


def _permutations(cell: _Cell, seed: int) -> NDArray[np.uint8]:
    generator = _generator(seed, _PERMUTATION_STREAM, cell.identity, cell.camera)
    rows = [generator.permutation(cell.images) + 1 for _ in range(_TRIALS)]
    return np.stack(rows).astype(np.uint8)  # (10, n)

"""Fills a folder with images of drawn persons, in any layout, and shows it only when it is whole.

A folder is made aside and renamed, and carries its options in `synthetic.json`. The images of each (seed, identity,
camera) have a random generator of their own, so they are the same whatever else is drawn, and in whatever order.
"""

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from PIL import Image
from tqdm import tqdm

from reid.drawing.appearance import Camera, draw_person
from reid.drawing.persons import draw_images
from reid.threads import map_in_threads

__all__ = ["FINGERPRINT", "Cell", "check_options", "draw_cells", "ensure_folder", "generator", "write_lines"]

FINGERPRINT: Final = "synthetic.json"

_VERSION: Final = 1  # count up whenever the same options give other pixels
_LEAST_SIZE: Final = (16, 8)
_PERSON_STREAM: Final = 2
_IMAGE_STREAM: Final = 3


class Cell(NamedTuple):
    """What one camera sees of one identity."""

    identity: int
    number: int  # of the camera, for the random numbers of the images
    camera: Camera
    files: tuple[Path, ...]


def ensure_folder(root: Path, options: Mapping[str, Any], fill: Callable[[Path], None]) -> Path:
    """Make a folder unless it is there already, whole and with these options.

    A folder made with other options is replaced; one that was not made here is never touched.

    Args:
        root: the folder; it is returned.
        options: everything that its content depends on, JSON values.
        fill: writes the content into an empty folder.

    Raises:
        FileExistsError: when `root` holds something else.
    """
    fingerprint = json.loads(json.dumps({"version": _VERSION, **options}))
    if not _is_made(root, fingerprint):
        if (root / FINGERPRINT).is_file():
            shutil.rmtree(root)
        _make(root, fingerprint, fill)
    return root


def draw_cells(cells: Sequence[Cell], *, seed: int, size: tuple[int, int], progress: bool) -> None:
    """Draw the images of all cells, ``(height, width)`` each, and write them, in threads; missing folders are made."""

    def write(cell: Cell) -> int:
        person = draw_person(generator(seed, _PERSON_STREAM, cell.identity))
        numbers = generator(seed, _IMAGE_STREAM, cell.identity, cell.number)
        images = draw_images(person, cell.camera, len(cell.files), size, numbers)
        for file, image in zip(cell.files, images, strict=True):
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(file, quality=92)  # which BMP ignores
        return len(cell.files)

    total = sum(len(cell.files) for cell in cells)
    with tqdm(total=total, desc="drawing persons", unit="image", disable=not progress) as bar:
        for count in map_in_threads(write, cells):
            bar.update(count)


def generator(*key: int) -> np.random.Generator:
    """Make a random generator that is independent of those of all other keys: seed, kind of thing, and what it is."""
    return np.random.default_rng(np.random.SeedSequence(key))


def check_options(size: tuple[int, int], seed: int, *, least: int, **numbers: int) -> None:
    """Refuse a size, a seed, or numbers of identities and images that nothing can be made with."""
    for name, value, bound in [("seed", seed, 0), *((name, value, least) for name, value in numbers.items())]:
        if value < bound:
            raise ValueError(f"{name} must be at least {bound}, but is {value}: raise it.")
    if size[0] < _LEAST_SIZE[0] or size[1] < _LEAST_SIZE[1]:
        raise ValueError(f"size must be (height, width) of at least {_LEAST_SIZE} pixels, but is {size}: raise it.")


def write_lines(file: Path, lines: Sequence[str]) -> None:
    """Write a text file of the layout; missing folders are made."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def _is_made(root: Path, fingerprint: Mapping[str, Any]) -> bool:
    file = root / FINGERPRINT
    if not file.is_file():
        return False
    try:
        return bool(json.loads(file.read_text(encoding="utf-8")) == fingerprint)
    except ValueError:
        return False


def _make(root: Path, fingerprint: Mapping[str, Any], fill: Callable[[Path], None]) -> None:
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise FileExistsError(
            f"The synthetic data set is made in a new folder, but {root} holds something else already: "
            "name another folder, or move that one away."
        )
    root.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=f".{root.name}-", dir=root.parent))
    try:
        fill(aside)
        (aside / FINGERPRINT).write_text(json.dumps(fingerprint, indent=1) + "\n", encoding="utf-8")
        aside.chmod(0o755)  # mkdtemp makes folders that only their owner can read
        _publish(aside, root, fingerprint)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _publish(aside: Path, root: Path, fingerprint: Mapping[str, Any]) -> None:
    try:
        if root.is_dir():
            root.rmdir()
        os.replace(aside, root)
    except OSError:
        if not _is_made(root, fingerprint):  # otherwise another process was quicker, with the same set
            raise

"""Makes a small look-alike of RegDB on disk: drawn persons, one visible and one infrared camera, ten splits.

RegDB's infrared is thermal; here it is drawn as near-infrared, which is enough to try a layout and a protocol with.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from reid.data.regdb import NUM_SPLITS
from reid.synthetic.appearance import draw_camera, draw_place
from reid.synthetic.folder import Cell, check_options, draw_cells, ensure_folder, generator, write_lines

__all__ = ["make_synthetic_regdb"]

_FOLDERS: Final = {"visible": "Visible", "thermal": "Thermal"}
_PLACE_STREAM, _CAMERA_STREAM, _SPLIT_STREAM = 10, 11, 12


class _Options(NamedTuple):
    train: int
    test: int
    seed: int
    size: tuple[int, int]
    images: int


def make_synthetic_regdb(
    root: Path,
    *,
    train: int = 20,
    test: int = 20,
    seed: int = 0,
    size: tuple[int, int] = (64, 32),
    images: int = 10,
    progress: bool = True,
) -> Path:
    """Make the look-alike of RegDB unless it is there already, whole and with these options; see `make_synthetic_sysu`.

    Args:
        root: folder of the data set.
        train, test: numbers of identities of each split; the real one has 206 and 206.
        seed, size, progress: as there.
        images: of each identity in each modality.
    """
    check_options(size, seed, least=1, train=train, test=test, images=images)
    options = _Options(train, test, seed, size, images)
    return ensure_folder(
        root, {"layout": "RegDB", **options._asdict()}, lambda folder: _fill(folder, options, progress)
    )


def _fill(root: Path, options: _Options, progress: bool) -> None:
    for split in range(1, NUM_SPLITS + 1):
        order = generator(options.seed, _SPLIT_STREAM, split).permutation(options.train + options.test) + 1
        for part, identities in zip(("train", "test"), np.split(order, [options.train]), strict=True):
            for kind in _FOLDERS:
                lines = _lines(kind, sorted(identities.tolist()), options.images)
                write_lines(root / "idx" / f"{part}_{kind}_{split}.txt", lines)
    draw_cells(list(_cells(root, options)), seed=options.seed, size=options.size, progress=progress)


def _lines(kind: str, identities: Sequence[int], images: int) -> list[str]:
    """Name the images of one modality with labels from 0."""
    return [f"{name} {label}" for label, identity in enumerate(identities) for name in _names(kind, identity, images)]


def _names(kind: str, identity: int, images: int) -> list[str]:
    return [f"{_FOLDERS[kind]}/{identity}/{kind[0]}_{identity:04d}_{number:05d}.bmp" for number in range(1, images + 1)]


def _cells(root: Path, options: _Options) -> Iterator[Cell]:
    place = draw_place(generator(options.seed, _PLACE_STREAM))
    for camera, kind in enumerate(_FOLDERS, start=1):
        drawn = draw_camera(generator(options.seed, _CAMERA_STREAM, camera), place, infrared=kind == "thermal")
        for identity in range(1, options.train + options.test + 1):
            names = _names(kind, identity, options.images)
            yield Cell(identity, camera, drawn, tuple(root / name for name in names))

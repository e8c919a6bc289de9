"""Makes a small look-alike of LLCM on disk: drawn persons, nine places with a visible and an infrared camera each.

As in LLCM, place 3 has no infrared camera, training images are named by lists, and test images lie in folders of
cameras and identities.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, NamedTuple

from reid.synthetic.appearance import Camera, draw_camera, draw_place
from reid.synthetic.folder import Cell, check_options, draw_cells, ensure_folder, generator, write_lines

__all__ = ["make_synthetic_llcm"]

_CAMERAS: Final[Mapping[str, tuple[int, ...]]] = {"vis": (1, 2, 3, 4, 5, 6, 7, 8, 9), "nir": (1, 2, 4, 5, 6, 7, 8, 9)}
_SEEN: Final = 3  # cameras of each kind that see an identity; two are the least that leave a match everywhere
_PLACE_STREAM, _CAMERA_STREAM, _SEEN_STREAM = 20, 21, 22


class _Options(NamedTuple):
    train: int
    test: int
    seed: int
    size: tuple[int, int]
    images_per_camera: int


def make_synthetic_llcm(
    root: Path,
    *,
    train: int = 20,
    test: int = 10,
    seed: int = 0,
    size: tuple[int, int] = (64, 32),
    images_per_camera: int = 4,
    progress: bool = True,
) -> Path:
    """Make the look-alike of LLCM unless it is there already, whole and with these options; see `make_synthetic_sysu`.

    Args:
        root: folder of the data set.
        train, test: numbers of identities; the real one has 713 and 351.
        seed, size, progress: as there.
        images_per_camera: images of an identity under each of the cameras that see it.
    """
    check_options(size, seed, least=1, train=train, test=test, images_per_camera=images_per_camera)
    options = _Options(train, test, seed, size, images_per_camera)
    return ensure_folder(root, {"layout": "LLCM", **options._asdict()}, lambda folder: _fill(folder, options, progress))


def _fill(root: Path, options: _Options, progress: bool) -> None:
    test = range(options.train + 1, options.train + options.test + 1)
    write_lines(root / "idx" / "test_id.txt", [",".join(map(str, test))])
    cells = []
    for kind in _CAMERAS:
        some = list(_cells(root, kind, options))
        files = [(file, cell.identity - 1) for cell in some if cell.identity not in test for file in cell.files]
        lines = [f"{file.relative_to(root).as_posix()} {label}" for file, label in files]
        write_lines(root / "idx" / f"train_{kind}.txt", lines)
        cells.extend(some)
    draw_cells(cells, seed=options.seed, size=options.size, progress=progress)


def _cells(root: Path, kind: str, options: _Options) -> Iterator[Cell]:
    cameras = {number: _camera(options.seed, number, kind) for number in _CAMERAS[kind]}
    for identity in range(1, options.train + options.test + 1):
        # The same order for both kinds, so that most identities are seen by both cameras of a place.
        order = generator(options.seed, _SEEN_STREAM, identity).permutation(9) + 1
        for number in sorted([number for number in order.tolist() if number in cameras][:_SEEN]):
            if identity <= options.train:
                folder = root / kind / f"{identity:04d}"
            else:
                folder = root / f"test_{kind}" / f"cam{number}" / f"{identity:04d}"
            names = [
                f"{identity:04d}_c{number:02d}_s{count:06d}_{kind}.jpg" for count in range(options.images_per_camera)
            ]
            # Infrared cameras count on, so that their images have random numbers of their own.
            stream = number + 9 * (kind == "nir")
            yield Cell(identity, stream, cameras[number], tuple(folder / name for name in names))


def _camera(seed: int, number: int, kind: str) -> Camera:
    place = draw_place(generator(seed, _PLACE_STREAM, number))
    return draw_camera(generator(seed, _CAMERA_STREAM, number, kind == "nir"), place, infrared=kind == "nir")

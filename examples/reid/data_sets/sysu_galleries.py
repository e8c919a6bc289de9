"""The galleries of SYSU-MM01: the official ones and AGW's, all and indoor search, one or several shots."""

from collections.abc import Iterable, Mapping
from itertools import product
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
import scipy.io
from numpy.typing import NDArray

from reid.protocols import NUM_TRIALS, Cells, Rule, Trials, single_shot_gallery, sort_into_cells

__all__ = ["GALLERY_CAMERAS", "PERMUTATIONS", "QUERY_CAMERAS", "GalleryChoice", "Mode", "Permutations"]
__all__ += ["protocol_files", "read_permutation_file", "read_permutations", "sysu_trials", "write_permutation_file"]

GalleryChoice = Literal["official", "agw"]
Mode = Literal["all", "indoor"]
Permutations = Mapping[tuple[int, int], NDArray[Any]]
"""``(camera, identity)`` → image numbers from 1, shape ``(10, n)``."""

PERMUTATIONS = "rand_perm_cam.mat"
QUERY_CAMERAS = (3, 6)
GALLERY_CAMERAS: Mapping[Mode, tuple[int, ...]] = {"all": (1, 2, 4, 5), "indoor": (1, 2)}
# Cameras 2 and 3 hang in one room, so only queries of camera 3 lose gallery images: all those of camera 2.
_RULE = Rule(locations=(1, 2, 2, 4, 5, 6))


class _Cell(NamedTuple):
    """The images of one camera and identity, and which of them are in the gallery of each trial."""

    images: Mapping[int, int]
    chosen: list[list[int]]


def sysu_trials(
    identities: NDArray[np.int64],
    cameras: NDArray[np.int64],
    numbers: NDArray[np.int64],
    *,
    gallery: GalleryChoice = "official",
    mode: Mode = "all",
    shots: int = 1,
    permutations: Permutations | None = None,
) -> Trials:
    """Draw the query set and the ten galleries of SYSU-MM01 from its test images.

    ``"official"`` takes the first ``shots`` image numbers of row t of the permutation that the data set holds
    for each camera and identity, in the order camera, identity, permutation. ``"agw"``, which most of the
    field runs, takes one image per identity and camera with Python's ``random`` seeded by t = 0 … 9, in the
    order identity, camera: other images, so scores differ by the luck of the gallery.

    Args:
        identities: of the test images, shape ``(N,)``, any order.
        cameras: 1 to 6, shape ``(N,)``.
        numbers: of the image inside its camera and identity, counted from 1, shape ``(N,)``.
        gallery: how the images of a gallery are chosen, default ``"official"``.
        mode: ``"all"`` (cameras 1, 2, 4, 5) or ``"indoor"`` (cameras 1, 2).
        shots: gallery images per identity and camera, 1 (default) or 10 in the literature; AGW has 1 only.
        permutations: ``(camera, identity)`` → image numbers from 1, shape ``(10, n)``; needed by the
            official galleries only.

    Returns:
        The trials; both modes have the same queries, in the order camera, identity, image number.

    Raises:
        ValueError: for an unknown option, or images and permutations that do not belong together.

    Reference:
        A. Wu et al., RGB-Infrared Cross-Modality Person Re-Identification, ICCV 2017, with the evaluation
        code of the data set (official); M. Ye et al., Deep Learning for Person Re-identification: A Survey
        and Outlook, TPAMI 2022, with its code (AGW).

    """
    _check_options(gallery, mode, shots)
    cells = sort_into_cells(identities, cameras, numbers)
    _check_cameras(cameras)
    galleries = _galleries(cells, gallery, GALLERY_CAMERAS[mode], shots, permutations)
    asking = [key for key in sorted(cells) if key[0] in QUERY_CAMERAS]
    query = np.array([index for key in asking for index in cells[key].values()], dtype=np.int64)
    return Trials((query,) * NUM_TRIALS, galleries, identities, cameras, _RULE)


def read_permutations(root: Path) -> Permutations | None:
    """Read the permutations of a data set, see `read_permutation_file`; None where it has none."""
    file = root / "exp" / PERMUTATIONS
    return read_permutation_file(file) if file.is_file() else None


def read_permutation_file(file: Path) -> dict[tuple[int, int], NDArray[np.int64]]:
    """Read the file `rand_perm_cam.mat` of the data set, wherever it lies.

    Returns:
        For each (camera, identity) that has images, a ``(10, n)`` array: row t is a permutation of the n
        image numbers, counted from 1, whose first one or ten entries are the gallery of trial t.

    Raises:
        ValueError: when the file holds something else.
    """
    try:
        cells = scipy.io.loadmat(file)["rand_perm_cam"]
        return {
            (camera, identity): permutations.astype(np.int64).reshape(NUM_TRIALS, permutations.shape[1])
            for camera, cell in zip(range(1, 7), cells.reshape(-1), strict=True)
            for identity, permutations in enumerate(cell.reshape(-1), start=1)
            if permutations.size
        }
    except NotImplementedError as error:
        raise ValueError(
            f"{file} is a MATLAB file of version 7.3, which is not read: copy the file from the data set again, or "
            "save it with -v7."
        ) from error
    except Exception as error:  # scipy raises many kinds on a file that is cut off or no MATLAB file
        raise ValueError(
            f"{file} must hold a cell array 'rand_perm_cam' of six cameras, but does not: "
            "copy the file from the data set again."
        ) from error


def protocol_files(gallery: GalleryChoice, exp: Path | None) -> tuple[Path, ...]:
    """Find the permutations in the folder ``exp``, where the protocol needs them."""
    if gallery != "official":
        return ()
    if exp is None:
        raise ValueError(f"--protocol official needs --exp, the folder of {PERMUTATIONS}; or use --protocol agw.")
    if not (file := exp / PERMUTATIONS).is_file():
        raise FileNotFoundError(f"{file} does not exist; copy it from the data set, or use --protocol agw.")
    return (file,)


def write_permutation_file(file: Path, permutations: Permutations, identities: int) -> None:
    """Write what `read_permutation_file` reads, with numbers up to 255: a cell of cells, as MATLAB nests them."""
    outer = np.empty((6, 1), dtype=object)
    for row in range(6):
        outer[row, 0] = np.empty((identities, 1), dtype=object)
        for identity in range(1, identities + 1):
            rows = permutations.get((row + 1, identity), np.zeros((NUM_TRIALS, 0)))
            outer[row, 0][identity - 1, 0] = rows.astype(np.uint8)
    scipy.io.savemat(file, {"rand_perm_cam": outer})


def _galleries(
    cells: Cells, gallery: GalleryChoice, cameras: tuple[int, ...], shots: int, permutations: Permutations | None
) -> tuple[NDArray[np.int64], ...]:
    if gallery == "agw":
        return tuple(single_shot_gallery(cells, cameras, seed) for seed in range(NUM_TRIALS))
    if permutations is None:
        raise ValueError(
            "gallery='official' needs the permutations of the data set, got None; read them from its file "
            "exp/rand_perm_cam.mat, or use gallery='agw'."
        )
    chosen = _official_cells(cells, permutations, cameras, shots)
    picks = [[cell.images[number] for cell in chosen for number in cell.chosen[t]] for t in range(NUM_TRIALS)]
    return tuple(np.array(trial, dtype=np.int64) for trial in picks)


def _official_cells(cells: Cells, permutations: Permutations, cameras: Iterable[int], shots: int) -> list[_Cell]:
    chosen = []
    for key in product(cameras, sorted({identity for _, identity in cells})):
        images, rows = cells.get(key, {}), np.asarray(permutations.get(key, []))
        if rows.size or images:
            _check_permutation(key, list(images), rows, shots)
            chosen.append(_Cell(images, rows[:, :shots].astype(int).tolist()))
    return chosen


def _check_permutation(key: tuple[int, int], numbers: list[int], rows: NDArray[Any], shots: int) -> None:
    place = f"camera {key[0]}, identity {key[1]}"
    expected = (NUM_TRIALS, len(numbers))
    if rows.shape != expected or (np.sort(rows, axis=1) != numbers).any():
        raise ValueError(
            f"{place}: expected a permutation of shape {expected} that lists each of its image numbers once "
            f"per trial, got one of shape {rows.shape} that does not; "
            "take the images and exp/rand_perm_cam.mat from one and the same data set."
        )
    if len(numbers) < shots:
        raise ValueError(f"{place}: shots={shots} needs as many images, got {len(numbers)}; use fewer shots.")


def _check_options(gallery: str, mode: str, shots: int) -> None:
    for name, value, known in (("gallery", gallery, GalleryChoice), ("mode", mode, Mode)):
        if value not in get_args(known):
            raise ValueError(f"{name} must be one of {', '.join(get_args(known))}, got {value!r}.")
    if isinstance(shots, bool) or not isinstance(shots, int) or shots < 1:
        raise ValueError(f"shots must be a positive integer, got {shots!r}.")
    if gallery == "agw" and shots != 1:
        raise ValueError(f"gallery='agw' is defined for shots=1 only, got {shots}; use gallery='official'.")


def _check_cameras(cameras: NDArray[np.int64]) -> None:
    if len(cameras) and not 1 <= cameras.min() <= cameras.max() <= len(_RULE.locations):
        raise ValueError(f"cameras must be 1 to 6, got {cameras.min()} to {cameras.max()}; count from 1.")

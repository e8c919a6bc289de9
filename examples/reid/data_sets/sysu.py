"""SYSU-MM01: its folder layout, its protocols, and a look-alike of drawn persons.

    ROOT/cam1 … cam6/IIII/NNNN.jpg     image NNNN of identity IIII
    ROOT/exp/{train,val,test}_id.txt   identities, one comma-separated line
    ROOT/exp/rand_perm_cam.mat         the official choice of gallery images, see `sysu_galleries`

Cameras 3 and 6 are near-infrared, the others visible, and cameras 2 and 3 look at one place.

Reference: Wu, Zheng, Yu, Gong, Lai, "RGB-infrared cross-modality person re-identification", ICCV 2017. The
data set is applied for at its authors' page, github.com/wuancong/SYSU-MM01.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from modinv import INFRARED, VISIBLE
from reid.data_sets import layout
from reid.data_sets.data_set import DataSet
from reid.data_sets.features import LabelledFeatures
from reid.data_sets.layout import Entry, ImageList, Layout
from reid.data_sets.listing import HeldOutList, Listing, hold_out
from reid.data_sets.remarks import Counts, remarks_of
from reid.data_sets.sysu_features import SYSU_LABELS, read_sysu_features
from reid.data_sets.sysu_galleries import (
    PERMUTATIONS,
    GalleryChoice,
    Mode,
    Permutations,
    protocol_files,
    read_permutation_file,
    read_permutations,
    sysu_trials,
    write_permutation_file,
)
from reid.drawing.appearance import Camera, draw_camera, draw_place
from reid.drawing.folder import Cell, check_options, draw_cells, ensure_folder, generator, write_lines
from reid.protocols import NUM_TRIALS, Trials

__all__ = ["INFRARED_CAMERAS", "SYSU", "VISIBLE_CAMERAS", "Split", "draw_cameras", "list_sysu"]
__all__ += ["make_synthetic_sysu", "missing_images", "read_images"]

VISIBLE_CAMERAS: Final = (1, 2, 4, 5)
INFRARED_CAMERAS: Final = (3, 6)

Split = Literal["train", "val", "trainval", "test"]
TrainingPart = Literal["train", "trainval"]

_CAMERAS: Final = tuple(sorted(VISIBLE_CAMERAS + INFRARED_CAMERAS))
# Those of the data set are counted in its own rand_perm_cam.mat; trainval is what the field trains on.
_COUNTS: Final = {
    "SYSU-MM01 train": Counts(296, 20_284, 9_929),
    "SYSU-MM01 val": Counts(99, 1_974, 1_980),
    "SYSU-MM01 trainval": Counts(395, 22_258, 11_909),
    "SYSU-MM01 test": Counts(96, 6_775, 3_803),
}
_LAYOUT: Final = Layout(
    "SYSU-MM01",
    "the folders cam1 to cam6 and exp/train_id.txt, exp/val_id.txt and exp/test_id.txt, 30,071 visible and 15,792 "
    "infrared images in all, of 296, 99 and 96 identities,",
    "its authors' page, github.com/wuancong/SYSU-MM01",
)
# Of the look-alike. Roughly as in SYSU-MM01: cameras 1 and 2 see about six identities in ten, the others nearly all.
_SEEN: Final = (0.6, 0.6, 0.95, 0.95, 0.95, 0.97)
_PLACES: Final = (1, 2, 2, 4, 5, 6)
# Numbers of the random streams; 2 and 3 are those of the persons and their images.
_PLACE_STREAM, _CAMERA_STREAM, _SPLIT_STREAM, _PERMUTATION_STREAM = 0, 1, 4, 5


def read_images(root: Path, split: Split) -> ImageList:
    """List the images of a split.

    Args:
        root: folder of the data set.
        split: "train", "val", "test", or "trainval", the union of the first two, on which the field trains.

    Returns:
        The images in the order identity, camera, number, which is the one in the file's name. Files that are no
        numbered image are left out.

    Raises:
        FileNotFoundError: when a folder or file of the layout is missing.
        ValueError: when the split is unknown, has no image, or its list of identities cannot be read; or a folder
            looks like that of a camera or an identity and would not be read.
    """
    if split not in get_args(Split):
        raise ValueError(f"split must be one of {', '.join(get_args(Split))}, but is {split!r}: choose one of these.")
    lists = [f"exp/{part}_id.txt" for part in ("train", "val", "test")]
    cameras = [f"cam{camera}" for camera in _CAMERAS]
    layout.check_layout(root, _LAYOUT, [*cameras, *lists])
    layout.refuse_unread(root, "cam(era)?", "|".join(cameras))
    for camera in cameras:
        layout.refuse_unread(root / camera, ".*", "[0-9]{4}")
    identities = _identities(root, split)
    entries = [entry for identity in identities for entry in _entries(root, identity)]
    if not entries:
        raise ValueError(
            f"No image of the {len(identities)} identities of split {split!r} in {root}: "
            "expected files like cam1/0001/0001.jpg, with four-digit names of folders and files."
        )
    return layout.list_images(entries)


def missing_images(root: Path, images: ImageList, split: Split) -> list[Path]:
    """Name the images that `exp/rand_perm_cam.mat`, if there is one, counts for a split and `images` does not hold."""
    found: dict[tuple[int, int], set[int]] = {}
    for identity, camera, number in np.stack(images[1:4], axis=1).tolist():
        found.setdefault((camera, identity), set()).add(number)
    identities = set(_identities(root, split))
    return [
        root / f"cam{cell[0]}" / f"{cell[1]:04d}" / f"{number:04d}.jpg"
        for cell, rows in (read_permutations(root) or {}).items()
        if cell[1] in identities and len(found.get(cell, set())) < rows.shape[1]
        for number in range(1, rows.shape[1] + 1)
        if number not in found.get(cell, set())
    ]


def list_sysu(
    root: Path, *, gallery: GalleryChoice, mode: Mode, shots: int = 1, train: TrainingPart = "trainval"
) -> Listing:
    """List the images with their trials.

    Args:
        root: folder of the data set.
        gallery, mode, shots: see `sysu_trials`; validation trials are always drawn as AGW's, with one shot.
        train: ``"trainval"`` (default) trains on all 395 identities, as the field does, and leaves none to validate
            on; ``"train"`` trains on 296 and validates on the 99 of the official val split.

    Raises:
        OSError, ValueError: one sentence, when the folder is not laid out as it should be, images are missing, or
            the lists contradict each other.
    """
    if train not in get_args(TrainingPart):
        raise ValueError(f"train must be one of {', '.join(get_args(TrainingPart))}, but is {train!r}: choose one.")
    names: tuple[Split, ...] = (train, "test", "val") if train == "train" else (train, "test")
    parts = {name: read_images(root, name) for name in names}
    missing = [path for name, images in parts.items() for path in missing_images(root, images, name)]
    layout.refuse_missing(missing, f"exp/{PERMUTATIONS} counts")
    permutations = read_permutations(root) if gallery == "official" else None

    def hold(name: Split, *protocol: Any) -> HeldOutList:
        return hold_out(parts[name], _trials(parts[name], _Options(*protocol), permutations))

    return Listing(
        train=parts[train],
        test=hold("test", gallery, mode, shots),
        validation=hold("val", "agw", mode) if train == "train" else None,
        remarks=tuple(remarks_of({f"SYSU-MM01 {name}": images for name, images in parts.items()}, _COUNTS)),
    )


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
    """Make a look-alike unless it is there already, whole and with these options, and return its folder.

    A look-alike made with other options is replaced; a folder that is none is never touched.

    Args:
        root: folder of the data set.
        train, val, test: numbers of identities, of which the real one has 296, 99 and 96.
        seed: of every random number.
        size: (height, width) of the images in pixels.
        images_per_camera: least number of images of an identity under a camera; ten-shot needs 10.
        progress: whether to show a progress bar.

    Raises:
        FileExistsError: when `root` holds something else.
        ValueError: when an option is out of range.
    """
    check_options(size, seed, least=1, train=train, test=test, images_per_camera=images_per_camera)
    check_options(size, seed, least=0, val=val)
    total = train + val + test
    for name, value, most in (
        ("images_per_camera", images_per_camera, 253),  # two more may be drawn, and numbers are stored in bytes
        ("train + val + test", total, 9999),  # folders have four digits
    ):
        if value > most:
            raise ValueError(f"{name} must be at most {most}, but is {value}: lower it.")
    options = {"train": train, "val": val, "test": test, "seed": seed, "size": size}

    def fill(folder: Path) -> None:
        cells = list(_cells(folder, total, images_per_camera, seed))
        identities = generator(seed, _SPLIT_STREAM).permutation(total) + 1
        parts = np.split(identities, [train, train + val])
        for part, chosen in zip(("train", "val", "test", "available"), [*parts, identities], strict=True):
            write_lines(folder / "exp" / f"{part}_id.txt", [",".join(map(str, sorted(chosen.tolist())))])
        permutations = {(cell.number, cell.identity): _permutations(cell, seed) for cell in cells}
        write_permutation_file(folder / "exp" / PERMUTATIONS, permutations, total)
        draw_cells(cells, seed=seed, size=size, progress=progress)

    return ensure_folder(root, {**options, "images_per_camera": images_per_camera}, fill)


def draw_cameras(seed: int) -> dict[int, Camera]:
    """Draw the six cameras of the look-alike with this seed, by their numbers; 2 and 3 share a place."""
    return {
        camera: draw_camera(
            generator(seed, _CAMERA_STREAM, camera),
            draw_place(generator(seed, _PLACE_STREAM, place)),
            infrared=camera in INFRARED_CAMERAS,
        )
        for camera, place in zip(_CAMERAS, _PLACES, strict=True)
    }


def _entries(root: Path, identity: int) -> Iterator[Entry]:
    for camera in _CAMERAS:
        modality = INFRARED if camera in INFRARED_CAMERAS else VISIBLE
        files = layout.image_files(root / f"cam{camera}" / f"{identity:04d}")
        numbered = [file for file in files if layout.is_number(file.stem)]
        for file in sorted(numbered, key=lambda file: (int(file.stem), file.name)):
            yield Entry(file, identity, camera, int(file.stem), modality)


def _identities(root: Path, split: Split) -> list[int]:
    parts = ("train", "val") if split == "trainval" else (split,)
    return sorted({identity for part in parts for identity in layout.read_identities(root / "exp" / f"{part}_id.txt")})


def _cells(root: Path, identities: int, images: int, seed: int) -> Iterator[Cell]:
    """Tell which cameras see which identity, always one of visible and one of infrared, and how often."""
    cameras = draw_cameras(seed)
    for identity in range(1, identities + 1):
        numbers = generator(seed, _SPLIT_STREAM, identity)
        seen = numbers.uniform(size=len(_CAMERAS)) < _SEEN
        counts = images + numbers.integers(0, 3, len(_CAMERAS))
        seen[3] |= not (seen[0] or seen[1] or seen[4])
        seen[5] |= not seen[2]
        for camera in (camera for camera in _CAMERAS if seen[camera - 1]):
            folder = root / f"cam{camera}" / f"{identity:04d}"
            files = tuple(folder / f"{number:04d}.jpg" for number in range(1, counts[camera - 1] + 1))
            yield Cell(identity, camera, cameras[camera], files)


def _permutations(cell: Cell, seed: int) -> NDArray[np.int64]:
    numbers = generator(seed, _PERMUTATION_STREAM, cell.identity, cell.number)
    return np.stack([numbers.permutation(len(cell.files)) + 1 for _ in range(NUM_TRIALS)])  # (10, n)


class _Options(NamedTuple):
    gallery: GalleryChoice = "official"
    mode: Mode = "all"
    shots: int = 1


def _trials(images: ImageList | LabelledFeatures, options: _Options, permutations: Permutations | None) -> Trials:
    return sysu_trials(
        images.identities, images.cameras, images.numbers, **options._asdict(), permutations=permutations
    )


def _score(images: ImageList | LabelledFeatures, options: _Options, exp: Path | None) -> Trials:
    files = protocol_files(options.gallery, exp)
    return _trials(images, options, read_permutation_file(files[0]) if files else None)


SYSU: Final = DataSet(
    title="SYSU-MM01",
    options=_Options(),
    helps={
        "gallery": "which images answer",
        "mode": "which cameras answer",
        "shots": "gallery images of each identity and camera",
    },
    list=lambda root, options, validate: list_sysu(
        root, **options._asdict(), train="train" if validate else "trainval"
    ),
    trials=_score,
    look_alike=make_synthetic_sysu,
    smoke={"train": 8, "val": 2, "test": 6, "images_per_camera": 3},
    labels=SYSU_LABELS,
    exp="test_id.mat, and of rand_perm_cam.mat for the official galleries",
    read_features=lambda path, name, options, exp: read_sysu_features(path, name, options.mode, exp),
    protocol_files=lambda options, exp: protocol_files(options.gallery, exp),
    without_exp=_Options("agw"),
)

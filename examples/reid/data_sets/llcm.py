"""LLCM: its folder layout, its protocol, and a look-alike of drawn persons.

    ROOT/idx/train_vis.txt, ROOT/idx/train_nir.txt               lines "path label"
    ROOT/idx/test_id.txt                                         identities, one comma-separated line
    ROOT/test_vis/cam1 … cam9/IIII/….jpg, ROOT/test_nir/…        the test images of identity IIII

Copies that have ``idx/test_vis.txt`` and ``idx/test_nir.txt`` in place of the last two are read too, if their file
names tell the camera, as in ``0351_c06_s1_nir.jpg``.

Reference: Zhang, Wang, "Diverse embedding expansion network and low-light cross-modality benchmark for
visible-infrared person re-identification", CVPR 2023, with its code.
"""

import re
from collections.abc import Iterator, Mapping
from itertools import groupby
from pathlib import Path
from typing import Final, Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from modinv import INFRARED, VISIBLE
from reid.data_sets import layout
from reid.data_sets.data_set import DataSet
from reid.data_sets.layout import Entry, ImageList, Layout
from reid.data_sets.listing import Listing, list_parts
from reid.data_sets.remarks import Counts
from reid.drawing.appearance import draw_camera, draw_place
from reid.drawing.folder import Cell, check_options, draw_cells, ensure_folder, generator, write_lines
from reid.protocols import (
    NUM_TRIALS,
    Direction,
    Rule,
    Trials,
    of_modality,
    roles_of,
    single_shot_gallery,
    sort_into_cells,
)

__all__ = ["LLCM", "Roles", "list_llcm", "llcm_trials", "make_synthetic_llcm", "read_images"]

Part = Literal["train", "test"]
Roles = Literal["named", "published"]

_KINDS: Final = {"vis": VISIBLE, "nir": INFRARED}
_CAMERAS: Final[Mapping[int, tuple[int, ...]]] = {
    VISIBLE: (1, 2, 3, 4, 5, 6, 7, 8, 9),
    INFRARED: (1, 2, 4, 5, 6, 7, 8, 9),
}
_COUNTS: Final = {"LLCM train": Counts(713, 16_946, 13_975), "LLCM test": Counts(351, 8_680, 7_166)}
_TEST: Final = "idx/test_id.txt"  # before all other lists: it is what the published protocol reads
_LAYOUT: Final = Layout(
    "LLCM",
    "idx/train_vis.txt and idx/train_nir.txt with lines 'path label', 30,921 images of 713 identities, idx/test_id.txt "
    "and the folders test_vis/cam1 to cam9 and test_nir/cam1 to cam9, 15,846 images of 351 identities,",
    "its authors' page, github.com/ZYK100/LLCM",
)
# Every camera has its own place, in both modalities; only the same person there is removed.
_RULE: Final = Rule(locations=_CAMERAS[VISIBLE], same_identity=True)
_SEEN: Final = 3  # cameras of each kind that see a drawn identity; two are the least that leave a match everywhere
_PLACE_STREAM, _CAMERA_STREAM, _SEEN_STREAM = 20, 21, 22


def read_images(root: Path, part: Part) -> ImageList:
    """List the training images or the test images.

    Returns:
        The visible images, then the infrared ones, each in the order identity, camera, name of the file; the number
        is the place in this order, inside identity and camera. The camera of a training image is 0 unless its
        name tells it; the camera of a test image is always known.

    Raises:
        FileNotFoundError: when a folder or file of the layout is missing.
        ValueError: when the part is unknown or has no image, or a file of the layout cannot be read; or a folder
            looks like that of a camera or an identity and would not be read.
    """
    if part not in get_args(Part):
        raise ValueError(f"part must be one of {', '.join(get_args(Part))}, but is {part!r}: choose one of these.")
    lists = [f"idx/{part}_{kind}.txt" for kind in _KINDS]
    if part == "train" or (not (root / _TEST).is_file() and all((root / name).is_file() for name in lists)):
        layout.check_layout(root, _LAYOUT, lists)
        entries = [entry for kind in _KINDS for entry in _listed(root, f"idx/{part}_{kind}.txt", kind)]
    else:
        layout.check_layout(root, _LAYOUT, [_TEST, *(f"test_{kind}" for kind in _KINDS)])
        identities = layout.read_identities(root / _TEST)
        entries = [entry for kind in _KINDS for entry in _in_folders(root / f"test_{kind}", identities, kind)]
    if not entries:
        raise ValueError(
            f"No image of the test identities in {root}: expected files like test_vis/cam1/0001/name.jpg, with "
            "four-digit names of the folders of identities."
        )
    unknown = [entry.path for entry in entries if not entry.camera]
    if unknown and part == "test":
        raise ValueError(
            f"{unknown[0]} must tell its camera by a part of its name such as c06, but does not: rename it."
        )
    return layout.list_images(_number(entries))


def list_llcm(root: Path, direction: Direction, roles: Roles = "named", *, validation: int | None = 0) -> Listing:
    """List the images with their trials; see `list_regdb` for `validation`."""

    def trials(images: ImageList) -> Trials:
        _, identities, cameras, numbers, modalities = images
        if not cameras.all():
            raise ValueError(
                f"Validation on LLCM needs the cameras of the training images, but {images.paths[cameras.argmin()]} "
                "does not tell its own by a part of its name such as c06: validate on 0 identities."
            )
        return llcm_trials(identities, cameras, modalities, numbers, direction=direction, roles=roles)

    lists = {f"LLCM {part}": read_images(root, part) for part in get_args(Part)}
    return list_parts(lists, _COUNTS, trials, validation)


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
    single = [single_shot_gallery(cells[answering], _CAMERAS[answering], seed) for seed in range(NUM_TRIALS)]
    everyone = (everything[asking],) * NUM_TRIALS
    queries, galleries = (tuple(single), everyone) if exchanged else (everyone, tuple(single))
    return Trials(queries, galleries, identities, cameras, _RULE)


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
    """Make a small look-alike unless it is there already; see `make_synthetic_sysu`.

    Nine places have a visible and an infrared camera each; as in LLCM, place 3 has no infrared one. Three cameras of
    each kind see an identity.
    """
    check_options(size, seed, least=1, train=train, test=test, images_per_camera=images_per_camera)
    options = {"train": train, "test": test, "seed": seed, "size": size, "images_per_camera": images_per_camera}

    def fill(folder: Path) -> None:
        write_lines(folder / _TEST, [",".join(str(train + number) for number in range(1, test + 1))])
        cells = []
        for kind in _KINDS:
            some = list(_cells(folder, kind, train, test, images_per_camera, seed))
            files = [(file, cell.identity - 1) for cell in some if cell.identity <= train for file in cell.files]
            lines = [f"{file.relative_to(folder).as_posix()} {label}" for file, label in files]
            write_lines(folder / "idx" / f"train_{kind}.txt", lines)
            cells += some
        draw_cells(cells, seed=seed, size=size, progress=progress)

    return ensure_folder(root, {"layout": "LLCM", **options}, fill)


def _listed(root: Path, name: str, kind: str) -> Iterator[Entry]:
    for path, label in layout.read_labelled_paths(root, name):
        yield Entry(path, label, _camera(path.relative_to(root)), 0, _KINDS[kind])


def _in_folders(folder: Path, identities: list[int], kind: str) -> Iterator[Entry]:
    layout.refuse_unread(folder, "cam(era)?", "cam[0-9]{1,2}")
    for camera in folder.glob("cam*"):
        if camera.is_dir() and layout.is_number(camera.name[3:]):
            layout.refuse_unread(camera, ".*", "[0-9]{4}")
            for identity in identities:
                for path in layout.image_files(camera / f"{identity:04d}"):
                    yield Entry(path, identity, int(camera.name[3:]), 0, _KINDS[kind])


def _camera(path: Path) -> int:
    """Read the camera off a folder such as cam6, or a part of the file's name such as c06; 0 if there is none."""
    words = [*path.parent.parts, *path.stem.split("_")]
    cameras = [match[1] for word in words if (match := re.fullmatch(r"c(?:am)?([0-9]{1,3})", word))]
    return int(cameras[-1]) if cameras else 0


def _number(entries: list[Entry]) -> Iterator[Entry]:
    # The field draws its galleries from lists that are sorted as text.
    ordered = sorted(entries, key=lambda entry: (entry.modality, entry.identity, entry.camera, entry.path.name))
    for _, cell in groupby(ordered, key=lambda entry: (entry.modality, entry.identity, entry.camera)):
        for number, entry in enumerate(cell, start=1):
            yield entry._replace(number=number)


def _check_cameras(cameras: NDArray[np.int64], modalities: NDArray[np.int64]) -> None:
    if np.shape(cameras) != np.shape(modalities):
        raise ValueError(f"cameras and modalities must be of one length, got {len(cameras)} and {len(modalities)}.")
    for modality, known in _CAMERAS.items():
        if strange := sorted(set(cameras[modalities == modality].tolist()) - set(known)):
            name = "visible" if modality == VISIBLE else "infrared"
            raise ValueError(f"cameras of {name} images must be {', '.join(map(str, known))}, got {strange}.")


def _cells(root: Path, kind: str, train: int, test: int, images: int, seed: int) -> Iterator[Cell]:
    infrared = kind == "nir"
    cameras = {
        number: draw_camera(
            generator(seed, _CAMERA_STREAM, number, infrared),
            draw_place(generator(seed, _PLACE_STREAM, number)),
            infrared=infrared,
        )
        for number in _CAMERAS[_KINDS[kind]]
    }
    for identity in range(1, train + test + 1):
        # The same order for both kinds, so that most identities are seen by both cameras of a place.
        order = generator(seed, _SEEN_STREAM, identity).permutation(9) + 1
        for number in sorted([number for number in order.tolist() if number in cameras][:_SEEN]):
            folder = root / (kind if identity <= train else f"test_{kind}/cam{number}") / f"{identity:04d}"
            names = (f"{identity:04d}_c{number:02d}_s{count:06d}_{kind}.jpg" for count in range(images))
            # Infrared cameras count on, so that their images have random numbers of their own.
            yield Cell(identity, number + 9 * infrared, cameras[number], tuple(folder / name for name in names))


class _Options(NamedTuple):
    direction: Direction = "visible-to-infrared"
    roles: Roles = "named"


LLCM: Final = DataSet(
    title="LLCM",
    options=_Options(),
    helps={"direction": "who asks, and who answers", "roles": "docs/evaluation.md tells the difference"},
    list=lambda root, options, validate: list_llcm(root, *options, validation=None if validate else 0),
    trials=lambda images, options, _: llcm_trials(
        images.identities, images.cameras, images.modalities, images.numbers, **options._asdict()
    ),
    look_alike=make_synthetic_llcm,
    smoke={"train": 6, "test": 4, "images_per_camera": 2},
    labels=("identities", "cameras", "numbers", "modalities"),
)

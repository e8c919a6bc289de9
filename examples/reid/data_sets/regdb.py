"""RegDB: its folder layout, its protocol, and a look-alike of drawn persons.

    ROOT/Visible/III/….bmp, ROOT/Thermal/III/….bmp                 ten images of each identity in each
    ROOT/idx/{train,test}_{visible,thermal}_{1..10}.txt            lines "path label", ten splits

There are ten splits of the persons, and a model for each: published numbers are means over ten trials with ten models.
A model that is scored on a split that is not its own has been trained on the persons there.

Reference: Nguyen, Hong, Kim, Park, "Person recognition system based on a combination of body images from visible
light and thermal cameras", Sensors 17(3):605, 2017 (data set); M. Ye et al., "Deep learning for person
re-identification: a survey and outlook", TPAMI 2022, with its code (splits and protocol).
"""

from collections.abc import Iterator
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
from reid.protocols import Direction, Rule, Trials, of_modality, roles_of

__all__ = ["REGDB", "list_regdb", "make_synthetic_regdb", "read_images", "regdb_trials"]

Part = Literal["train", "test"]
Split = Literal[1, 2, 3, 4, 5, 6, 7, 8, 9, 10]

_KINDS: Final = {"visible": VISIBLE, "thermal": INFRARED}
_COUNTS: Final = {"RegDB train": Counts(206, 2_060, 2_060), "RegDB test": Counts(206, 2_060, 2_060)}
_LAYOUT: Final = Layout(
    "RegDB",
    "the folders Visible and Thermal, 4,120 images of 412 identities in each, and "
    "idx/{train,test}_{visible,thermal}_{1..10}.txt with lines 'path label', 2,060 images of 206 identities in each,",
    "dm.dongguk.edu/link.html; the split files come from its authors or from the authors of AGW",
)
# Two cameras side by side; nothing is removed, because a query and its gallery are never of one camera. The
# CMC counts images, as AGW does on this data set: with ten images of each person its R5, R10 and R20 are lower
# than those that count persons, and R1 is the same.
_RULE: Final = Rule(locations=(1, 2), level="image")
_PLACE_STREAM, _CAMERA_STREAM, _SPLIT_STREAM = 10, 11, 12


def read_images(root: Path, split: int, part: Part) -> ImageList:
    """List the images of one half of a split, "train" or "test", by the paths in the split files.

    Returns:
        The visible images in the order of their file, then the thermal ones. Identities are the labels of the split
        files, which mean other persons in another part or split. Camera 1 is the visible one, 2 the thermal one.

    Raises:
        FileNotFoundError: when a split file is missing.
        ValueError: when the split or part is unknown, or a split file cannot be read.
    """
    if split not in get_args(Split):
        raise ValueError(f"split must be 1 to {len(get_args(Split))}, but is {split!r}: RegDB has no other.")
    if part not in get_args(Part):
        raise ValueError(f"part must be one of {', '.join(get_args(Part))}, but is {part!r}: choose one of these.")
    names = {f"idx/{part}_{kind}_{split}.txt": modality for kind, modality in _KINDS.items()}
    layout.check_layout(root, _LAYOUT, list(names))
    return layout.list_images(entry for name, modality in names.items() for entry in _entries(root, name, modality))


def list_regdb(root: Path, split: int, direction: Direction, *, validation: int | None = 0) -> Listing:
    """List a split, from 1 to 10, with its trial.

    Some training identities are held out to validate on, since RegDB has no others: `validation` is their number, None
    one in five.
    """
    lists: dict[str, ImageList] = {f"RegDB {part}": read_images(root, split, part) for part in get_args(Part)}
    return list_parts(
        lists,
        _COUNTS,
        lambda images: regdb_trials(images.identities, images.modalities, direction=direction),
        validation,
    )


def regdb_trials(identities: NDArray[np.int64], modalities: NDArray[np.int64], *, direction: Direction) -> Trials:
    """Make the one trial of a split from its test images: everything of one modality asks everything of the other.

    Queries and gallery keep the order of the images. An unknown direction, or a modality without an image, is a
    ValueError.
    """
    asking, answering = roles_of(direction)
    query, gallery = (of_modality(identities, modalities, modality) for modality in (asking, answering))
    return Trials((query,), (gallery,), identities, modalities + 1, _RULE)


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
    """Make a small look-alike unless it is there already; see `make_synthetic_sysu`.

    Each split has `train` and `test` identities, each identity so many images in either modality. Infrared is thermal
    in RegDB and drawn as near-infrared here: enough to try a layout and a protocol with.
    """
    check_options(size, seed, least=1, train=train, test=test, images=images)
    options = {"train": train, "test": test, "seed": seed, "size": size, "images": images}

    def fill(folder: Path) -> None:
        for split in get_args(Split):
            order = generator(seed, _SPLIT_STREAM, split).permutation(train + test) + 1
            for part, identities in zip(get_args(Part), np.split(order, [train]), strict=True):
                for kind in _KINDS:
                    owners = enumerate(sorted(identities.tolist()))
                    lines = [f"{name} {label}" for label, owner in owners for name in _names(kind, owner, images)]
                    write_lines(folder / "idx" / f"{part}_{kind}_{split}.txt", lines)
        draw_cells(list(_cells(folder, train + test, images, seed)), seed=seed, size=size, progress=progress)

    return ensure_folder(root, {"layout": "RegDB", **options}, fill)


def _entries(root: Path, name: str, modality: int) -> Iterator[Entry]:
    numbers: dict[int, int] = {}
    for path, label in layout.read_labelled_paths(root, name):
        numbers[label] = numbers.get(label, 0) + 1
        yield Entry(path, label, 1 if modality == VISIBLE else 2, numbers[label], modality)


def _names(kind: str, identity: int, images: int) -> list[str]:
    folder = f"{kind.title()}/{identity}"
    return [f"{folder}/{kind[0]}_{identity:04d}_{number:05d}.bmp" for number in range(1, images + 1)]


def _cells(root: Path, identities: int, images: int, seed: int) -> Iterator[Cell]:
    place = draw_place(generator(seed, _PLACE_STREAM))
    for camera, kind in enumerate(_KINDS, start=1):
        drawn = draw_camera(generator(seed, _CAMERA_STREAM, camera), place, infrared=kind == "thermal")
        for identity in range(1, identities + 1):
            yield Cell(identity, camera, drawn, tuple(root / name for name in _names(kind, identity, images)))


class _Options(NamedTuple):
    split: Split = 1
    direction: Direction = "visible-to-infrared"


REGDB: Final = DataSet(
    title="RegDB",
    options=_Options(),
    helps={"split": "each asks for a model of its own", "direction": "who asks, and who answers"},
    list=lambda root, options, validate: list_regdb(root, *options, validation=None if validate else 0),
    trials=lambda images, options, _: regdb_trials(images.identities, images.modalities, direction=options.direction),
    look_alike=make_synthetic_regdb,
    smoke={"train": 6, "test": 4, "images": 3},
    labels=("identities", "modalities"),
    galleries="everything",
)

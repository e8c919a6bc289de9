"""Reads the folder layout of RegDB: which images a split names, of whom, in which modality.

    ROOT/Visible/III/….bmp, ROOT/Thermal/III/….bmp                 ten images of each identity in each
    ROOT/idx/{train,test}_{visible,thermal}_{1..10}.txt            lines "path label", ten splits

Reference: Nguyen, Hong, Kim, Park, "Person recognition system based on a combination of body images from visible
light and thermal cameras", Sensors 17(3):605, 2017; the ten splits are those of the field.
"""

from pathlib import Path
from typing import Final, Literal, get_args

from modinv import INFRARED, VISIBLE
from reid.data.layout import (
    Entry,
    ImageList,
    Layout,
    check_layout,
    list_images,
    read_labelled_paths,
)

__all__ = ["NUM_SPLITS", "Part", "read_images"]

NUM_SPLITS: Final = 10

Part = Literal["train", "test"]

_MODALITIES: Final = {"visible": VISIBLE, "thermal": INFRARED}
_LAYOUT: Final = Layout(
    "RegDB",
    "the folders Visible and Thermal, 4,120 images of 412 identities in each, and "
    "idx/{train,test}_{visible,thermal}_{1..10}.txt with lines 'path label', 2,060 images of 206 identities in each,",
    "dm.dongguk.edu/link.html; the split files come from its authors or from the authors of AGW",
)


def read_images(root: Path, split: int, part: Part) -> ImageList:
    """List the images of one half of a split.

    The paths are taken as the split files have them, so folders and other files do not matter.

    Args:
        root: folder of the data set.
        split: 1 to 10; each is another choice of training identities, and asks for a model of its own.
        part: "train" or "test".

    Returns:
        The visible images in the order of their file, then the thermal ones. Identities are the labels of the split
        files, which mean other persons in another part or split. Camera 1 is the visible one, 2 the thermal one.

    Raises:
        FileNotFoundError: when a split file is missing.
        ValueError: when the split or part is unknown, or a split file cannot be read.
    """
    if split not in range(1, NUM_SPLITS + 1):
        raise ValueError(f"split must be 1 to {NUM_SPLITS}, but is {split!r}: RegDB has no other.")
    if part not in get_args(Part):
        raise ValueError(f"part must be one of {', '.join(get_args(Part))}, but is {part!r}: choose one of these.")
    names = {f"idx/{part}_{kind}_{split}.txt": modality for kind, modality in _MODALITIES.items()}
    check_layout(root, _LAYOUT, list(names))
    return list_images(entry for name, modality in names.items() for entry in _entries(root, name, modality))


def _entries(root: Path, name: str, modality: int) -> list[Entry]:
    numbers: dict[int, int] = {}
    entries = []
    for path, label in read_labelled_paths(root, name):
        numbers[label] = numbers.get(label, 0) + 1
        entries.append(Entry(path, label, 1 if modality == VISIBLE else 2, numbers[label], modality))
    return entries

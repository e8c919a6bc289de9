"""Says which images of a data set are for training, validation and test, before any of them is read.

Whatever is wrong with a folder is so told at once, also that a test cannot be scored. Validation images are of
identities that are neither trained on nor tested, to choose a model with.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from reid.data import llcm, regdb, sysu
from reid.data.layout import ImageList, refuse_missing
from reid.data.remarks import remarks_of
from reid.protocols import (
    Direction,
    GalleryChoice,
    Mode,
    Permutations,
    Roles,
    Trials,
    llcm_trials,
    regdb_trials,
    sysu_trials,
)

__all__ = ["HeldOutList", "Listing", "TrainingPart", "list_llcm", "list_regdb", "list_sysu"]

TrainingPart = Literal["train", "trainval"]


class HeldOutList(NamedTuple):
    """Which images are scored, and the trials of the protocol as indices into them."""

    images: ImageList
    trials: Trials


class Listing(NamedTuple):
    """Which images there are, and the protocol, before any image is read."""

    train: ImageList
    test: HeldOutList
    validation: HeldOutList | None = None
    remarks: tuple[str, ...] = ()
    """What is not as in the real data set, one line each, for whoever reads the results."""


def list_sysu(
    root: Path, *, gallery: GalleryChoice, mode: Mode, shots: int = 1, train: TrainingPart = "trainval"
) -> Listing:
    """List a data set in the layout of SYSU-MM01.

    Args:
        root: folder of the data set.
        gallery: see `sysu_trials`; validation trials are always drawn as AGW's, with one shot.
        mode: see `sysu_trials`.
        shots: see `sysu_trials`.
        train: ``"trainval"`` (default) trains on all 395 identities, as the field does, and leaves none to validate
            on; ``"train"`` trains on 296 and validates on the 99 of the official val split.

    Returns:
        The images and the trials.

    Raises:
        OSError, ValueError: one sentence, when the folder is not laid out as it should be, images are missing, or
            the lists contradict each other.
    """
    if train not in get_args(TrainingPart):
        raise ValueError(f"train must be one of {', '.join(get_args(TrainingPart))}, but is {train!r}: choose one.")
    names: list[sysu.Split] = [train, "test"]
    if train == "train":
        names.append("val")
    parts = {name: sysu.read_images(root, name) for name in names}
    missing = [path for name, images in parts.items() for path in sysu.missing_images(root, images, name)]
    refuse_missing(missing, "exp/rand_perm_cam.mat counts")
    remarks = remarks_of({f"SYSU-MM01 {name}": images for name, images in parts.items()})
    permutations = sysu.read_permutations(root) if gallery == "official" else None
    return Listing(
        train=parts[train],
        test=_hold_sysu(parts["test"], gallery, mode, shots, permutations),
        validation=_hold_sysu(parts["val"], "agw", mode, 1, None) if "val" in parts else None,
        remarks=tuple(remarks),
    )


def list_regdb(root: Path, split: int, direction: Direction, *, validation: int = 0) -> Listing:
    """List a data set in the layout of RegDB; see `list_sysu`.

    Args:
        root: folder of the data set.
        split: 1 to 10; published numbers are means over ten models, one for each split.
        direction: which modality asks.
        validation: number of training identities to validate on instead; RegDB has none of its own. Default: 0.
    """

    def hold(images: ImageList) -> HeldOutList:
        return _hold(images, regdb_trials(images.identities, images.modalities, direction=direction))

    train, test = regdb.read_images(root, split, "train"), regdb.read_images(root, split, "test")
    return _listing("RegDB", train, test, hold, validation)


def list_llcm(root: Path, direction: Direction, roles: Roles = "named", *, validation: int = 0) -> Listing:
    """List a data set in the layout of LLCM; see `list_sysu`.

    Args:
        root: folder of the data set.
        direction: which modality asks.
        roles: see `llcm_trials`.
        validation: number of training identities to validate on instead; LLCM has none of its own. Default: 0.
    """

    def hold(images: ImageList) -> HeldOutList:
        _, identities, cameras, numbers, modalities = images
        if not cameras.all():
            raise ValueError(
                f"Validation on LLCM needs the cameras of the training images, but {images.paths[cameras.argmin()]} "
                "does not tell its own by a part of its name such as c06: validate on 0 identities."
            )
        trials = llcm_trials(identities, cameras, modalities, numbers, direction=direction, roles=roles)
        return _hold(images, trials)

    train, test = llcm.read_images(root, "train"), llcm.read_images(root, "test")
    return _listing("LLCM", train, test, hold, validation)


def _hold_sysu(
    images: ImageList, gallery: GalleryChoice, mode: Mode, shots: int, permutations: Permutations | None
) -> HeldOutList:
    _, identities, cameras, numbers, _ = images
    trials = sysu_trials(
        identities, cameras, numbers, gallery=gallery, mode=mode, shots=shots, permutations=permutations
    )
    return _hold(images, trials)


def _hold(images: ImageList, trials: Trials) -> HeldOutList:
    """Refuse a trial in which no query has a match before a model is trained for it."""
    labels = list(zip(trials.identities.tolist(), trials.origins.tolist(), strict=True))
    for number, (queries, gallery) in enumerate(zip(trials.queries, trials.galleries, strict=True), start=1):
        origins: dict[int, set[int]] = {}
        for identity, origin in (labels[row] for row in gallery):
            origins.setdefault(identity, set()).add(origin)
        if not any(origins.get(identity, set()) - {origin} for identity, origin in (labels[row] for row in queries)):
            raise ValueError(
                f"None of the {len(queries):,} queries of trial {number} has a match among the {len(gallery):,} images "
                "of its gallery: scores need images of the same identities in both."
            )
    return HeldOutList(images, trials)


def _listing(
    name: str, train: ImageList, test: ImageList, hold: Callable[[ImageList], HeldOutList], validation: int
) -> Listing:
    paths = train.paths + test.paths
    refuse_missing([path for path in paths if not path.is_file()], "the lists of the data set name")
    remarks = tuple(remarks_of({f"{name} train": train, f"{name} test": test}))
    if validation == 0:
        return Listing(train, hold(test), None, remarks)
    known = np.unique(train.identities)
    if not 0 < validation < len(known):
        raise ValueError(
            f"validation must be from 0 to {len(known) - 1}, but is {validation}: leave some of the {len(known)} "
            "training identities to train on."
        )
    # Spread evenly over the identities: which ones they are depends on nothing else.
    chosen = np.isin(train.identities, known[np.arange(validation) * len(known) // validation])
    return Listing(_pick(train, ~chosen), hold(test), hold(_pick(train, chosen)), remarks)


def _pick(images: ImageList, chosen: NDArray[np.bool_]) -> ImageList:
    rows = np.flatnonzero(chosen)
    return ImageList(tuple(images.paths[row] for row in rows), *(column[rows] for column in images[1:]))

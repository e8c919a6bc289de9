"""Compares the lists of a data set with each other and with the real ones: refuses errors, remarks on differences."""

import os
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from itertools import combinations
from typing import Any, Final, NamedTuple

from modinv import INFRARED, VISIBLE
from reid.data_sets.layout import ImageList, few

__all__ = ["Counts", "remarks_of"]

_KINDS: Final = {VISIBLE: "visible", INFRARED: "infrared"}


class Counts(NamedTuple):
    """How large a list is."""

    identities: int
    visible: int
    infrared: int


def remarks_of(lists: Mapping[str, ImageList], real: Mapping[str, Counts]) -> list[str]:
    """Say in what the lists differ from the real ones, and refuse those that contradict themselves or each other.

    Lists have labels of their own, so a person is known again by the folder: one that holds a single identity is
    named after it, in all three layouts and in both modalities.

    Args:
        lists: some or all of one data set, by its name and the part, such as ``"RegDB test"``.
        real: how large the real ones are.

    Returns:
        One line for each difference; it is no error, since look-alikes and subsets are smaller.

    Raises:
        ValueError: when a file is listed twice, two lists have a person in common, a person has two labels, or no
            identity of a list is seen in both modalities.
    """
    _refuse_shared_persons(lists)
    _refuse_repeated_files(lists)
    return [line for name, images in lists.items() for line in _differences(name, images, real[name])]


def _refuse_repeated_files(lists: Mapping[str, ImageList]) -> None:
    places: dict[str, list[tuple[str, int, int]]] = {}
    realpath = cache(os.path.realpath)  # thousands of images have their folder in common
    for name, images in lists.items():
        labels = zip(images.modalities.tolist(), images.identities.tolist(), strict=True)
        for path, (modality, identity) in zip(images.paths, labels, strict=True):
            file = os.path.realpath(path) if path.is_symlink() else f"{realpath(path.parent)}/{path.name}"
            places.setdefault(file, []).append((name, modality, identity))
    repeated = {file: found for file, found in places.items() if len(found) > 1}
    if repeated:
        file, found = next(iter(repeated.items()))
        shown = "; ".join(f"{name}, {_KINDS[modality]}, identity {identity}" for name, modality, identity in found[:2])
        raise ValueError(
            f"{len(repeated):,} image files are listed more than once, such as {file} ({shown}): name every file once, "
            "in one part, under one identity and in one modality."
        )


def _refuse_shared_persons(lists: Mapping[str, ImageList]) -> None:
    for one, other in combinations(lists, 2):
        if shared := sorted(_persons(lists[one]) & _persons(lists[other])):
            raise ValueError(
                f"{len(shared):,} persons are both in {one} and in {other}, by the folders of their images: "
                f"{few(shared)}; take them out of one of the lists, or scores say nothing about new persons."
            )


def _differences(name: str, images: ImageList, real: Counts) -> Iterator[str]:
    seen = [set(images.identities[images.modalities == modality].tolist()) for modality in _KINDS]
    if not seen[0] & seen[1]:
        raise ValueError(
            f"No identity of {name} is seen in both modalities ({len(seen[0]):,} in visible images, {len(seen[1]):,} "
            "in infrared ones), so nothing can be learnt or scored across them: give images of both the same labels."
        )
    infrared = int((images.modalities == INFRARED).sum())
    found = Counts(len(seen[0] | seen[1]), len(images.paths) - infrared, infrared)
    if found != real:
        texts = [
            f"{n.identities:,} identities with {n.visible:,} visible and {n.infrared:,} infrared images"
            for n in (real, found)
        ]
        yield f"{name} has {texts[0]}, found {texts[1]}: scores do not compare with published ones."
    if alone := sorted(seen[0] ^ seen[1]):
        yield f"{name}: {len(alone):,} identities are seen in one modality alone: {few(alone)}."
    owners = [(folder, identity) for (folder, _), identity in _folders(images).items()]
    if mixed := _several(owners):
        raise ValueError(
            f"{len(mixed):,} persons of {name} have two labels, by the folders of their images: {few(mixed)}; give a "
            "person the same label in both modalities."
        )
    if mixed := _several([(identity, folder) for folder, identity in owners]):
        yield f"{name}: {len(mixed):,} identities lie in folders of several names: {few(mixed)}; are the labels right?"


def _folders(images: ImageList) -> dict[tuple[str, int], int]:
    """Find the folders that hold one identity alone, by name and modality, and that identity."""
    owners: dict[tuple[str, int], set[int]] = {}
    for path, identity, modality in zip(
        images.paths, images.identities.tolist(), images.modalities.tolist(), strict=True
    ):
        owners.setdefault((path.parent.name, modality), set()).add(identity)
    return {folder: found.pop() for folder, found in owners.items() if len(found) == 1}


def _persons(images: ImageList) -> set[str]:
    return {folder for folder, _ in _folders(images)}


def _several(pairs: Iterable[tuple[int | str, int | str]]) -> list[str]:
    """Show each one that has several partners, with its partners."""
    partners: dict[Any, set[Any]] = {}
    for one, other in pairs:
        partners.setdefault(one, set()).add(other)
    return [
        f"{one} ({', '.join(map(str, sorted(found)))})" for one, found in sorted(partners.items()) if len(found) > 1
    ]

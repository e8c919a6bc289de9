"""The SYSU-MM01 protocol as data: who is a query, which images make a gallery, what is removed for whom."""

import random
from collections.abc import Iterable, Mapping
from itertools import product
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .evaluation import Metric, Scores, distances, evaluate

__all__ = [
    "NUM_TRIALS",
    "SYSU_RULES",
    "GalleryChoice",
    "Masks",
    "Mode",
    "Rule",
    "Trials",
    "evaluate_trials",
    "masks",
    "sysu_trials",
]

GalleryChoice = Literal["official", "agw"]
Mode = Literal["all", "indoor"]
Permutations = Mapping[tuple[int, int], NDArray[Any]]

NUM_TRIALS = 10


class Rule(NamedTuple):
    """Which cameras ask, which answer, and where each one hangs."""

    query_cameras: tuple[int, ...]
    gallery_cameras: tuple[int, ...]
    locations: tuple[int, ...]
    """Location of camera 1, 2, …; gallery images from the location of the query are removed."""


# Cameras 2 and 3 hang in one room, so only queries of camera 3 lose gallery images: all those of camera 2.
_SYSU_LOCATIONS = (1, 2, 2, 4, 5, 6)
SYSU_RULES: dict[Mode, Rule] = {
    "all": Rule(query_cameras=(3, 6), gallery_cameras=(1, 2, 4, 5), locations=_SYSU_LOCATIONS),
    "indoor": Rule(query_cameras=(3, 6), gallery_cameras=(1, 2), locations=_SYSU_LOCATIONS),
}


class Masks(NamedTuple):
    """What the rule says about every query and gallery image, each boolean ``(Q, G)``."""

    match: Tensor
    """The gallery image shows the identity of the query."""
    valid: Tensor
    """The rule keeps the gallery image for the query."""


class Trials(NamedTuple):
    """Ten galleries for one query set, as indices into the images that they were made from."""

    query: NDArray[np.int64]
    """``(Q,)``, in the order camera, identity, image number."""
    galleries: tuple[NDArray[np.int64], ...]
    """``(G,)`` each; the order decides ties."""
    identities: NDArray[np.int64]
    """``(N,)``, of all images."""
    cameras: NDArray[np.int64]
    """``(N,)``, of all images."""
    rule: Rule


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
        The trials; both modes have the same queries.

    Raises:
        ValueError: for an unknown option, or images and permutations that do not belong together.

    Reference:
        A. Wu et al., RGB-Infrared Cross-Modality Person Re-Identification, ICCV 2017, with the evaluation
        code of the data set (official); M. Ye et al., Deep Learning for Person Re-identification: A Survey
        and Outlook, TPAMI 2022, with its code (AGW).

    """
    _check(identities, cameras, numbers, gallery, mode, shots)
    rule = SYSU_RULES[mode]
    cells = _cells(identities, cameras, numbers)
    if gallery == "agw":
        galleries = [_agw_gallery(cells, rule.gallery_cameras, trial) for trial in range(NUM_TRIALS)]
    elif permutations is None:
        raise ValueError(
            "gallery='official' needs the permutations of the data set, got None; read them from its file "
            "exp/rand_perm_cam.mat, or use gallery='agw'."
        )
    else:
        chosen = _official_cells(cells, permutations, rule.gallery_cameras, shots)
        galleries = [[cell[n] for cell, rows in chosen for n in rows[t]] for t in range(NUM_TRIALS)]
    query = [index for key in sorted(cells) if key[0] in rule.query_cameras for index in cells[key].values()]
    return Trials(_indices(query), tuple(map(_indices, galleries)), identities, cameras, rule)


def masks(trials: Trials, trial: int) -> Masks:
    """Apply the rule to the queries and the gallery of one trial.

    Args:
        trials: as returned by `sysu_trials`.
        trial: position in ``trials.galleries``, from 0.

    Returns:
        The two masks, shape ``(Q, G)`` each.

    """
    query, gallery = trials.query, trials.galleries[trial]
    identities, locations = (
        trials.identities,
        np.array(trials.rule.locations)[trials.cameras - 1],
    )  # (N,) each
    return Masks(
        match=torch.from_numpy(identities[query][:, None] == identities[gallery]),
        valid=torch.from_numpy(locations[query][:, None] != locations[gallery]),
    )


def evaluate_trials(
    features: Tensor, trials: Trials, *, metric: Metric = "cosine", max_rank: int = 20
) -> tuple[Scores, ...]:
    """Score the features of one model on every trial.

    Args:
        features: of all images that the trials were made from, shape ``(N, D)``.
        trials: as returned by `sysu_trials`.
        metric: see `distances`, default ``"cosine"``.
        max_rank: length of the CMC curve, default 20.

    Returns:
        One record per trial; `average` makes the numbers that papers print.

    Raises:
        ValueError: when there is not one feature row per image.

    """
    if len(features) != len(trials.identities):
        raise ValueError(
            f"features has {len(features)} rows for {len(trials.identities)} images; pass one row per image, "
            "in the order of the arrays given to sysu_trials."
        )
    query = features[trials.query]
    scores = []
    for trial, gallery in enumerate(trials.galleries):
        match, valid = masks(trials, trial)
        identities = torch.from_numpy(trials.identities[gallery])
        distance = distances(query, features[gallery], metric)
        scores.append(evaluate(distance, match, valid, identities, max_rank=max_rank))
    return tuple(scores)


def _cells(
    identities: NDArray[np.int64], cameras: NDArray[np.int64], numbers: NDArray[np.int64]
) -> dict[tuple[int, int], dict[int, int]]:
    """Return ``(camera, identity)`` → image number → index, numbers ascending."""
    cells: dict[tuple[int, int], dict[int, int]] = {}
    for index in np.lexsort((numbers, identities, cameras)).tolist():
        cell = cells.setdefault((int(cameras[index]), int(identities[index])), {})
        if cell.setdefault(int(numbers[index]), index) != index:
            raise ValueError(
                f"image {numbers[index]} of camera {cameras[index]}, identity {identities[index]} "
                "comes twice; pass every image of the test split once."
            )
    return cells


def _official_cells(
    cells: Mapping[tuple[int, int], dict[int, int]],
    permutations: Permutations,
    cameras: Iterable[int],
    shots: int,
) -> list[tuple[dict[int, int], list[list[int]]]]:
    """Pair every cell of the gallery cameras with its chosen image numbers, one list per trial."""
    chosen = []
    for key in product(cameras, sorted({identity for _, identity in cells})):
        cell, rows = cells.get(key, {}), np.asarray(permutations.get(key, []))
        if rows.size or cell:
            _check_permutation(key, list(cell), rows, shots)
            chosen.append((cell, rows[:, :shots].astype(int).tolist()))
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


def _agw_gallery(cells: Mapping[tuple[int, int], dict[int, int]], cameras: tuple[int, ...], seed: int) -> list[int]:
    generator = random.Random(seed)  # one stream over the cells visited: indoor is no subset of all
    walk = sorted((identity, camera) for camera, identity in cells if camera in cameras)
    return [generator.choice(list(cells[camera, identity].values())) for identity, camera in walk]


def _indices(indices: list[int]) -> NDArray[np.int64]:
    return np.array(indices, dtype=np.int64)


def _check(
    identities: NDArray[np.int64],
    cameras: NDArray[np.int64],
    numbers: NDArray[np.int64],
    gallery: str,
    mode: str,
    shots: int,
) -> None:
    for name, value, known in (("gallery", gallery, GalleryChoice), ("mode", mode, Mode)):
        if value not in get_args(known):
            raise ValueError(f"{name} must be one of {', '.join(get_args(known))}, got {value!r}.")
    if isinstance(shots, bool) or not isinstance(shots, int) or shots < 1:
        raise ValueError(f"shots must be a positive integer, got {shots!r}.")
    if gallery == "agw" and shots != 1:
        raise ValueError(f"gallery='agw' is defined for shots=1 only, got {shots}; use gallery='official'.")
    shapes = {np.shape(array) for array in (identities, cameras, numbers)}
    if len(shapes) != 1 or identities.ndim != 1:
        raise ValueError(f"identities, cameras and numbers must be three vectors of one length, got {sorted(shapes)}.")
    if len(cameras) and not 1 <= cameras.min() <= cameras.max() <= len(_SYSU_LOCATIONS):
        raise ValueError(f"cameras must be 1 to 6, got {cameras.min()} to {cameras.max()}; count from 1.")

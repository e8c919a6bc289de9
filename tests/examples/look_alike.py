"""A small look-alike of SYSU-MM01, with the protocol's awkward cases, on which the official code was run.

No random generator, no transcendental function, no BLAS: every number comes out of a 64-bit integer hash, so
every machine makes the same features, and squared distances of the raw features are exact in float64.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["LookAlike", "look_alike"]

_SEED, _WIDTH, _DATASET, _VISIBLE, _INFRARED = 20250101, 64, 2, 1, 2
_CAMERAS = (1, 2, 3, 4, 5, 6)
# The streams of the hash, numbered as when the official code was run.
_IDENTITY, _IDENTITY_MODALITY, _IDENTITY_CAMERA, _MODALITY, _CAMERA, _IMAGE, _LEVEL, _GAIN = range(8)
_COUNT, _ORDER, _PRESENT = range(8, 11)
# 5: in the gallery through camera 2 only; 7: queries without gallery; 9: gallery without queries; 11, 13:
# outdoors only; 15: lost to indoor queries of camera 3 and kept for those of camera 6.
_AWKWARD = {5: (2, 3, 6), 7: (3, 6), 9: (1, 2, 4, 5), 11: (4, 5, 3, 6), 13: (4, 5, 3, 6), 15: (2, 4, 3, 6)}


class LookAlike(NamedTuple):
    """The test images in the order camera, identity, number, and the permutations of the galleries."""

    integers: NDArray[np.int64]  # (N, 64)
    identities: NDArray[np.int64]  # (N,)
    cameras: NDArray[np.int64]  # (N,)
    numbers: NDArray[np.int64]  # (N,)
    permutations: dict[tuple[int, int], NDArray[np.int64]]

    def features(self, normalize: bool) -> NDArray[np.float64]:
        values = self.integers.astype(np.float64) * 2.0**-16
        norms: NDArray[np.float64] = np.sqrt((values * values).sum(axis=1, keepdims=True))
        return values / norms if normalize else values


def look_alike(ties: bool = False) -> LookAlike:
    """Make the data set; with `ties` its features are so coarse that most rankings are full of ties."""
    counts = _counts()  # (6, 48)
    chosen = [i for i in range(1, 49) if i % 6 != 0]
    if ties:
        chosen = [i for i in chosen if (counts[0, i - 1] > 0) == (counts[1, i - 1] > 0)]
    rows = [(c, i, n) for c in _CAMERAS for i in chosen for n in range(1, counts[c - 1, i - 1] + 1)]
    cameras, identities, numbers = np.array(rows, dtype=np.int64).T
    integers = _features(cameras, identities, numbers)
    permutations = {(c, i): _permutations(c, i, int(counts[c - 1, i - 1])) for c in _CAMERAS for i in chosen}
    return LookAlike(_coarse(integers) if ties else integers, identities, cameras, numbers, permutations)


def _counts() -> NDArray[np.int64]:
    identities, counts = np.arange(1, 49), np.zeros((6, 48), dtype=np.int64)
    for camera in _CAMERAS:
        least, span = (4, 6) if camera in (3, 6) else (10, 6)
        row = least + (_hash(_DATASET, _COUNT, camera, identities) % np.uint64(span)).astype(np.int64)
        counts[camera - 1] = np.where(_hash(_DATASET, _PRESENT, camera, identities) % np.uint64(8) == 0, 0, row)
        for identity, seen in _AWKWARD.items():
            if camera not in seen:
                counts[camera - 1, identity - 1] = 0
            elif counts[camera - 1, identity - 1] == 0:
                counts[camera - 1, identity - 1] = least
    return counts


def _permutations(camera: int, identity: int, count: int) -> NDArray[np.int64]:
    keys = [_hash(_DATASET, _ORDER, camera, identity, trial, np.arange(count)) for trial in range(10)]
    return np.argsort(np.stack(keys), axis=1, kind="stable") + 1


def _features(cameras: ArrayLike, identities: ArrayLike, numbers: ArrayLike) -> NDArray[np.int64]:
    c, i, n = (np.asarray(column, dtype=np.int64)[:, None] for column in (cameras, identities, numbers))
    m, d = np.where((c == 3) | (c == 6), _INFRARED, _VISIBLE), np.arange(_WIDTH)
    noise = np.array([4, 5, 6, 8])[(_hash(_DATASET, _LEVEL, m, c, i, n) % np.uint64(4)).astype(np.int64)]
    gain = 7 + (_hash(_DATASET, _GAIN, m, c, i, n) % np.uint64(3)).astype(np.int64)  # norms differ
    values: NDArray[np.int64] = gain * (
        5 * _bell(_IDENTITY, i, d)
        + 3 * _bell(_IDENTITY_MODALITY, m, i, d)
        + 3 * _bell(_IDENTITY_CAMERA, m, c, i, d)
        + 3 * _bell(_MODALITY, m, d)
        + 2 * _bell(_CAMERA, m, c, d)
        + noise * _bell(_IMAGE, m, c, i, n, d)
    )
    return values


def _coarse(features: NDArray[np.int64]) -> NDArray[np.int64]:
    signs = np.sign(features) * 65536
    signs[:, 12:] = 0
    return signs


def _bell(*fields: ArrayLike) -> NDArray[np.int64]:
    """Sum four 12-bit fields of the hash: an integer around 0 with standard deviation 2365."""
    hashed = _hash(_DATASET, *fields)
    parts = [((hashed >> np.uint64(shift)) & np.uint64(0xFFF)).astype(np.int64) for shift in (0, 16, 32, 48)]
    return sum(parts, start=np.zeros(hashed.shape, dtype=np.int64)) - 2 * 4095


def _hash(*fields: ArrayLike) -> NDArray[np.uint64]:
    """Hash broadcast integer fields to 64 bits."""
    hashed = np.array([_SEED], dtype=np.uint64)  # at least 1-d, so that numpy wraps around silently
    for field in fields:
        values = np.atleast_1d(np.asarray(field, dtype=np.uint64))
        hashed = _mix((hashed ^ values) + np.uint64(0x9E3779B97F4A7C15))
    return hashed


def _mix(z: NDArray[np.uint64]) -> NDArray[np.uint64]:
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: NDArray[np.uint64] = z ^ (z >> np.uint64(31))
    return mixed

"""Draws the images of one person under one camera: a figure painted back to front, then photographed.

All images of the batch are painted together: a part of the body is a mask of shape (N, H, W) with soft
edges, found from its distance to a segment, and its cloth is laid over the canvas. Coordinates of the body
are `across` (0 on the axis, right positive) and `down` (0 at the top of the head, 1 at the soles), both in
body heights.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from reid.drawing.appearance import Camera, Cloth, Person, Values

__all__ = ["draw_images"]

_SHOULDER, _ELBOW, _HAND = 0.2, 0.34, 0.48  # depths of the joints of an arm, in body heights


class _Pose(NamedTuple):
    """One value per image, each (N, 1, 1)."""

    view: Values  # 0 faces the camera
    stride: Values  # -1 to 1, signed swing of the legs
    scale: Values  # body height / image height
    left: Values  # place of the body's axis
    top: Values  # place of the top of the head


class _Frame(NamedTuple):
    """Where the pixels are on the body, (N, H, W) each, and how large one is, (N, 1, 1)."""

    across: Values
    down: Values
    pixel: Values


class _Part(NamedTuple):
    mask: Values  # (N, H, W) coverage, 0 to 1
    cloth: Cloth


def draw_images(
    person: Person, camera: Camera, count: int, size: tuple[int, int], generator: np.random.Generator
) -> NDArray[np.uint8]:
    """Draw images (N, H, W, 3) of a person as a camera sees them, each in another pose and light.

    The generator gives the random numbers of pose, light and noise. The channels of an infrared image are equal.
    """
    pose = _random_pose(person, camera, count, generator)
    frame = _locate(pose, size)
    canvas = _background(camera, count, size, generator)  # (N, C, H, W)
    for part in _body(person, pose, frame):
        tones = part.cloth.reflectances if camera.infrared else part.cloth.colors
        first, second = tones[:, :, None, None]  # (C, 1, 1)
        canvas += part.mask[:, None] * (first - canvas)
        if part.cloth.pattern != "plain":
            canvas += (part.mask * _pattern(part.cloth, pose, frame))[:, None] * (second - first)
    return _photograph(canvas, camera, generator)


def _random_pose(person: Person, camera: Camera, count: int, generator: np.random.Generator) -> _Pose:
    def column(values: NDArray[np.float64]) -> Values:
        return values.astype(np.float32).reshape(count, 1, 1)

    scale = person.height * camera.distance * generator.uniform(0.94, 1.06, count)
    return _Pose(
        view=column(camera.view + generator.normal(0, 0.9, count)),
        stride=column(np.sin(generator.uniform(0, 2 * np.pi, count))),
        scale=column(scale),
        left=column(generator.normal(0, 0.02, count)),
        top=column((1 - scale) * 0.5 + generator.normal(0, 0.02, count)),
    )


def _locate(pose: _Pose, size: tuple[int, int]) -> _Frame:
    height, width = size
    y = ((np.arange(height, dtype=np.float32) + 0.5) / height)[None, :, None]
    x = ((np.arange(width, dtype=np.float32) + 0.5 - width / 2) / height)[None, None, :]
    shape = (len(pose.scale), height, width)
    across = np.broadcast_to((x - pose.left) / pose.scale, shape)
    down = np.broadcast_to((y - pose.top) / pose.scale, shape)
    return _Frame(across, down, 1 / (height * pose.scale))


def _body(person: Person, pose: _Pose, frame: _Frame) -> Iterator[_Part]:
    front, side = np.cos(pose.view), np.sin(pose.view)
    # A body is about 0.6 times as deep as it is wide.
    girth = np.sqrt(front**2 + (0.6 * side) ** 2)
    if person.bag == "backpack":
        yield from _backpack(person, pose, frame, behind=True)
    for leg in (-1.0, 1.0):
        yield from _leg(person, leg * girth * person.hips * 0.5, leg * pose.stride * side, frame)
    far, near = (-1.0, 1.0)
    yield from _arm(person, far * girth * person.shoulders, far * pose.stride * side, frame)
    if person.skirt:
        yield _Part(
            _trapezoid(frame, person.crotch - 0.1, 0.72, girth * person.hips, girth * person.skirt), person.lower
        )
    yield _Part(
        _trapezoid(frame, 0.155, person.crotch + 0.02, girth * person.shoulders, girth * person.hips), person.upper
    )
    yield from _arm(person, near * girth * person.shoulders, near * pose.stride * side, frame)
    if person.bag == "backpack":
        yield from _backpack(person, pose, frame, behind=False)
    if person.bag == "satchel":
        yield from _satchel(person, front, girth, frame)
    yield from _head(person, front, side, frame)


def _leg(person: Person, hip: Values, swing: Values, frame: _Frame) -> Iterator[_Part]:
    knee, ankle = (person.crotch + 0.96) / 2, 0.95
    middle, end = hip + 0.07 * swing, hip + 0.14 * swing
    yield _Part(_limb(frame, hip, person.crotch, end, ankle, person.limb * 0.62), person.skin)
    length = (ankle - person.crotch) * person.trouser
    bend = min(person.crotch + length, knee)
    yield _Part(_limb(frame, hip, person.crotch, middle, bend, person.limb), person.lower)
    if person.trouser > 0.5:
        yield _Part(_limb(frame, middle, knee, end, person.crotch + length, person.limb * 0.85), person.lower)
    yield _Part(_limb(frame, end - 0.015, 0.97, end + 0.02 + 0.02 * swing, 0.975, person.limb * 0.7), person.shoes)


def _arm(person: Person, shoulder: Values, swing: Values, frame: _Frame) -> Iterator[_Part]:
    middle, end = shoulder * 1.12 + 0.04 * swing, shoulder * 1.1 + 0.11 * swing
    radius = person.limb * 0.72
    yield _Part(_limb(frame, shoulder, _SHOULDER, middle, _ELBOW, radius * 0.8), person.skin)
    yield _Part(_limb(frame, middle, _ELBOW, end, _HAND + 0.03, radius * 0.75), person.skin)
    cuff = _SHOULDER + (_ELBOW - _SHOULDER) * min(1.0, person.sleeve * 2)
    yield _Part(_limb(frame, shoulder, _SHOULDER, middle, cuff, radius), person.upper)
    if person.sleeve > 0.5:
        yield _Part(_limb(frame, middle, _ELBOW, end, _HAND - 0.02, radius * 0.92), person.upper)


def _head(person: Person, front: Values, side: Values, frame: _Frame) -> Iterator[_Part]:
    radius = person.head
    zero = np.zeros_like(front)
    yield _Part(_limb(frame, zero, 0.12, zero, 0.16, radius * 0.55), person.skin)
    yield _Part(_limb(frame, zero, radius, -0.02 * side, max(person.hair, radius), radius), person.scalp)
    # The face looks where the person does, and is not seen from behind.
    seen = np.clip(front * 2 + 0.8, 0, 1)
    face = _limb(frame, 0.02 * side, radius + 0.02, 0.02 * side, radius + 0.035, radius * 0.82)
    yield _Part(face * seen, person.skin)


def _backpack(person: Person, pose: _Pose, frame: _Frame, *, behind: bool) -> Iterator[_Part]:
    away = np.cos(pose.view) > 0
    place = -np.sin(pose.view) * 0.13
    mask = _limb(frame, place, 0.25, place, 0.36, person.shoulders * 0.7)
    yield _Part(mask * (away if behind else ~away), person.luggage)


def _satchel(person: Person, front: Values, girth: Values, frame: _Frame) -> Iterator[_Part]:
    place = np.sign(front) * girth * person.hips * 1.3
    yield _Part(_limb(frame, -place * 0.7, 0.18, place, 0.45, 0.01), person.luggage)
    yield _Part(_limb(frame, place - 0.02, 0.5, place + 0.02, 0.5, 0.055), person.luggage)


def _limb(frame: _Frame, x0: Values, y0: Values | float, x1: Values, y1: Values | float, radius: float) -> Values:
    """Cover what is within a radius of the segment from (x0, y0) to (x1, y1)."""
    dx, dy = x1 - x0, y1 - y0
    along = ((frame.across - x0) * dx + (frame.down - y0) * dy) / (dx * dx + dy * dy + 1e-9)
    along = np.clip(along, 0, 1)
    distance = np.sqrt((frame.across - x0 - along * dx) ** 2 + (frame.down - y0 - along * dy) ** 2)
    return _cover(distance - radius, frame)


def _trapezoid(frame: _Frame, top: float, bottom: float, upper: Values, lower: Values) -> Values:
    depth = np.clip((frame.down - top) / (bottom - top), 0, 1)
    beside = np.abs(frame.across) - (upper + depth * (lower - upper))
    return _cover(np.maximum(beside, np.maximum(top - frame.down, frame.down - bottom)), frame)


def _cover(outside: Values, frame: _Frame) -> Values:
    """Turn a signed distance into coverage: the edge is one pixel wide."""
    coverage: Values = np.clip(0.5 - outside / frame.pixel, 0, 1).astype(np.float32)
    return coverage


def _pattern(cloth: Cloth, pose: _Pose, frame: _Frame) -> Values:
    """Give the share of the second tone at each pixel, ``(N, H, W)``."""
    turn = cloth.frequency * 2 * np.pi
    if cloth.pattern == "block":
        wave = (frame.down - 0.34) * 20
    elif cloth.pattern == "emblem":
        wave = 1.2 - ((frame.across / 0.06) ** 2 + ((frame.down - 0.29) / 0.06) ** 2)
    else:
        rings = np.sin(turn * frame.down + cloth.phase)
        stripes = np.sin(turn * (frame.across + 0.1 * np.sin(pose.view)) + cloth.phase)
        woven = rings * stripes
        wave = {"rings": rings, "stripes": stripes, "checks": woven * 1.5, "dots": woven * 3 - 0.9}[cloth.pattern]
    share: Values = np.clip(0.5 + 1.5 * wave, 0, 1).astype(np.float32)
    return share


def _background(camera: Camera, count: int, size: tuple[int, int], generator: np.random.Generator) -> Values:
    """Look at a random piece of the camera's place in each image."""
    height, width = size
    place = camera.place
    bands = place.bands.reflectances if camera.infrared else place.bands.colors  # (2, C)
    floor = place.floor.reflectances if camera.infrared else place.floor.colors
    start = generator.uniform(0, 0.6, (count, 1))
    seen = start + np.linspace(0, 0.4, width)[None, :]  # (N, W)
    tone = place.tones[np.searchsorted(place.edges, seen) % len(place.tones)][:, None, None, :]  # (N, 1, 1, W)
    horizon = place.horizon + generator.normal(0, 0.02, (count, 1, 1, 1))
    below = (np.arange(height) / height)[None, None, :, None] > horizon  # (N, 1, H, 1)
    first, second = bands[:, :, None, None]  # (C, 1, 1)
    wall = first + (second - first) * tone  # (N, C, 1, W)
    canvas: Values = np.where(below, floor[0][:, None, None], wall).astype(np.float32)
    return canvas


def _photograph(canvas: Values, camera: Camera, generator: np.random.Generator) -> NDArray[np.uint8]:
    """Apply light, optics and sensor to the reflectances, and give the three channels of a picture."""
    count, channels, height, width = canvas.shape
    light = camera.gain[:, None, None] * generator.uniform(0.75, 1.2, (count, 1, 1, 1))  # (N, C, 1, 1)
    y = np.linspace(-1, 1, height)[:, None]
    x = np.linspace(-1, 1, width)
    lamp = 1 - camera.spot * np.clip((x**2 + y**2) * 0.6, 0, 1)  # (H, W)
    seen = camera.haze + (1 - camera.haze) * canvas * (light * lamp).astype(np.float32)
    seen = np.clip(_blur(seen, camera.blur), 0, 1) ** np.float32(camera.gamma)
    seen = seen + np.float32(camera.noise) * generator.standard_normal(seen.shape, dtype=np.float32)
    levels = (np.clip(seen, 0, 1) * 255).round().astype(np.uint8)
    return np.repeat(levels.transpose(0, 2, 3, 1), 3 // channels, axis=-1)


def _blur(images: Values, weight: float) -> Values:
    """Mix each pixel with its four neighbors, the border with itself."""
    for axis in (2, 3):
        margin = [(1, 1) if axis == direction else (0, 0) for direction in range(4)]
        padded = np.pad(images, margin, mode="edge")
        length = images.shape[axis]
        before, after = (padded.take(np.arange(first, first + length), axis) for first in (0, 2))
        images = images * np.float32(1 - weight) + (before + after) * np.float32(weight / 2)
    return images

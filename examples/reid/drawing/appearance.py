"""Decides what the persons, cameras and places of the synthetic data set look like, before any drawing.

Every cloth has colors in visible light and, drawn independently of them, reflectances in near-infrared light:
as with real dyes, near-infrared is not a function of the colors. What both kinds of light share is the cut of
the clothes, the geometry of their patterns, the shape of the body and what the person carries.
"""

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["PATTERNS", "Camera", "Cloth", "Person", "Place", "draw_camera", "draw_person", "draw_place"]

Values = NDArray[np.floating]

PATTERNS: Final = ("plain", "rings", "stripes", "checks", "dots", "block", "emblem")


class Cloth(NamedTuple):
    """A material in two tones and the pattern that lays them out."""

    colors: Values  # (2, 3) in visible light, 0 to 1
    reflectances: Values  # (2, 1) in near-infrared light, 0 to 1
    pattern: str = "plain"
    frequency: float = 0.0  # periods per body height
    phase: float = 0.0  # radians


class Person(NamedTuple):
    """An identity: lengths are fractions of the body height, and `height` is a fraction of the image's."""

    height: float
    shoulders: float  # half width
    hips: float  # half width
    crotch: float  # depth below the top of the head
    limb: float  # radius of a thigh
    head: float  # radius
    sleeve: float  # how much of the arm is covered, 0 to 1
    trouser: float  # how much of the leg is covered, 0 to 1
    skirt: float  # half width of the hem; 0 for trousers
    hair: float  # how far it falls below the top of the head
    bag: str  # "none", "backpack" or "satchel"
    skin: Cloth
    scalp: Cloth
    upper: Cloth
    lower: Cloth
    shoes: Cloth
    luggage: Cloth


class Place(NamedTuple):
    """A background: vertical bands and a floor."""

    edges: Values  # (B,) left edges of the bands, 0 to 1, ascending
    bands: Cloth
    tones: Values  # (B,) mixture of the two tones of the bands
    floor: Cloth
    horizon: float  # depth at which the floor begins, 0 to 1


class Camera(NamedTuple):
    """How a camera sees: its place, its light and its optics."""

    infrared: bool
    place: Place
    gain: Values  # (3,) for visible, (1,) for infrared
    gamma: float
    haze: float  # share of stray light
    blur: float  # weight of the two neighbors of a pixel, 0 to 2/3
    noise: float  # standard deviation
    spot: float  # darkening towards the border, strong under an infrared lamp
    view: float  # usual direction in which persons face, radians
    distance: float  # size of the persons


def draw_person(generator: np.random.Generator) -> Person:
    """Draw an identity."""
    uniform = generator.uniform
    shoulders = uniform(0.095, 0.15)
    return Person(
        height=uniform(0.74, 0.93),
        shoulders=shoulders,
        hips=shoulders * uniform(0.62, 1.05),
        crotch=uniform(0.47, 0.56),
        limb=uniform(0.028, 0.05),
        head=uniform(0.055, 0.068),
        sleeve=float(generator.choice([0.25, 0.45, 1.0, 1.0])),
        trouser=float(generator.choice([0.3, 0.55, 1.0, 1.0, 1.0])),
        skirt=uniform(0.1, 0.17) if uniform() < 0.2 else 0.0,
        hair=uniform(0.03, 0.07) if uniform() < 0.65 else uniform(0.15, 0.24),
        bag=str(generator.choice(["none", "none", "backpack", "satchel"])),
        skin=_skin(generator),
        scalp=_scalp(generator),
        upper=_cloth(generator, PATTERNS, plain=0.25),
        lower=_cloth(generator, PATTERNS[:4], plain=0.6),
        shoes=_cloth(generator, PATTERNS[:1], plain=1.0),
        luggage=_cloth(generator, PATTERNS[:2], plain=0.6),
    )


def draw_place(generator: np.random.Generator) -> Place:
    """Draw a background, the same for every camera that looks at it."""
    count = int(generator.integers(5, 10))
    return Place(
        edges=np.sort(generator.uniform(0, 1, count)).astype(np.float32),
        bands=_cloth(generator, PATTERNS[:1], plain=1.0, saturation=0.25),
        tones=generator.uniform(0, 1, count).astype(np.float32),
        floor=_cloth(generator, PATTERNS[:1], plain=1.0, saturation=0.15),
        horizon=generator.uniform(0.6, 0.85),
    )


def draw_camera(generator: np.random.Generator, place: Place, *, infrared: bool) -> Camera:
    """Draw a camera that looks at a place."""
    uniform = generator.uniform
    gain = uniform(0.7, 1.15) * uniform(0.82, 1.18, size=1 if infrared else 3)
    return Camera(
        infrared=infrared,
        place=place,
        gain=gain.astype(np.float32),
        gamma=uniform(0.8, 1.3),
        haze=uniform(0.0, 0.15),
        blur=uniform(0.1, 0.45),
        noise=uniform(0.01, 0.03) + (0.02 if infrared else 0.0),
        spot=uniform(0.3, 0.6) if infrared else uniform(0.0, 0.2),
        view=uniform(-np.pi, np.pi),
        distance=uniform(0.92, 1.04),
    )


def _cloth(
    generator: np.random.Generator, patterns: tuple[str, ...], *, plain: float, saturation: float = 0.9
) -> Cloth:
    pattern = "plain" if generator.uniform() < plain else str(generator.choice(patterns))
    first, second = _color(generator, saturation), _color(generator, saturation)
    if np.abs(first - second).sum() < 0.6:  # a pattern that cannot be seen is no pattern
        second = np.where(first.mean() > 0.5, first * 0.3, 1 - (1 - first) * 0.3)
    base = generator.uniform(0.12, 0.88)
    # A quarter of the dyes are alike in near-infrared light: there the pattern fades, as real prints do.
    contrast = generator.uniform(0.0, 0.1) if generator.uniform() < 0.25 else generator.uniform(0.25, 0.5)
    other = base - contrast if base > 0.5 else base + contrast
    return Cloth(
        colors=np.stack([first, second]).astype(np.float32),
        reflectances=np.array([[base], [other]], dtype=np.float32),
        pattern=pattern,
        frequency=generator.uniform(7.0, 16.0),
        phase=generator.uniform(0, 2 * np.pi),
    )


def _color(generator: np.random.Generator, saturation: float) -> NDArray[np.float64]:
    brightness = generator.uniform(0.1, 0.95)
    hue = generator.uniform(0, 1, 3)
    hue = (hue - hue.min()) / (hue.max() - hue.min())
    weight = generator.uniform(0, saturation)
    mixed: NDArray[np.float64] = brightness * (1 - weight + weight * hue)
    return mixed


def _skin(generator: np.random.Generator) -> Cloth:
    darkness = generator.uniform(0.45, 1.0)
    tone = darkness * np.array([0.93, 0.74, 0.62])
    return _material(tone, generator.uniform(0.62, 0.78))  # skin is bright in near-infrared whatever its color


def _scalp(generator: np.random.Generator) -> Cloth:
    tone = generator.uniform(0.05, 0.5) * np.array([1.0, generator.uniform(0.7, 0.95), 0.6])
    return _material(tone, generator.uniform(0.1, 0.55))


def _material(color: NDArray[np.float64], reflectance: float) -> Cloth:
    return Cloth(
        colors=np.stack([color, color]).astype(np.float32), reflectances=np.full((2, 1), reflectance, dtype=np.float32)
    )

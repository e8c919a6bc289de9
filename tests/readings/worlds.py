"""Three worlds of drawn persons that differ in kind, as arrays in memory."""

import os
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from modinv import INFRARED, VISIBLE
from reid.drawing.appearance import Camera, Cloth, Person, draw_camera, draw_person, draw_place
from reid.drawing.folder import generator
from reid.drawing.persons import draw_images

__all__ = ["PLACES", "SIZE", "World", "WorldName", "load_world", "pretraining_images"]

WorldName = Literal["sysu", "many", "hard"]

SIZE: Final = (32, 16)
PLACES: Final = (1, 2, 2, 4, 5, 6)  # where camera 1, 2, … hangs
_INFRARED: Final = (3, 6)
_TRAINING: Final = {"sysu": 100, "many": 800, "hard": 200}
_TEST: Final = 400
_SEEN: Final = np.array([0.6, 0.6, 0.95, 0.95, 0.95, 0.97])
_CLOTHES: Final = ("upper", "lower", "luggage")
_COARSE: Final = 0.6  # finer patterns do not fit the size
_LUMA: Final = np.array([[0.299], [0.587], [0.114]], dtype=np.float32)


class World(NamedTuple):
    """Images (N, 3, H, W) to train on with labels and modalities, and images to test on."""

    images: Tensor
    labels: Tensor
    modalities: Tensor
    test_images: Tensor
    test_identities: NDArray[np.int64]
    test_cameras: NDArray[np.int64]
    test_modalities: Tensor


def load_world(name: WorldName, data: int, folder: Path) -> World:
    """Draw a world from its seed, or read it from the folder in which it was drawn before."""
    file = folder / f"{name}-{data}.npz"
    if not file.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        parts: Any = _draw_world(name, data)
        aside = folder / f"{name}-{data}-{os.getpid()}.npz"  # another process may draw it too, or read it
        np.savez(aside, **parts)
        aside.replace(file)
    with np.load(file) as drawn:
        images, identities, cameras, test = (drawn[part] for part in ("images", "identity", "camera", "test"))
    modalities = np.where(np.isin(cameras, _INFRARED), INFRARED, VISIBLE)
    train = [torch.from_numpy(part[~test]) for part in (images, modalities)]
    labels = torch.from_numpy(np.unique(identities[~test], return_inverse=True)[1])
    held_out = [torch.from_numpy(part[test]) for part in (images, modalities)]
    return World(train[0], labels, train[1], held_out[0], identities[test], cameras[test], held_out[1])


def pretraining_images(persons: int = 1200, images: int = 6, cameras: int = 24) -> tuple[Tensor, Tensor]:
    """Draw visible images of other persons under other cameras, and their labels: in place of ImageNet."""
    seen_by = [
        draw_camera(generator(7, 1, number), draw_place(generator(7, 0, number)), infrared=False)
        for number in range(cameras)
    ]
    drawn = []
    for identity in range(persons):
        person, numbers = _coarse(draw_person(generator(777, 2, identity))), generator(777, 9, identity)
        chosen = numbers.choice(cameras, images, replace=False)
        drawn += [draw_images(person, seen_by[number], 1, SIZE, numbers) for number in chosen]
    pixels = torch.from_numpy(np.concatenate(drawn).transpose(0, 3, 1, 2))
    return pixels, torch.arange(persons).repeat_interleave(images)


def _draw_world(name: WorldName, data: int) -> dict[str, NDArray[Any]]:
    cameras = {number: _camera(name, data, number) for number in range(1, 7)}
    parts: dict[str, list[Any]] = {"images": [], "identity": [], "camera": [], "test": []}
    for identity in range(_TRAINING[name] + _TEST):
        test = identity >= _TRAINING[name]
        seen = _person(name, data, identity + 1)
        counts = _counts(name, test, generator(data, 4, identity + 1))
        for number, count in enumerate(counts.tolist(), start=1):
            if count:
                numbers = generator(data, 3, identity + 1, number)
                person = seen[int(number in _INFRARED)]
                parts["images"].append(draw_images(person, cameras[number], count, SIZE, numbers))
                for part, value in (("identity", identity), ("camera", number), ("test", test)):
                    parts[part] += [value] * count
    pixels = np.concatenate(parts.pop("images")).transpose(0, 3, 1, 2)
    return {"images": pixels} | {part: np.asarray(values) for part, values in parts.items()}


def _counts(name: WorldName, test: bool, numbers: np.random.Generator) -> NDArray[np.int64]:
    """Tell how many images each camera takes of an identity, always one of visible and one of infrared."""
    seen = numbers.uniform(size=6) < _SEEN
    seen[3] |= not (seen[0] or seen[1] or seen[4])
    seen[5] |= not seen[2]
    if test or name == "hard":
        return seen * (3 if test else 4)
    if name == "sysu":
        return seen * (10 + numbers.integers(0, 3, 6))
    counts = np.zeros(6, dtype=np.int64)
    for places, least, most in (([0, 1, 3, 4], 2, 4), ([2, 5], 1, 2)):
        known = [place for place in places if seen[place]]
        for place in numbers.choice(known, numbers.integers(least, most + 1)):
            counts[place] += 1
    return counts


def _person(name: WorldName, data: int, identity: int) -> tuple[Person, Person]:
    """Draw an identity as visible and as infrared cameras see it."""
    person = _coarse(draw_person(generator(data, 2, identity)))
    sides = [person, person]
    if name == "hard":  # six patterns in ten are seen in one kind of light alone
        lots = generator(data, 12, identity)
        for cloth in _CLOTHES:
            if (lot := lots.uniform()) < 0.6:
                side = int(lot < 0.3)
                plain = getattr(sides[side], cloth)._replace(pattern="plain")
                sides[side] = sides[side]._replace(**{cloth: plain})
    if name == "many":  # a bright cloth is bright in infrared light too, by half
        related: dict[str, Any] = {cloth: _related(getattr(person, cloth)) for cloth in (*_CLOTHES, "shoes")}
        sides[1] = person._replace(**related)
    return sides[0], sides[1]


def _related(cloth: Cloth) -> Cloth:
    return cloth._replace(reflectances=(0.5 * cloth.colors @ _LUMA + 0.5 * cloth.reflectances).astype(np.float32))


def _coarse(person: Person) -> Person:
    clothes: dict[str, Any] = {name: getattr(person, name) for name in _CLOTHES}
    for name, cloth in clothes.items():
        clothes[name] = cloth._replace(frequency=cloth.frequency * _COARSE)
    return person._replace(**clothes)


def _camera(name: WorldName, data: int, number: int) -> Camera:
    infrared = number in _INFRARED
    place = draw_place(generator(data, 0, PLACES[number - 1]))
    camera = draw_camera(generator(data, 1, number), place, infrared=infrared)
    if name != "hard" or not infrared:
        return camera
    return camera._replace(
        noise=camera.noise + 0.03,
        blur=min(0.6, camera.blur + 0.15),
        gamma=camera.gamma * 1.4,
        haze=camera.haze + 0.15,
    )

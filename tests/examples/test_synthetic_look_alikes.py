"""Tests of reid.synthetic.regdb and reid.synthetic.llcm: what is written is what the readers of the real sets read."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from reid.data_sets import llcm, regdb
from reid.drawing import folder as synthetic_folder
from reid.synthetic.llcm import make_synthetic_llcm
from reid.synthetic.regdb import make_synthetic_regdb

SIZE = (24, 12)


@pytest.fixture(scope="module")
def regdb_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("look-alikes") / "regdb"
    return make_synthetic_regdb(root, train=4, test=3, size=SIZE, images=3, progress=False)


@pytest.fixture(scope="module")
def llcm_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("look-alikes") / "llcm"
    return make_synthetic_llcm(root, train=4, test=8, size=SIZE, images_per_camera=2, progress=False)


def pixels(root: Path) -> dict[str, NDArray[np.uint8]]:
    files = [file for file in sorted(root.rglob("*")) if file.suffix in (".bmp", ".jpg")]
    return {file.relative_to(root).as_posix(): np.asarray(Image.open(file)) for file in files}


def test_regdb_look_alike_lies_where_regdb_does(regdb_root: Path) -> None:
    names = list(pixels(regdb_root))
    assert len(names) == 2 * 7 * 3
    assert all(re.fullmatch(r"(Visible|Thermal)/\d+/\w+\.bmp", name) for name in names)


@pytest.mark.parametrize("split", range(1, 11))
def test_regdb_splits_part_the_identities(regdb_root: Path, split: int) -> None:
    train, test = (regdb.read_images(regdb_root, split, part) for part in ("train", "test"))
    assert len(train.paths) == 2 * 4 * 3
    assert len(test.paths) == 2 * 3 * 3
    people = [{path.parent.name for path in images.paths} for images in (train, test)]
    assert [len(some) for some in people] == [4, 3]
    assert not people[0] & people[1]


def test_regdb_labels_count_from_zero_and_name_one_folder_each(regdb_root: Path) -> None:
    images = regdb.read_images(regdb_root, 1, "train")
    pairs = {(label, path.parent.name) for label, path in zip(images.identities.tolist(), images.paths, strict=True)}
    assert sorted(label for label, _ in pairs) == [0, 1, 2, 3]


def test_regdb_splits_differ(regdb_root: Path) -> None:
    parts = {regdb.read_images(regdb_root, split, "train").paths for split in range(1, 11)}
    assert len(parts) > 5


def test_llcm_look_alike_lies_where_llcm_does(llcm_root: Path) -> None:
    patterns = [r"(vis|nir)/\d{4}/\d{4}_c0\d_s\d+_\1\.jpg", r"test_(vis|nir)/cam(\d)/\d{4}/\d{4}_c0\2_s\d+_\1\.jpg"]
    names = list(pixels(llcm_root))
    assert len(names) == 12 * 2 * 3 * 2
    assert all(any(re.fullmatch(pattern, name) for pattern in patterns) for name in names)


def test_llcm_parts_have_their_identities(llcm_root: Path) -> None:
    train, test = llcm.read_images(llcm_root, "train"), llcm.read_images(llcm_root, "test")
    assert set(train.identities.tolist()) == set(range(4))
    assert set(test.identities.tolist()) == set(range(5, 13))
    assert {path.parent.name for path in train.paths} == {f"{identity:04d}" for identity in range(1, 5)}


def test_llcm_place_three_has_no_infrared_camera(llcm_root: Path) -> None:
    images = llcm.read_images(llcm_root, "test")
    assert 3 not in images.cameras[images.modalities == 1]
    assert 3 in images.cameras[images.modalities == 0]


def test_every_llcm_query_has_a_match_at_another_place(llcm_root: Path) -> None:
    images = llcm.read_images(llcm_root, "test")
    rows = list(zip(images.identities.tolist(), images.cameras.tolist(), images.modalities.tolist(), strict=True))
    for identity, camera, modality in rows:
        assert any(one == identity and at != camera and kind != modality for one, at, kind in rows)


@pytest.mark.parametrize("root", ["regdb_root", "llcm_root"])
def test_infrared_images_are_gray_and_visible_ones_are_not(root: str, request: pytest.FixtureRequest) -> None:
    for name, image in pixels(request.getfixturevalue(root)).items():
        assert image.shape == (*SIZE, 3)
        assert bool((image == image[..., :1]).all()) == name.startswith(("Thermal", "nir", "test_nir"))


@pytest.mark.parametrize("root", ["regdb_root", "llcm_root"])
def test_no_image_comes_twice(root: str, request: pytest.FixtureRequest) -> None:
    images = pixels(request.getfixturevalue(root))
    assert len({image.tobytes() for image in images.values()}) == len(images)


MAKERS: list[tuple[Callable[..., Path], str]] = [
    (make_synthetic_regdb, "images"),
    (make_synthetic_llcm, "images_per_camera"),
]


@pytest.mark.parametrize(("make", "images"), MAKERS)
def test_look_alike_depends_on_its_seed_alone(make: Callable[..., Path], images: str, tmp_path: Path) -> None:
    options: dict[str, Any] = {"train": 1, "test": 1, "size": SIZE, images: 1, "progress": False}
    first, second, other = (
        pixels(make(tmp_path / name, seed=seed, **options)) for name, seed in (("a", 0), ("b", 0), ("c", 1))
    )
    assert first.keys() == second.keys()
    assert all(np.array_equal(image, second[name]) for name, image in first.items())
    assert not any(np.array_equal(first[name], other[name]) for name in first.keys() & other.keys())


@pytest.mark.parametrize(("make", "images"), MAKERS)
def test_look_alike_is_kept_when_it_is_asked_for_again(
    make: Callable[..., Path], images: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options: dict[str, Any] = {"train": 1, "test": 1, "size": SIZE, images: 1, "progress": False}
    make(tmp_path / "set", **options)
    monkeypatch.setattr(synthetic_folder, "draw_images", None)  # nothing may be drawn any more
    assert make(tmp_path / "set", **options) == tmp_path / "set"


def test_one_kind_of_look_alike_replaces_another(tmp_path: Path) -> None:
    make_synthetic_regdb(tmp_path / "set", train=1, test=1, size=SIZE, images=1, progress=False)
    make_synthetic_llcm(tmp_path / "set", train=1, test=1, size=SIZE, images_per_camera=1, progress=False)
    assert {entry.name for entry in (tmp_path / "set").iterdir() if entry.is_dir()} == {
        *("idx", "vis", "nir", "test_vis", "test_nir")
    }


@pytest.mark.parametrize(("make", "images"), MAKERS)
@pytest.mark.parametrize("name", ["train", "test", "images"])
def test_number_out_of_range_is_refused_by_name(
    make: Callable[..., Path], images: str, name: str, tmp_path: Path
) -> None:
    option = images if name == "images" else name
    with pytest.raises(ValueError, match=f"{option} must be at least 1, but is 0"):
        make(tmp_path / "set", **{option: 0})

import json
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from reid.data_sets.sysu import INFRARED_CAMERAS, VISIBLE_CAMERAS, draw_cameras, read_images
from reid.data_sets.sysu_galleries import read_permutations
from reid.drawing import folder as synthetic_folder
from reid.drawing.appearance import PATTERNS, Camera, Cloth, Person, draw_camera, draw_person, draw_place
from reid.drawing.folder import FINGERPRINT
from reid.drawing.persons import draw_images
from reid.synthetic.sysu import make_synthetic_sysu


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("synthetic") / "sysu"
    return make_synthetic_sysu(root, train=5, val=2, test=5, seed=3, progress=False)


# Of the set with seed 5 below, as the first version of the code drew it, of which docs/reproduction.md has results.
MEANS = {1: 146.700, 2: 98.811, 3: 75.729, 4: 94.769, 5: 151.317, 6: 95.462}


def small(root: Path, *, seed: int = 0, size: tuple[int, int] = (32, 16), test: int = 1, images: int = 2) -> Path:
    return make_synthetic_sysu(
        root, train=1, val=0, test=test, seed=seed, size=size, images_per_camera=images, progress=False
    )


def pixels(root: Path) -> dict[str, NDArray[np.uint8]]:
    return {file.relative_to(root).as_posix(): np.asarray(Image.open(file)) for file in sorted(root.glob("cam*/*/*"))}


def identities(root: Path, name: str) -> list[int]:
    return [int(word) for word in (root / "exp" / f"{name}_id.txt").read_text().strip().split(",")]


def person(seed: int = 0, **changes: object) -> Person:
    return draw_person(np.random.default_rng(seed))._replace(**changes)  # type: ignore[arg-type]


def camera(*, infrared: bool = False) -> Camera:
    generator = np.random.default_rng(5)
    drawn = draw_camera(generator, draw_place(generator), infrared=infrared)
    return drawn._replace(gain=np.ones(1 if infrared else 3, dtype=np.float32), view=0.5)


def draw(someone: Person, *, infrared: bool = False, count: int = 4) -> NDArray[np.uint8]:
    return draw_images(someone, camera(infrared=infrared), count, (64, 32), np.random.default_rng(9))


def test_every_image_lies_where_sysu_has_it(dataset: Path) -> None:
    names = list(pixels(dataset))
    assert len(names) > 400
    assert all(re.fullmatch(r"cam[1-6]/\d{4}/\d{4}\.jpg", name) for name in names)


def test_image_numbers_of_a_folder_count_from_one(dataset: Path) -> None:
    for folder in dataset.glob("cam*/*"):
        numbers = sorted(int(file.stem) for file in folder.iterdir())
        assert numbers == list(range(1, len(numbers) + 1))


def test_splits_are_single_lines_that_part_the_identities(dataset: Path) -> None:
    parts = [identities(dataset, name) for name in ("train", "val", "test")]
    assert [len(part) for part in parts] == [5, 2, 5]
    assert (
        sorted(identity for part in parts for identity in part)
        == identities(dataset, "available")
        == list(range(1, 13))
    )
    assert all(file.read_text().count("\n") == 1 for file in (dataset / "exp").glob("*.txt"))


def test_infrared_images_are_gray_and_visible_ones_are_not(dataset: Path) -> None:
    for name, image in pixels(dataset).items():
        gray = bool((image == image[..., :1]).all())
        assert gray == (int(name[3]) in INFRARED_CAMERAS), name


def test_images_have_the_size_that_was_asked_for(dataset: Path, tmp_path: Path) -> None:
    assert {image.shape for image in pixels(dataset).values()} == {(64, 32, 3)}
    assert {image.shape for image in pixels(small(tmp_path / "set", size=(48, 20))).values()} == {(48, 20, 3)}


def test_every_identity_is_seen_in_both_modalities_but_not_by_every_camera(dataset: Path) -> None:
    cells = {(int(folder.parent.name[3:]), int(folder.name)) for folder in dataset.glob("cam*/*")}
    for identity in range(1, 13):
        assert any((camera, identity) in cells for camera in VISIBLE_CAMERAS)
        assert any((camera, identity) in cells for camera in INFRARED_CAMERAS)
    assert len(cells) < 6 * 12


def test_every_cell_has_images_enough_for_ten_shots(dataset: Path) -> None:
    counts = [len(list(folder.iterdir())) for folder in dataset.glob("cam*/*")]
    assert min(counts) >= 10
    assert max(counts) <= 12


def test_images_per_camera_is_the_least_number_of_images(tmp_path: Path) -> None:
    folders = list(small(tmp_path / "set", images=4, test=3).glob("cam*/*"))
    assert {len(list(folder.iterdir())) for folder in folders} <= {4, 5, 6}


def test_permutations_hold_the_numbers_of_the_files(dataset: Path) -> None:
    permutations = read_permutations(dataset)
    assert permutations is not None
    cells = {(int(folder.parent.name[3:]), int(folder.name)): folder for folder in dataset.glob("cam*/*")}
    assert permutations.keys() == cells.keys()
    for cell, rows in permutations.items():
        numbers = sorted(int(file.stem) for file in cells[cell].iterdir())
        assert rows.shape == (10, len(numbers))
        assert all(sorted(row) == numbers for row in rows.tolist())


def test_permutations_differ_between_trials(dataset: Path) -> None:
    permutations = read_permutations(dataset)
    assert permutations is not None
    assert all(len({tuple(row) for row in rows.tolist()}) == 10 for rows in permutations.values())


def test_reader_finds_the_synthetic_images(dataset: Path) -> None:
    found = read_images(dataset, "trainval").paths + read_images(dataset, "test").paths
    assert sorted(path.relative_to(dataset).as_posix() for path in found) == list(pixels(dataset))


def test_same_seed_gives_the_same_pixels(tmp_path: Path) -> None:
    first, second = pixels(small(tmp_path / "a")), pixels(small(tmp_path / "b"))
    assert first.keys() == second.keys()
    assert all(np.array_equal(image, second[name]) for name, image in first.items())


def test_pixels_are_those_that_the_documented_results_were_made_with(tmp_path: Path) -> None:
    # The mean of each camera's pixels; JPEG decoders may differ by a little, another drawing differs by far more.
    images = pixels(small(tmp_path / "set", seed=5, test=3, size=(64, 32)))
    means = {
        camera: np.mean([i.mean() for name, i in images.items() if name[3] == str(camera)]) for camera in range(1, 7)
    }
    assert means == pytest.approx(MEANS, abs=0.05)


def test_threads_do_not_change_the_pixels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = pixels(small(tmp_path / "a", test=3))
    monkeypatch.setattr(synthetic_folder, "map_in_threads", map)
    second = pixels(small(tmp_path / "b", test=3))
    assert first.keys() == second.keys()
    assert all(np.array_equal(image, second[name]) for name, image in first.items())


def test_progress_bar_is_shown_on_request_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small(tmp_path / "a")
    assert capsys.readouterr().err == ""
    make_synthetic_sysu(tmp_path / "b", train=1, val=0, test=1, size=(32, 16), images_per_camera=2)
    assert "drawing persons" in capsys.readouterr().err


def test_another_seed_gives_other_pixels(tmp_path: Path) -> None:
    first, second = pixels(small(tmp_path / "a")), pixels(small(tmp_path / "b", seed=1))
    assert not any(np.array_equal(first[name], second[name]) for name in first.keys() & second.keys())


def test_pixels_of_an_identity_do_not_depend_on_how_many_others_there_are(tmp_path: Path) -> None:
    few, many = pixels(small(tmp_path / "a")), pixels(small(tmp_path / "b", test=3))
    assert len(many) > len(few)
    assert all(np.array_equal(image, many[name]) for name, image in few.items())


def test_images_of_a_cell_differ_from_each_other() -> None:
    images = draw(person(), count=6)
    assert len({image.tobytes() for image in images}) == 6


def test_reflectances_are_independent_of_the_colors() -> None:
    generator = np.random.default_rng(0)
    uppers = [draw_person(generator).upper for _ in range(1500)]
    reflectances = [cloth.reflectances[0, 0] for cloth in uppers]
    for channel in range(3):
        colors = [cloth.colors[0, channel] for cloth in uppers]
        assert abs(np.corrcoef(colors, reflectances)[0, 1]) < 0.08  # three standard errors


def test_reflectances_show_in_infrared_alone() -> None:
    someone = person()
    other = someone._replace(upper=someone.upper._replace(reflectances=1 - someone.upper.reflectances))
    assert np.array_equal(draw(someone), draw(other))
    assert not np.array_equal(draw(someone, infrared=True), draw(other, infrared=True))


def test_colors_show_in_visible_light_alone() -> None:
    someone = person()
    other = someone._replace(lower=someone.lower._replace(colors=1 - someone.lower.colors))
    assert not np.array_equal(draw(someone), draw(other))
    assert np.array_equal(draw(someone, infrared=True), draw(other, infrared=True))


@pytest.mark.parametrize("infrared", [False, True])
@pytest.mark.parametrize("pattern", [pattern for pattern in PATTERNS if pattern != "plain"])
def test_every_pattern_shows_in_both_kinds_of_light(pattern: str, infrared: bool) -> None:
    cloth = Cloth(
        np.array([[0.9, 0.1, 0.1], [0.1, 0.1, 0.9]], np.float32),
        np.array([[0.1], [0.9]], np.float32),
        "plain",
        9.0,
    )
    plain, patterned = person(upper=cloth), person(upper=cloth._replace(pattern=pattern))
    assert not np.array_equal(draw(plain, infrared=infrared), draw(patterned, infrared=infrared))


def test_patterns_differ_from_each_other() -> None:
    colors = np.array([[0.9, 0.1, 0.1], [0.1, 0.1, 0.9]], np.float32)
    cloths = [Cloth(colors, np.ones((2, 1), np.float32), pattern, 9.0) for pattern in PATTERNS]
    assert len({draw(person(upper=cloth)).tobytes() for cloth in cloths}) == len(PATTERNS)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("height", (0.75, 0.9)),
        ("shoulders", (0.1, 0.14)),
        ("hips", (0.07, 0.12)),
        ("crotch", (0.47, 0.55)),
        ("limb", (0.03, 0.05)),
        ("head", (0.055, 0.07)),
        ("sleeve", (0.25, 1.0)),
        ("trouser", (0.3, 1.0)),
        ("skirt", (0.0, 0.16)),
        ("hair", (0.04, 0.22)),
        ("bag", ("none", "backpack")),
        ("bag", ("backpack", "satchel")),
    ],
)
def test_every_feature_of_a_person_shows_in_infrared(name: str, values: tuple[object, object]) -> None:
    one, other = (draw(person(3, **{name: value}), infrared=True) for value in values)
    assert not np.array_equal(one, other)


def test_clothes_are_painted_on_the_person_and_nowhere_else() -> None:
    # Where a shirt differs, the axis of the body is, and never the border columns of the image.
    someone = person(bag="none")
    other = someone._replace(upper=someone.upper._replace(colors=1 - someone.upper.colors))
    changed = (draw(someone) != draw(other)).any(axis=-1)  # (N, H, W)
    assert changed[:, 20:32, 14:18].mean() > 0.6
    assert not changed[:, :, [0, -1]].any()
    assert not changed[:, [0, -1], :].any()


def test_cameras_two_and_three_share_a_place_and_no_other_two_do() -> None:
    places = {number: drawn.place.edges.tobytes() for number, drawn in draw_cameras(0).items()}
    assert places[2] == places[3]
    assert len(set(places.values())) == 5


def test_infrared_cameras_are_three_and_six() -> None:
    assert [number for number, drawn in draw_cameras(0).items() if drawn.infrared] == [3, 6]


def test_ensure_reuses_a_set_made_with_the_same_options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small(tmp_path / "set")
    monkeypatch.setattr(synthetic_folder, "draw_images", None)  # nothing may be drawn any more
    assert small(tmp_path / "set") == tmp_path / "set"


def test_ensure_replaces_a_set_made_with_other_options(tmp_path: Path) -> None:
    small(tmp_path / "set")
    first = pixels(tmp_path / "set")
    second = pixels(small(tmp_path / "set", seed=1))
    assert not any(np.array_equal(first[name], second[name]) for name in first.keys() & second.keys())


@pytest.mark.parametrize("text", ["", '{"version": 0}', "[", '{"version":'])
def test_ensure_replaces_a_set_whose_fingerprint_is_not_whole(tmp_path: Path, text: str) -> None:
    root = small(tmp_path / "set")
    (root / FINGERPRINT).write_text(text)
    (root / "cam6" / "stale").mkdir()
    small(root)
    assert not (root / "cam6" / "stale").exists()
    assert json.loads((root / FINGERPRINT).read_text())["seed"] == 0


def test_options_are_written_as_in_the_sets_that_there_are_already(tmp_path: Path) -> None:
    options = {"train": 1, "val": 0, "test": 1, "seed": 0, "size": [32, 16], "images_per_camera": 2}
    written = json.loads((small(tmp_path / "set") / FINGERPRINT).read_text())
    assert written == {"version": 1, **options}


def test_interrupted_making_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(synthetic_folder, "draw_images", interrupt)
    with pytest.raises(KeyboardInterrupt):
        small(tmp_path / "set")
    assert not list(tmp_path.iterdir())


def test_set_that_another_process_made_meanwhile_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other, rename = small(tmp_path / "other"), os.replace

    def rename_too_late(source: Path, target: Path) -> None:
        shutil.copytree(other, target)
        rename(source, target)

    monkeypatch.setattr(os, "replace", rename_too_late)
    small(tmp_path / "set")
    assert pixels(tmp_path / "set").keys() == pixels(other).keys()
    assert {entry.name for entry in tmp_path.iterdir()} == {"other", "set"}


def test_foreign_folder_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(FileExistsError, match=r"holds something else already: name another folder"):
        small(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["notes.txt"]


def test_make_takes_an_empty_folder(tmp_path: Path) -> None:
    small(tmp_path)
    assert (tmp_path / FINGERPRINT).is_file()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("train", 0),
        ("val", -1),
        ("test", 0),
        ("seed", -1),
        ("images_per_camera", 0),
        ("images_per_camera", 254),
    ],
)
def test_number_out_of_range_is_refused_by_name(tmp_path: Path, name: str, value: int) -> None:
    with pytest.raises(ValueError, match=rf"{name} must be at (least|most) \d+, but is -?\d+"):
        make_synthetic_sysu(tmp_path / "set", progress=False, **{name: value})  # type: ignore[arg-type]


def test_more_identities_than_folders_have_names_for_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"train \+ val \+ test must be at most 9999, but is 10000: lower it"):
        make_synthetic_sysu(tmp_path / "set", train=9000, val=500, test=500)


def test_size_out_of_range_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"size must be \(height, width\) of at least \(16, 8\)"):
        small(tmp_path / "set", size=(64, 4))

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from reid.data.listing import HeldOutList, Listing, list_llcm, list_regdb, list_sysu
from reid.synthetic.llcm import make_synthetic_llcm
from reid.synthetic.regdb import make_synthetic_regdb
from reid.synthetic.sysu import make_synthetic_sysu

SIZE = (16, 8)


@pytest.fixture(scope="module")
def sysu(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("listing") / "sysu"
    return make_synthetic_sysu(root, train=6, val=3, test=4, size=SIZE, images_per_camera=2, progress=False)


@pytest.fixture
def regdb(tmp_path: Path) -> Path:
    return make_synthetic_regdb(tmp_path / "regdb", train=6, test=3, size=SIZE, images=2, progress=False)


@pytest.fixture
def llcm(tmp_path: Path) -> Path:
    return make_synthetic_llcm(tmp_path / "llcm", train=6, test=3, size=SIZE, images_per_camera=2, progress=False)


def split(root: Path, name: str) -> set[int]:
    return {int(word) for word in (root / "exp" / f"{name}_id.txt").read_text().split(",")}


def people(paths: tuple[Path, ...]) -> set[str]:
    return {path.parent.name for path in paths}


def assert_direction(held: HeldOutList, asking: int) -> None:
    assert set(held.images.modalities[held.trials.query].tolist()) == {asking}
    for gallery in held.trials.galleries:
        assert set(held.images.modalities[gallery].tolist()) == {1 - asking}


def test_sysu_trains_on_both_kinds_of_identities_by_default(sysu: Path) -> None:
    listing = list_sysu(sysu, gallery="official", mode="all")
    assert set(listing.train.identities.tolist()) == split(sysu, "train") | split(sysu, "val")
    assert set(listing.test.images.identities.tolist()) == split(sysu, "test")
    assert listing.validation is None


def test_sysu_validates_on_the_official_val_split(sysu: Path) -> None:
    listing = list_sysu(sysu, gallery="official", mode="all", train="train")
    assert set(listing.train.identities.tolist()) == split(sysu, "train")
    assert listing.validation is not None
    assert set(listing.validation.images.identities.tolist()) == split(sysu, "val")
    assert_direction(listing.validation, asking=1)
    assert len(listing.validation.trials.galleries) == 10


def test_sysu_validation_does_not_need_the_permutations(sysu: Path) -> None:
    with_them = list_sysu(sysu, gallery="official", mode="indoor", train="train").validation
    without = list_sysu(sysu, gallery="agw", mode="indoor", train="train").validation
    assert with_them is not None
    assert without is not None
    assert [gallery.tolist() for gallery in with_them.trials.galleries] == [
        gallery.tolist() for gallery in without.trials.galleries
    ]
    assert set(without.images.cameras[without.trials.galleries[0]].tolist()) <= {1, 2}


def test_sysu_protocol_is_passed_on(sysu: Path) -> None:
    everywhere, indoor = (list_sysu(sysu, gallery="agw", mode=mode).test for mode in ("all", "indoor"))
    assert set(everywhere.images.cameras[everywhere.trials.galleries[0]].tolist()) == {1, 2, 4, 5}
    assert set(indoor.images.cameras[indoor.trials.galleries[0]].tolist()) == {1, 2}
    one, two = (list_sysu(sysu, gallery="official", mode="all", shots=shots).test.trials for shots in (1, 2))
    assert len(two.galleries[0]) == 2 * len(one.galleries[0])


def test_sysu_says_which_parts_are_not_of_the_real_size(sysu: Path) -> None:
    lines = list_sysu(sysu, gallery="agw", mode="all", train="train").remarks
    assert [line.split(" has ")[0] for line in lines] == ["SYSU-MM01 train", "SYSU-MM01 test", "SYSU-MM01 val"]


def test_sysu_names_missing_images_of_all_parts_at_once(tmp_path: Path) -> None:
    root = make_synthetic_sysu(
        tmp_path / "sysu", train=2, val=1, test=1, size=SIZE, images_per_camera=2, progress=False
    )
    files = [next(root.glob(f"cam*/{identity:04d}/0001.jpg")) for identity in range(1, 5)]
    for file in files:
        file.unlink()
    with pytest.raises(FileNotFoundError, match=r"^4 images that exp/rand_perm_cam\.mat counts are missing") as caught:
        list_sysu(root, gallery="agw", mode="all", train="train")
    assert all(str(file) in str(caught.value) for file in files)


def test_sysu_stray_files_change_nothing(tmp_path: Path) -> None:
    root = make_synthetic_sysu(
        tmp_path / "sysu", train=2, val=1, test=2, size=SIZE, images_per_camera=3, progress=False
    )
    before = list_sysu(root, gallery="agw", mode="all")
    for folder in [root, *root.glob("cam*"), *root.glob("cam*/*")]:
        for name in ("Thumbs.db", ".DS_Store", "._0001.jpg"):
            (folder / name).touch()
    after = list_sysu(root, gallery="agw", mode="all")
    assert after.train.paths == before.train.paths
    for one, other in zip(after.test.trials.galleries, before.test.trials.galleries, strict=True):
        assert one.tolist() == other.tolist()


def test_sysu_unknown_training_part_is_refused(sysu: Path) -> None:
    with pytest.raises(ValueError, match="train must be one of train, trainval, but is 'test'"):
        list_sysu(sysu, gallery="agw", mode="all", train="test")  # type: ignore[arg-type]


@pytest.mark.parametrize(("direction", "asking"), [("visible-to-infrared", 0), ("infrared-to-visible", 1)])
def test_regdb_takes_the_split_and_the_direction(regdb: Path, direction: Any, asking: int) -> None:
    listing = list_regdb(regdb, 3, direction)
    assert people(listing.train.paths) | people(listing.test.images.paths) == {str(number) for number in range(1, 10)}
    assert_direction(listing.test, asking)
    assert len(listing.test.trials.galleries) == 1
    assert len(listing.test.trials.galleries[0]) == 3 * 2
    assert listing.train.paths != list_regdb(regdb, 4, direction).train.paths


@pytest.mark.parametrize(("direction", "asking"), [("visible-to-infrared", 0), ("infrared-to-visible", 1)])
def test_llcm_takes_the_direction(llcm: Path, direction: Any, asking: int) -> None:
    listing = list_llcm(llcm, direction)
    assert_direction(listing.test, asking)
    assert len(listing.test.trials.galleries) == 10
    assert len(listing.test.trials.galleries[0]) == 3 * 3  # one image of each identity and camera


def test_llcm_published_roles_let_single_infrared_images_ask(llcm: Path) -> None:
    trials = list_llcm(llcm, "visible-to-infrared", "published").test.trials
    assert len(trials.queries[0]) == 3 * 3
    assert len(trials.galleries[0]) == 3 * 3 * 2


@pytest.mark.parametrize("name", ["regdb", "llcm"])
def test_validation_identities_are_taken_from_those_to_train_on(name: str, request: pytest.FixtureRequest) -> None:
    root = request.getfixturevalue(name)

    def listing(validation: int) -> Any:
        if name == "regdb":
            return list_regdb(root, 1, "infrared-to-visible", validation=validation)
        return list_llcm(root, "infrared-to-visible", validation=validation)

    whole, parted = listing(0), listing(2)
    assert whole.validation is None
    assert people(parted.train.paths) | people(parted.validation.images.paths) == people(whole.train.paths)
    assert len(people(parted.train.paths)) == 4
    assert len(people(parted.validation.images.paths)) == 2
    assert len(parted.train.paths) + len(parted.validation.images.paths) == len(whole.train.paths)
    assert_direction(parted.validation, asking=1)
    assert parted.test.images.paths == whole.test.images.paths


def test_validation_rows_keep_their_columns(regdb: Path) -> None:
    whole = list_regdb(regdb, 1, "infrared-to-visible").train
    held = list_regdb(regdb, 1, "infrared-to-visible", validation=2).validation
    assert held is not None
    rows = [whole.paths.index(path) for path in held.images.paths]
    for column, part in zip(whole[1:], held.images[1:], strict=True):
        assert np.array_equal(column[rows], part)


@pytest.mark.parametrize("validation", [-1, 6, 7])
def test_validation_that_leaves_nobody_to_train_on_is_refused(regdb: Path, validation: int) -> None:
    with pytest.raises(ValueError, match=f"validation must be from 0 to 5, but is {validation}"):
        list_regdb(regdb, 1, "infrared-to-visible", validation=validation)


def test_validation_on_llcm_needs_cameras(llcm: Path) -> None:
    lists = [llcm / "idx" / f"train_{kind}.txt" for kind in ("vis", "nir")]
    for file in lists:
        lines = file.read_text().splitlines()
        for number, line in enumerate(lines):
            path, label = line.split()
            (llcm / path).rename(llcm / f"{file.stem}{number}.jpg")
            lines[number] = f"{file.stem}{number}.jpg {label}"
        file.write_text("\n".join(lines))
    assert len(list_llcm(llcm, "infrared-to-visible").train.paths) == 72
    with pytest.raises(ValueError, match=r"needs the cameras of the training images, but .*train_vis0\.jpg"):
        list_llcm(llcm, "infrared-to-visible", validation=2)


@pytest.mark.parametrize("name", ["regdb", "llcm"])
def test_missing_images_of_all_parts_are_named_at_once(name: str, request: pytest.FixtureRequest) -> None:
    root = request.getfixturevalue(name)

    def listing() -> Any:
        return list_regdb(root, 1, "infrared-to-visible") if name == "regdb" else list_llcm(root, "infrared-to-visible")

    whole = listing()
    files = [whole.train.paths[0], whole.train.paths[-1]]
    if name == "regdb":  # the test images of LLCM are those that are there
        files.append(whole.test.images.paths[1])
    for file in files:
        file.unlink()
    with pytest.raises(FileNotFoundError, match=f"^{len(files)} images that the lists of the data set name") as caught:
        listing()
    assert all(str(file) in str(caught.value) for file in files)


def relabel(file: Path, change: Callable[[int], int]) -> None:
    lines = [line.rsplit(" ", 1) for line in file.read_text().splitlines()]
    file.write_text("".join(f"{path} {change(int(label))}\n" for path, label in lines))


def list_by_name(name: str, root: Path) -> Listing:
    if name == "sysu":
        return list_sysu(root, gallery="agw", mode="all", train="train")
    return list_regdb(root, 1, "infrared-to-visible") if name == "regdb" else list_llcm(root, "infrared-to-visible")


@pytest.mark.parametrize("name", ["sysu", "regdb", "llcm"])
def test_person_in_train_and_test_is_refused(name: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    root = tmp_path / "copy"
    shutil.copytree(request.getfixturevalue(name), root)
    if name == "sysu":
        for part in ("train", "test"):
            (root / "exp" / f"{part}_id.txt").write_text(",".join(map(str, split(root, part) | {1})))
    elif name == "llcm":
        (root / "idx" / "test_id.txt").write_text("6,7,8,9")
        shutil.copytree(root / "vis" / "0006", root / "test_vis" / "cam1" / "0006")
    else:
        lines = [(root / "idx" / f"{part}_thermal_1.txt").read_text().splitlines() for part in ("train", "test")]
        (root / "idx" / "test_thermal_1.txt").write_text("\n".join([*lines[1], lines[0][0]]))
    with pytest.raises(
        ValueError, match=r"^1 persons are both in .* train and in .* test, by the folders .*; take them"
    ):
        list_by_name(name, root)


def test_sysu_person_in_train_and_validation_is_refused(sysu: Path, tmp_path: Path) -> None:
    shutil.copytree(sysu, tmp_path / "copy")
    both = split(sysu, "train") | split(sysu, "val")
    (tmp_path / "copy/exp/val_id.txt").write_text(",".join(map(str, both)))
    with pytest.raises(ValueError, match="6 persons are both in SYSU-MM01 train and in SYSU-MM01 val"):
        list_by_name("sysu", tmp_path / "copy")


def test_identities_of_other_modality_with_other_labels_are_refused(regdb: Path) -> None:
    for part in ("test", "train"):
        relabel(regdb / "idx" / f"{part}_visible_1.txt", lambda label: label + 50)
        with pytest.raises(ValueError, match=f"No identity of RegDB {part} is seen in both modalities"):
            list_by_name("regdb", regdb)


def test_search_in_which_no_query_has_a_match_is_refused(sysu: Path, tmp_path: Path) -> None:
    # Everybody is seen in both modalities, but no camera of the indoor search sees anybody of the test.
    shutil.copytree(sysu, tmp_path / "copy")
    for identity in split(sysu, "test"):
        for camera in (1, 2):
            shutil.rmtree(tmp_path / f"copy/cam{camera}/{identity:04d}", ignore_errors=True)
        if not (other := tmp_path / f"copy/cam4/{identity:04d}").is_dir():
            shutil.copytree(tmp_path / f"copy/cam5/{identity:04d}", other)
    (tmp_path / "copy/exp/rand_perm_cam.mat").unlink()
    assert list_sysu(tmp_path / "copy", gallery="agw", mode="all").test.trials.galleries
    with pytest.raises(ValueError, match=r"^None of the \d+ queries of trial 1 has a match among the 0 images of its"):
        list_sysu(tmp_path / "copy", gallery="agw", mode="indoor")


def test_place_that_is_removed_for_every_query_leaves_nothing_to_score(llcm: Path) -> None:
    # A person who is seen by one place alone has no match there: LLCM removes the images of the query's camera.
    for kind in ("vis", "nir"):
        for camera in (llcm / f"test_{kind}").iterdir():
            if camera.name != "cam1":
                shutil.rmtree(camera)
        for identity in ("0007", "0008", "0009"):
            folder = llcm / f"test_{kind}" / "cam1" / identity
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copy(llcm / "vis" / "0001" / next((llcm / "vis" / "0001").iterdir()), folder / "a.jpg")
    with pytest.raises(
        ValueError, match=r"None of the \d+ queries of trial 1 has a match among the 3 images of its gal"
    ):
        list_by_name("llcm", llcm)


def test_thousands_of_missing_images_are_counted_and_what_is_there_is_named(regdb: Path) -> None:
    for part in ("train", "test"):
        for kind in ("visible", "thermal"):
            lines = [f"{kind}/{i}/{j}.bmp {i}\n" for i in range(206) for j in range(10)]
            (regdb / "idx" / f"{part}_{kind}_1.txt").write_text("".join(lines))
    with pytest.raises(FileNotFoundError, match=r"^8,240 images .* and 8,232 more; ") as caught:
        list_by_name("regdb", regdb)
    assert f"{regdb} holds Thermal, Visible, idx, synthetic.json: " in str(caught.value)
    assert len(str(caught.value)) < 2000


@pytest.mark.parametrize("name", ["regdb", "llcm"])
def test_remarks_tell_what_is_not_of_the_real_size(name: str, request: pytest.FixtureRequest) -> None:
    root = request.getfixturevalue(name)
    lines = list_by_name(name, root).remarks
    title = "RegDB" if name == "regdb" else "LLCM"
    assert [line.split(" has ")[0] for line in lines] == [f"{title} train", f"{title} test"]

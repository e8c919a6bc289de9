import re
from pathlib import Path

import numpy as np
import pytest
import scipy.io

from reid.data_sets.sysu import missing_images, read_images
from reid.data_sets.sysu_galleries import read_permutations

CELLS = {(1, 2): 2, (3, 2): 1, (2, 10): 3, (6, 10): 2, (4, 7): 1, (6, 7): 1, (5, 1): 1, (3, 1): 2}
SPLITS = {"train": "10,2", "val": "7", "test": "1"}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    # The name of a camera in the path of the data set must not confuse the reader.
    folder = tmp_path / "cam9" / "0005"
    (folder / "exp").mkdir(parents=True)
    for name, line in SPLITS.items():
        (folder / "exp" / f"{name}_id.txt").write_text(line + "\n")
    for (camera, identity), count in CELLS.items():
        cell = folder / f"cam{camera}" / f"{identity:04d}"
        cell.mkdir(parents=True)
        for number in range(count, 0, -1):
            (cell / f"{number:04d}.jpg").touch()
    return folder


def write_permutations(root: Path, value: object, name: str = "rand_perm_cam") -> None:
    scipy.io.savemat(root / "exp" / "rand_perm_cam.mat", {name: value})


def nested(shape: tuple[int, int]) -> np.ndarray:
    """Six cameras of ten identities: camera 1 has three images of identity 2, camera 6 two of identity 10."""
    outer = np.empty((6, 1), dtype=object)
    for camera in range(6):
        inner = np.empty(10, dtype=object)
        for identity in range(10):
            inner[identity] = np.zeros((10, 0), dtype=np.uint8)
        outer[camera, 0] = inner
    outer[0, 0][1] = np.array([[1, 2, 3]] * 9 + [[3, 1, 2]], dtype=np.uint8)
    outer[5, 0][9] = np.array([[2, 1]] * 10, dtype=np.uint8)
    for camera in range(6):
        outer[camera, 0] = outer[camera, 0].reshape(shape)
    return outer


def test_images_come_in_the_order_identity_camera_number(root: Path) -> None:
    images = read_images(root, "train")
    assert images.identities.tolist() == [2, 2, 2, 10, 10, 10, 10, 10]
    assert images.cameras.tolist() == [1, 1, 3, 2, 2, 2, 6, 6]
    assert images.numbers.tolist() == [1, 2, 1, 1, 2, 3, 1, 2]


def test_paths_belong_to_their_rows(root: Path) -> None:
    images = read_images(root, "train")
    for path, identity, camera, number, _ in zip(*images, strict=True):
        assert path == root / f"cam{camera}" / f"{identity:04d}" / f"{number:04d}.jpg"


def test_modality_is_that_of_the_camera(root: Path) -> None:
    images = read_images(root, "train")
    assert images.modalities.tolist() == [int(camera in (3, 6)) for camera in images.cameras.tolist()]


def test_columns_are_64_bit_integers(root: Path) -> None:
    assert {column.dtype for column in read_images(root, "test")[1:]} == {np.dtype(np.int64)}


@pytest.mark.parametrize(("split", "expected"), [("val", {7}), ("test", {1}), ("trainval", {2, 7, 10})])
def test_split_has_its_identities(root: Path, split: str, expected: set[int]) -> None:
    assert set(read_images(root, split).identities.tolist()) == expected  # type: ignore[arg-type]


def test_trainval_is_sorted_by_identity_over_both_parts(root: Path) -> None:
    assert read_images(root, "trainval").identities.tolist() == [2] * 3 + [7] * 2 + [10] * 5


def test_stray_files_are_ignored(root: Path) -> None:
    expected = read_images(root, "train")
    cell = root / "cam1" / "0002"
    for name in ("Thumbs.db", ".DS_Store", "._0001.jpg", "0001.txt", "notes.jpg", "0003.jpg.part"):
        (cell / name).touch()
    (root / "cam1" / "Thumbs.db").touch()
    (root / "README").touch()
    for name in ("cameras", "campus2024", "c3d-features", ".cam7", "cam1/.0002", "cam1/thumbnails"):
        (root / name).mkdir()
    assert read_images(root, "train").paths == expected.paths


def test_numbers_are_read_from_the_name_and_sorted_as_numbers(root: Path) -> None:
    for name in ("12.PNG", "13.tif"):
        (root / "cam5" / "0001" / name).touch()
    (root / "cam5" / "0001" / "0009.jpg").touch()
    images = read_images(root, "test")
    assert images.numbers[images.cameras == 5].tolist() == [1, 9, 12, 13]


@pytest.mark.parametrize("line", ["10,2", "10,2,\n", " 10, 2 ", "10,2\r\n", "\ufeff10,2\n"])
def test_identities_may_be_written_with_blanks_and_line_ends(root: Path, line: str) -> None:
    (root / "exp" / "train_id.txt").write_bytes(line.encode())
    assert set(read_images(root, "train").identities.tolist()) == {2, 10}


def test_identity_without_images_is_left_out(root: Path) -> None:
    (root / "exp" / "train_id.txt").write_text("2,333")
    assert set(read_images(root, "train").identities.tolist()) == {2}


def test_missing_folder_is_reported_with_what_is_expected(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nowhere is not a folder: expected .*cam1 to cam6.*train_id\.txt"):
        read_images(tmp_path / "nowhere", "train")


def test_wrong_layout_is_reported_with_what_is_expected_found_and_missing(root: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        read_images(root / "cam1", "train")
    message = str(caught.value)
    assert "expected the folders cam1 to cam6 and exp/train_id.txt" in message
    assert "30,071 visible and 15,792 infrared images in all, of 296, 99 and 96 identities" in message
    assert "authors' page, github.com/wuancong/SYSU-MM01" in message
    assert "found 0002" in message
    assert "exp/test_id.txt missing" in message


def test_a_single_missing_file_is_named(root: Path) -> None:
    (root / "exp" / "val_id.txt").unlink()
    with pytest.raises(FileNotFoundError, match=r"; exp/val_id\.txt missing\.$"):
        read_images(root, "train")


@pytest.mark.parametrize(
    ("found", "renamed"),
    [("cam1/0002", "cam1/2"), ("cam1/0002", "cam1/0002 (1)"), ("cam2/0010", "cam2/00010"), ("cam6/0007", "cam6/ID7")],
)
def test_folder_that_looks_like_an_identity_and_would_not_be_read_is_refused(
    root: Path, found: str, renamed: str
) -> None:
    (root / found).rename(root / renamed)
    camera, name = renamed.split("/")
    sentence = f"{root / camera} has 1 folders that would not be read: {name}; name"
    with pytest.raises(ValueError, match=re.escape(sentence)):
        read_images(root, "train")


@pytest.mark.parametrize("name", ["cam7", "Cam 1", "cam1_old", "camera1"])
def test_folder_that_looks_like_a_camera_and_would_not_be_read_is_refused(root: Path, name: str) -> None:
    (root / name).mkdir()
    with pytest.raises(ValueError, match=rf"5 has 1 folders that would not be read: {name}; name a camera like cam1"):
        read_images(root, "test")


def test_images_that_the_permutations_count_are_missed(root: Path) -> None:
    cells = nested((10, 1))
    cells[5, 0][6, 0] = np.array([[2, 1]] * 10, dtype=np.uint8)  # camera 6 has one of two images of identity 7
    cells[4, 0][1, 0] = np.array([[1]] * 10, dtype=np.uint8)  # camera 5 has none of identity 2
    write_permutations(root, cells)
    (root / "cam6" / "0010" / "0001.jpg").unlink()
    (root / "cam1" / "0002" / "0001.jpg").unlink()
    found = missing_images(root, read_images(root, "trainval"), "trainval")
    names = ["cam1/0002/0001.jpg", "cam1/0002/0003.jpg", "cam5/0002/0001.jpg"]
    assert found == [root / name for name in (*names, "cam6/0007/0002.jpg", "cam6/0010/0001.jpg")]


def test_missing_images_of_other_splits_do_not_matter(root: Path) -> None:
    write_permutations(root, nested((10, 1)))  # camera 1 lacks an image of identity 2, which is for training
    assert missing_images(root, read_images(root, "test"), "test") == []
    assert missing_images(root, read_images(root, "train"), "train") == [root / "cam1/0002/0003.jpg"]


def test_no_image_is_missed_without_permutations(root: Path) -> None:
    assert missing_images(root, read_images(root, "train"), "train") == []


def test_long_listing_of_a_wrong_folder_is_cut_short(tmp_path: Path) -> None:
    for number in range(20):
        (tmp_path / f"file{number:02d}").touch()
    with pytest.raises(FileNotFoundError, match=r"file07 and 12 more;"):
        read_images(tmp_path, "train")


def test_empty_folder_is_said_to_hold_nothing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="found nothing;"):
        read_images(tmp_path, "train")


def test_split_without_images_is_refused(root: Path) -> None:
    (root / "exp" / "test_id.txt").write_text("55,56")
    with pytest.raises(ValueError, match=r"No image of the 2 identities of split 'test'.*cam1/0001/0001\.jpg"):
        read_images(root, "test")


def test_unreadable_identities_are_refused_with_the_file_named(root: Path) -> None:
    (root / "exp" / "test_id.txt").write_text("<html>")
    with pytest.raises(ValueError, match=r"test_id\.txt must hold identities on one line.*'<html>'"):
        read_images(root, "test")


def test_unknown_split_is_refused_with_the_known_ones(root: Path) -> None:
    with pytest.raises(ValueError, match="split must be one of train, val, trainval, test, but is 'query'"):
        read_images(root, "query")  # type: ignore[arg-type]


def test_permutations_are_none_without_their_file(root: Path) -> None:
    assert read_permutations(root) is None


@pytest.mark.parametrize("shape", [(10, 1), (1, 10)])
def test_permutations_are_read_by_camera_and_identity(root: Path, shape: tuple[int, int]) -> None:
    write_permutations(root, nested(shape))
    permutations = read_permutations(root)
    assert permutations is not None
    assert permutations.keys() == {(1, 2), (6, 10)}
    assert permutations[1, 2].tolist() == [[1, 2, 3]] * 9 + [[3, 1, 2]]
    assert permutations[6, 10].dtype == np.int64


def test_other_matlab_files_are_refused_as_permutations(root: Path) -> None:
    write_permutations(root, nested((10, 1)), name="something")
    with pytest.raises(ValueError, match=r"rand_perm_cam\.mat must hold a cell array 'rand_perm_cam' of six cameras"):
        read_permutations(root)


@pytest.mark.parametrize("content", [b"", b"nothing", b"MATLAB 5.0 MAT-file" + bytes(200)])
def test_file_that_is_no_matlab_file_is_refused_as_permutations(root: Path, content: bytes) -> None:
    (root / "exp" / "rand_perm_cam.mat").write_bytes(content)
    with pytest.raises(ValueError, match=r"rand_perm_cam\.mat must hold a cell array"):
        read_permutations(root)


def test_permutations_of_too_few_cameras_are_refused(root: Path) -> None:
    write_permutations(root, nested((10, 1))[:5])
    with pytest.raises(ValueError, match="six cameras"):
        read_permutations(root)


def of_contents(*contents: object) -> np.ndarray:
    cells = nested((10, 1))
    for place, content in enumerate(contents):
        cells[0, 0][place, 0] = content
    return cells


@pytest.mark.parametrize(
    "value",
    [
        np.arange(6.0),
        np.array(["a"] * 6, dtype=object),
        of_contents("text"),
        of_contents(np.ones((9, 2))),
        of_contents(np.ones((10, 2), dtype=object)),
        {"a": 1.0},
    ],
    ids=["numbers", "texts", "text inside", "nine trials", "cells inside", "struct"],
)
def test_permutations_of_another_kind_are_refused(root: Path, value: object) -> None:
    write_permutations(root, value)
    with pytest.raises(ValueError, match="must hold a cell array 'rand_perm_cam' of six cameras"):
        read_permutations(root)


def test_permutations_in_a_file_of_version_seven_three_are_named_as_what_they_are(root: Path) -> None:
    head = b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\x00\x02IM"
    (root / "exp" / "rand_perm_cam.mat").write_bytes(head.ljust(512, b"\0") + b"\x89HDF\r\n\x1a\n" + bytes(64))
    with pytest.raises(ValueError, match=r"rand_perm_cam\.mat is a MATLAB file of version 7\.3, .* save it with -v7"):
        read_permutations(root)

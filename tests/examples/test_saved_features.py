"""Tests of reid.data_sets.features: files written by numpy and scipy, whole and damaged."""

import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io
import scipy.sparse
import torch

from examples.look_alike import look_alike
from examples.saved_look_alike import write_look_alike
from reid.data_sets.features import read_npz_features, with_identities
from reid.data_sets.sysu_features import read_mat_features, read_test_identities

ALL = ("identities", "cameras", "numbers", "modalities")


def arrays(**changes: Any) -> dict[str, Any]:
    columns = {name: np.arange(4) + place for place, name in enumerate(ALL)}
    return {"features": np.arange(12.0).reshape(4, 3), **columns, **changes}


def cells(*matrices: Any) -> np.ndarray[Any, Any]:
    array = np.empty((1, len(matrices)), dtype=object)
    for place, matrix in enumerate(matrices):
        array[0, place] = np.asarray(matrix, dtype=np.float64)
    return array


def cell(content: Any) -> np.ndarray[Any, Any]:
    """A cell array of one thing, whatever it is."""
    array = np.empty((1, 1), dtype=object)
    array[0, 0] = content
    return array


def test_mat_files_hold_the_features_in_the_order_camera_identity_image(tmp_path: Path) -> None:
    images = look_alike()
    folder, exp = write_look_alike(tmp_path, images)
    identities, _ = read_test_identities(exp)
    saved = read_mat_features(folder, "raw", range(1, 7), identities)
    assert saved.features.dtype == torch.float64
    assert np.array_equal(saved.features.numpy(), images.features(normalize=False))
    for found, expected in zip(saved[1:4], (images.identities, images.cameras, images.numbers), strict=True):
        assert np.array_equal(found, expected)
    assert [file.name for file in saved.files] == [f"raw_cam{camera}.mat" for camera in range(1, 7)]


def test_mat_files_of_other_cameras_need_not_be_there(tmp_path: Path) -> None:
    scipy.io.savemat(tmp_path / "net_cam3.mat", {"feature": cells([[1, 2]], np.zeros((0, 0)), [[3, 4], [5, 6]])})
    saved = read_mat_features(tmp_path, "net", [3], [2, 3, 9])
    assert saved.features.tolist() == [[3, 4], [5, 6]]
    assert (saved.identities.tolist(), saved.numbers.tolist()) == ([3, 3], [1, 2])


def test_features_of_single_precision_become_double(tmp_path: Path) -> None:
    content = cells([[0.1, 0.2]])
    content[0, 0] = content[0, 0].astype(np.float32)
    scipy.io.savemat(tmp_path / "net_cam1.mat", {"feature": content})
    saved = read_mat_features(tmp_path, "net", [1], [1])
    assert saved.features.dtype == torch.float64
    assert saved.features.tolist() == [[float(np.float32(0.1)), float(np.float32(0.2))]]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"features": cells([[1.0]])}, "must hold a cell array 'feature'"),
        ({"feature": np.ones((2, 2))}, "must hold a cell array 'feature'"),
        ({"feature": cells([[1.0]], [[1.0, 2.0]])}, "expected features of one width for the 2 identities"),
        ({"feature": cells(np.zeros((0, 0)))}, "got no image of them"),
        ({"feature": scipy.sparse.eye_array(3)}, "must hold a cell array 'feature'"),
        ({"feature": {"a": 1}}, "must hold a cell array 'feature'"),
        (
            {"feature": cell(scipy.sparse.csc_array(np.eye(3)))},
            r"must be numbers \(N, D\), got csc_array float64 \(3, 3\)",
        ),
        ({"feature": cell(np.ones((2, 3)) * 1j)}, "got ndarray complex128"),
        ({"feature": cell("text")}, "got ndarray <U4"),
        ({"feature": cell(cells([[1.0]]))}, "got ndarray object"),
        ({"feature": cells([[1.0, np.nan], [np.inf, 1.0]])}, "must be finite, but 2 are not"),
    ],
)
def test_mat_file_of_something_else_is_refused(content: dict[str, Any], message: str, tmp_path: Path) -> None:
    scipy.io.savemat(tmp_path / "net_cam1.mat", content)
    with pytest.raises(ValueError, match=message):
        read_mat_features(tmp_path, "net", [1], [1, 2])


def test_mat_file_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=re.escape("net_cam1.mat does not exist")):
        read_mat_features(tmp_path, "net", [1], [1])


def test_mat_file_of_version_7_3_is_told_from_others(tmp_path: Path) -> None:
    head = b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM"
    (tmp_path / "net_cam1.mat").write_bytes(head)
    with pytest.raises(ValueError, match=re.escape("of version 7.3; save it again with -v7")):
        read_mat_features(tmp_path, "net", [1], [1])


@pytest.mark.parametrize("content", [b"", b"hello", b"MATLAB 5.0 MAT-file".ljust(124) + b"\x00\x01IM" + b"cut"])
def test_damaged_mat_file_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "net_cam1.mat").write_bytes(content)
    with pytest.raises(ValueError, match=r"net_cam1.mat (cannot be read as a MATLAB file|must hold a cell array)"):
        read_mat_features(tmp_path, "net", [1], [1])


@pytest.mark.parametrize("name", ["test_id.mat", "test_id.txt"])
def test_identities_of_the_test_split_are_read_from_either_file(name: str, tmp_path: Path) -> None:
    if name == "test_id.mat":
        scipy.io.savemat(tmp_path / name, {"id": np.array([[10, 6, 21]], dtype=np.uint16)})
    else:
        (tmp_path / name).write_text("10,6,21\n", encoding="utf-8")
    assert read_test_identities(tmp_path) == ([6, 10, 21], tmp_path / name)


def test_folder_without_the_test_split_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=re.escape("neither test_id.mat nor test_id.txt")):
        read_test_identities(tmp_path)
    scipy.io.savemat(tmp_path / "test_id.mat", {"ids": np.ones((1, 3))})
    with pytest.raises(ValueError, match="must hold numbers named 'id'"):
        read_test_identities(tmp_path)


@pytest.mark.parametrize(
    "content",
    [[[math.inf, 2]], [[math.nan]], [[-1]], [[1.5]], [[2j]], [["a"]], [[]], scipy.sparse.eye_array(3), {"a": 1}],
)
def test_identities_that_are_no_numbers_from_one_are_refused(content: Any, tmp_path: Path) -> None:
    scipy.io.savemat(tmp_path / "test_id.mat", {"id": content})
    with pytest.raises(ValueError, match=r"test_id\.mat must hold numbers named 'id', from 1, but does not"):
        read_test_identities(tmp_path)


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [
        ("f8", torch.float64),
        ("f4", torch.float32),
        ("f2", torch.float16),
        (">f4", torch.float32),
        ("i4", torch.float64),
    ],
)
def test_npz_features_keep_their_precision(dtype: str, expected: torch.dtype, tmp_path: Path) -> None:
    np.savez(tmp_path / "net.npz", **arrays(features=np.arange(12).reshape(4, 3).astype(dtype)))
    saved = read_npz_features(tmp_path / "net.npz", ALL)
    assert saved.features.dtype == expected
    assert saved.features.tolist() == np.arange(12.0).reshape(4, 3).tolist()
    assert [column.tolist() for column in saved[1:5]] == [[p, p + 1, p + 2, p + 3] for p in range(4)]


def test_npz_labels_that_are_not_asked_for_need_not_be_there(tmp_path: Path) -> None:
    content = arrays()
    del content["cameras"]
    np.savez(tmp_path / "net.npz", **content)
    saved = read_npz_features(tmp_path / "net.npz", ("identities", "modalities"))
    assert saved.cameras.tolist() == saved.numbers.tolist() == [0, 0, 0, 0]
    with pytest.raises(ValueError, match="must hold the arrays features, identities, cameras, but cameras is missing"):
        read_npz_features(tmp_path / "net.npz", ("identities", "cameras"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"features": np.arange(4.0)}, "features must be numbers (N, D), got ndarray float64 (4,)"),
        ({"features": np.ones((0, 3))}, "got ndarray float64 (0, 3)"),
        ({"features": np.full((4, 3), np.inf)}, "features must be finite, but 12 are not"),
        ({"features": np.ones((4, 3), bool)}, "got ndarray bool (4, 3)"),
        ({"features": np.full((4, 3), "a")}, "features must be numbers (N, D)"),
        ({"identities": np.arange(3)}, "identities must be 4 integers, one per image, got int64 (3,)"),
        ({"cameras": np.ones(4)}, "cameras must be 4 integers, one per image, got float64 (4,)"),
        ({"numbers": np.array([{}] * 4)}, "cannot be read as a .npz file"),
    ],
)
def test_npz_file_of_something_else_is_refused(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "net.npz", **arrays(**changes))
    with pytest.raises(ValueError, match=re.escape(message)):
        read_npz_features(tmp_path / "net.npz", ALL)


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04cut"])
def test_damaged_npz_file_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "net.npz").write_bytes(content)
    with pytest.raises(ValueError, match=re.escape("cannot be read as a .npz file")):
        read_npz_features(tmp_path / "net.npz", ALL)


def test_npz_file_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=re.escape("net.npz does not exist")):
        read_npz_features(tmp_path / "net.npz", ALL)


def test_images_of_other_identities_are_left_out(tmp_path: Path) -> None:
    np.savez(tmp_path / "net.npz", **arrays())
    saved = read_npz_features(tmp_path / "net.npz", ALL)
    kept = with_identities(saved, [1, 3, 8])
    assert kept.features.tolist() == [[3, 4, 5], [9, 10, 11]]
    assert [column.tolist() for column in kept[1:5]] == [[1, 3], [2, 4], [3, 5], [4, 6]]
    with pytest.raises(ValueError, match=re.escape("net.npz has no image of the 1 identities of the test split")):
        with_identities(saved, [8])

from pathlib import Path

import numpy as np
import pytest

from reid.data_sets.regdb import read_images

LISTS = {
    "train_visible_1": ["Visible/12/a.bmp 0", "Visible/12/b.bmp 0", "Visible/30/a.bmp 1"],
    "train_thermal_1": ["Thermal/12/c.bmp 0", "Thermal/30/d.bmp 1"],
    "test_visible_1": ["Visible/7/z.bmp 5", "Visible/7/a.bmp 5"],
    "test_thermal_1": ["Thermal/7/t.bmp 5"],
    "train_visible_10": ["Visible/7/z.bmp 0"],
    "train_thermal_10": ["Thermal/7/t.bmp 0"],
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "cam3" / "thermal_visible"  # words of the layout in the path must not confuse the reader
    for name, lines in LISTS.items():
        write_list(folder, name, "\n".join(lines) + "\n")
        for line in lines:
            image = folder / line.split()[0]
            image.parent.mkdir(parents=True, exist_ok=True)
            image.touch()
    return folder


def write_list(root: Path, name: str, text: str) -> None:
    (root / "idx").mkdir(parents=True, exist_ok=True)
    (root / "idx" / f"{name}.txt").write_bytes(text.encode())


def test_visible_images_come_first_each_in_the_order_of_its_file(root: Path) -> None:
    images = read_images(root, 1, "train")
    names = ["Visible/12/a.bmp", "Visible/12/b.bmp", "Visible/30/a.bmp", "Thermal/12/c.bmp", "Thermal/30/d.bmp"]
    assert [path.relative_to(root).as_posix() for path in images.paths] == names
    assert images.modalities.tolist() == [0, 0, 0, 1, 1]
    assert images.identities.tolist() == [0, 0, 1, 0, 1]


def test_number_counts_the_images_of_an_identity_in_a_modality(root: Path) -> None:
    assert read_images(root, 1, "train").numbers.tolist() == [1, 2, 1, 1, 1]


def test_camera_is_one_for_visible_and_two_for_thermal(root: Path) -> None:
    assert read_images(root, 1, "train").cameras.tolist() == [1, 1, 1, 2, 2]


def test_parts_and_splits_have_files_of_their_own(root: Path) -> None:
    assert [path.name for path in read_images(root, 1, "test").paths] == ["z.bmp", "a.bmp", "t.bmp"]
    assert [path.name for path in read_images(root, 10, "train").paths] == ["z.bmp", "t.bmp"]


def test_columns_are_64_bit_integers(root: Path) -> None:
    assert {column.dtype for column in read_images(root, 1, "test")[1:]} == {np.dtype(np.int64)}


def test_stray_files_are_ignored(root: Path) -> None:
    expected = read_images(root, 1, "train")
    for name in ("Thumbs.db", ".DS_Store", "._a.bmp", "new.bmp"):
        (root / "Visible" / "12" / name).touch()
    (root / "idx" / "Thumbs.db").touch()
    assert read_images(root, 1, "train").paths == expected.paths


@pytest.mark.parametrize(
    "text",
    [
        "Visible/7/z.bmp 5\r\nVisible/7/a.bmp 5\r\n",
        "\ufeffVisible/7/z.bmp 5\nVisible/7/a.bmp 5",
        "Visible\\7\\z.bmp 5\nVisible\\7\\a.bmp 5\n\n",
        "./Visible/7/z.bmp\t5\n  Visible/7/a.bmp  5 \n",
    ],
)
def test_lines_may_end_and_part_as_any_system_does(root: Path, text: str) -> None:
    expected = read_images(root, 1, "test")
    write_list(root, "test_visible_1", text)
    assert read_images(root, 1, "test").paths == expected.paths


def test_path_with_a_blank_is_read(root: Path) -> None:
    (root / "Visible" / "7" / "a b.bmp").touch()
    write_list(root, "test_visible_1", "Visible/7/a b.bmp 5\n")
    assert read_images(root, 1, "test").paths[0].name == "a b.bmp"


@pytest.mark.parametrize(
    "line", ["x.bmp", "x.bmp five", "5", "<html>", "x.bmp -5", "/x.bmp 5", f"x.bmp {2**63}", "x.bmp ٣"]
)
def test_line_that_is_no_path_and_label_is_shown(root: Path, line: str) -> None:
    write_list(root, "test_visible_1", f"Visible/7/a.bmp 5\n{line}\n")
    with pytest.raises(ValueError, match=r"test_visible_1\.txt must hold lines such as") as caught:
        read_images(root, 1, "test")
    assert repr(line) in str(caught.value)


def test_empty_split_file_is_refused(root: Path) -> None:
    write_list(root, "test_visible_1", "\n")
    with pytest.raises(ValueError, match=r"test_visible_1\.txt must hold lines .* but is empty"):
        read_images(root, 1, "test")


def test_wrong_folder_is_reported_with_what_is_expected_found_and_missing(root: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        read_images(root / "Visible", 1, "train")
    message = str(caught.value)
    assert "is not laid out as RegDB: expected the folders Visible and Thermal" in message
    assert "4,120 images of 412 identities" in message
    assert "2,060 images of 206 identities" in message
    assert "applied for at dm.dongguk.edu" in message
    assert "found 12, 30, 7" in message
    assert "idx/train_visible_1.txt, idx/train_thermal_1.txt missing" in message


def test_missing_folder_is_reported(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere is not a folder: expected the folders Visible and Thermal"):
        read_images(tmp_path / "nowhere", 1, "train")


def test_missing_split_file_is_named(root: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"; idx/test_visible_2\.txt, idx/test_thermal_2\.txt missing\.$"):
        read_images(root, 2, "test")


@pytest.mark.parametrize("split", [0, 11, "1"])
def test_unknown_split_is_refused(root: Path, split: int) -> None:
    with pytest.raises(ValueError, match=f"split must be 1 to 10, but is {split!r}"):
        read_images(root, split, "train")


def test_unknown_part_is_refused(root: Path) -> None:
    with pytest.raises(ValueError, match="part must be one of train, test, but is 'val'"):
        read_images(root, 1, "val")  # type: ignore[arg-type]

import re
from pathlib import Path

import numpy as np
import pytest

from reid.data_sets.llcm import read_images

TRAIN = {
    "vis": ["vis/0003/0003_c02_s1_vis.jpg 1", "vis/0001/0001_c10_s2_vis.jpg 0", "vis/0001/0001_c09_s1_vis.jpg 0"],
    "nir": ["nir/0001/0001_c04_s1_nir.jpg 0", "nir/0003/0003_c01_s1_nir.jpg 1"],
}
TEST = [
    "test_vis/cam3/0007/0007_c03_s10_vis.jpg",
    "test_vis/cam3/0007/0007_c03_s9_vis.jpg",
    "test_vis/cam1/0007/x.jpg",
    "test_vis/cam9/0002/x.jpg",
    "test_vis/cam9/0004/stranger.jpg",
    "test_nir/cam2/0007/x.jpg",
    "test_nir/cam8/0002/b.jpg",
    "test_nir/cam8/0002/a.jpg",
]
# In the order identity, camera, name as text.
VISIBLE = ["cam9/0002/x.jpg", "cam1/0007/x.jpg", "cam3/0007/0007_c03_s10_vis.jpg", "cam3/0007/0007_c03_s9_vis.jpg"]
INFRARED = ["cam8/0002/a.jpg", "cam8/0002/b.jpg", "cam2/0007/x.jpg"]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "cam5" / "c06_vis"  # words of the layout in the path must not confuse the reader
    for name in [*TEST, *(line.split()[0] for lines in TRAIN.values() for line in lines)]:
        touch(folder / name)
    (folder / "idx").mkdir()
    for kind, lines in TRAIN.items():
        (folder / "idx" / f"train_{kind}.txt").write_text("\n".join(lines) + "\n")
    (folder / "idx" / "test_id.txt").write_text("7,2\n")
    return folder


def touch(file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.touch()


def test_test_images_come_in_the_order_modality_identity_camera_name(root: Path) -> None:
    images = read_images(root, "test")
    names = [f"test_vis/{name}" for name in VISIBLE] + [f"test_nir/{name}" for name in INFRARED]
    assert [path.relative_to(root).as_posix() for path in images.paths] == names
    assert images.modalities.tolist() == [0] * 4 + [1] * 3
    assert images.identities.tolist() == [2, 7, 7, 7, 2, 2, 7]
    assert images.cameras.tolist() == [9, 1, 3, 3, 8, 8, 2]


def test_number_counts_the_images_of_an_identity_under_a_camera(root: Path) -> None:
    assert read_images(root, "test").numbers.tolist() == [1, 1, 1, 2, 1, 2, 1]


def test_training_images_are_those_of_the_lists_with_their_labels(root: Path) -> None:
    images = read_images(root, "train")
    lines = [f"{path.relative_to(root).as_posix()} {label}" for path, label in zip(*images[:2], strict=True)]
    assert sorted(lines[:3]) == sorted(TRAIN["vis"])
    assert sorted(lines[3:]) == sorted(TRAIN["nir"])
    assert images.modalities.tolist() == [0, 0, 0, 1, 1]


def test_camera_of_a_training_image_is_read_off_its_name(root: Path) -> None:
    images = read_images(root, "train")
    assert images.cameras.tolist() == [9, 10, 2, 4, 1]


def test_camera_of_a_training_image_is_zero_where_no_name_tells_it(root: Path) -> None:
    touch(root / "vis" / "plain.jpg")
    (root / "idx" / "train_vis.txt").write_text("vis/plain.jpg 0\n")
    assert read_images(root, "train").cameras[0] == 0


def test_name_of_a_file_tells_its_camera_before_its_folder_does(root: Path) -> None:
    for name in ("vis/cam7/x.jpg", "vis/cam7/0001_c08_x.jpg"):
        touch(root / name)
    (root / "idx" / "train_vis.txt").write_text("vis/cam7/x.jpg 0\nvis/cam7/0001_c08_x.jpg 0\n")
    assert read_images(root, "train").cameras[:2].tolist() == [7, 8]


def test_columns_are_64_bit_integers(root: Path) -> None:
    assert {column.dtype for column in read_images(root, "test")[1:]} == {np.dtype(np.int64)}


def test_stray_files_are_ignored(root: Path) -> None:
    expected = read_images(root, "test")
    for name in ("Thumbs.db", ".DS_Store", "._x.jpg", "x.jpg.part", "notes.txt"):
        touch(root / "test_vis" / "cam1" / "0007" / name)
    touch(root / "test_vis" / "Thumbs.db")
    touch(root / "test_vis" / "camera" / "0007" / "x.jpg")
    touch(root / "test_vis" / "cam1" / ".thumbs7" / "x.jpg")
    touch(root / "test_vis" / "cam1.txt")
    assert read_images(root, "test").paths == expected.paths


@pytest.mark.parametrize("name", ["Cam1", "CAM_1", "camera01", "cam1 (copy)", "cam1_old", "cam-1"])
def test_folder_that_looks_like_a_camera_and_would_not_be_read_is_refused(root: Path, name: str) -> None:
    (root / "test_vis" / "cam1").rename(root / "test_vis" / name)
    with pytest.raises(ValueError, match=rf"test_vis has 1 folders that would not be read: {re.escape(name)}; name a"):
        read_images(root, "test")


@pytest.mark.parametrize("name", ["7", "007", "00007", "0007_old", "id0007"])
def test_folder_that_looks_like_an_identity_and_would_not_be_read_is_refused(root: Path, name: str) -> None:
    (root / "test_nir" / "cam2" / "0007").rename(root / "test_nir" / "cam2" / name)
    with pytest.raises(ValueError, match=rf"cam2 has 1 folders that would not be read: {name}; .* like 0001"):
        read_images(root, "test")


def test_identity_that_is_listed_twice_has_its_images_once(root: Path) -> None:
    expected = read_images(root, "test")
    (root / "idx" / "test_id.txt").write_text("7,2,7\n")
    assert read_images(root, "test").paths == expected.paths


def test_identities_of_the_published_protocol_go_before_lists_of_test_images(root: Path) -> None:
    expected = read_images(root, "test")
    for kind in ("vis", "nir"):
        (root / "idx" / f"test_{kind}.txt").write_text(TRAIN[kind][0])
    assert read_images(root, "test").paths == expected.paths


@pytest.fixture
def listed(root: Path) -> Path:
    """The same test images, but named by lists and without folders of cameras."""
    (root / "idx" / "test_id.txt").unlink()
    vis, nir = ["vis/0002/0002_c09_s1_vis.jpg 2", "vis/0007/0007_c01_s1_vis.jpg 7"], ["nir/0007/0007_c02_s1_nir.jpg 7"]
    for kind, lines in {"vis": vis, "nir": nir}.items():
        (root / "idx" / f"test_{kind}.txt").write_text("\n".join(lines))
        for line in lines:
            touch(root / line.split()[0])
    return root


def test_lists_of_test_images_are_taken_where_there_are_any(listed: Path) -> None:
    images = read_images(listed, "test")
    assert images.identities.tolist() == [2, 7, 7]
    assert images.cameras.tolist() == [9, 1, 2]
    assert images.modalities.tolist() == [0, 0, 1]


def test_listed_test_image_without_a_camera_is_refused(listed: Path) -> None:
    touch(listed / "nir" / "plain.jpg")
    (listed / "idx" / "test_nir.txt").write_text("nir/plain.jpg 7")
    with pytest.raises(ValueError, match=r"plain\.jpg must tell its camera by a part of its name such as c06"):
        read_images(listed, "test")


def test_wrong_folder_is_reported_with_what_is_expected_found_and_missing(root: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        read_images(root / "vis", "train")
    message = str(caught.value)
    assert "is not laid out as LLCM: expected idx/train_vis.txt" in message
    assert "30,921 images of 713 identities" in message
    assert "15,846 images of 351 identities" in message
    assert "applied for at its authors' page, github.com/ZYK100/LLCM" in message
    assert "found 0001, 0003; idx/train_vis.txt, idx/train_nir.txt missing" in message


def test_missing_test_folder_is_named(root: Path) -> None:
    (root / "test_nir").rename(root / "elsewhere")
    with pytest.raises(FileNotFoundError, match=r"; test_nir missing\.$"):
        read_images(root, "test")


def test_test_identities_without_images_are_refused(root: Path) -> None:
    (root / "idx" / "test_id.txt").write_text("55")
    with pytest.raises(ValueError, match=r"No image of the test identities .* test_vis/cam1/0001/name\.jpg"):
        read_images(root, "test")


def test_unreadable_test_identities_are_refused_with_the_file_named(root: Path) -> None:
    (root / "idx" / "test_id.txt").write_bytes(b"\xff\xfe7")
    with pytest.raises(ValueError, match=r"test_id\.txt must hold identities on one line"):
        read_images(root, "test")


def test_unknown_part_is_refused(root: Path) -> None:
    with pytest.raises(ValueError, match="part must be one of train, test, but is 'val'"):
        read_images(root, "val")  # type: ignore[arg-type]

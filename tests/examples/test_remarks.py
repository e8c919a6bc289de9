from pathlib import Path

import numpy as np
import pytest

from reid.data_sets.layout import Entry, ImageList, list_images
from reid.data_sets.remarks import Counts, remarks_of

COUNTS = {
    "SYSU-MM01 train": (296, 20284, 9929),
    "SYSU-MM01 val": (99, 1974, 1980),
    "SYSU-MM01 trainval": (395, 22258, 11909),
    "SYSU-MM01 test": (96, 6775, 3803),
    "RegDB train": (206, 2060, 2060),
    "RegDB test": (206, 2060, 2060),
    "LLCM train": (713, 16946, 13975),
    "LLCM test": (351, 8680, 7166),
}


REAL = {name: Counts(*counts) for name, counts in COUNTS.items()}


def numbered(identities: int, visible: int, infrared: int) -> ImageList:
    """So many images, of which every identity has some in both modalities."""
    modalities = np.repeat([0, 1], [visible, infrared])
    owners = np.concatenate([np.arange(visible), np.arange(infrared)]) % identities
    paths = tuple(Path(f"{owner}/{row}.jpg") for row, owner in enumerate(owners))
    return ImageList(paths, owners, owners, owners, modalities)


def listed(*lines: str) -> ImageList:
    """Images from lines such as ``Visible/12/a.bmp 0``."""
    pairs = [line.split() for line in lines]
    return list_images(Entry(Path(path), int(label), 1, 1, int(path[0] == "T")) for path, label in pairs)


TRAIN = ["Visible/12/a.bmp 0", "Visible/30/a.bmp 1", "Thermal/12/a.bmp 0", "Thermal/30/a.bmp 1"]
TEST = ["Visible/7/a.bmp 0", "Visible/9/a.bmp 1", "Thermal/7/a.bmp 0", "Thermal/9/a.bmp 1"]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "counts"), COUNTS.items())
def test_real_counts_raise_no_remark(name: str, counts: tuple[int, int, int]) -> None:
    assert remarks_of({name: numbered(*counts)}, REAL) == []


@pytest.mark.parametrize("counts", [(205, 2060, 2060), (206, 2059, 2060), (206, 2060, 2061)])
def test_any_other_counts_raise_a_remark(counts: tuple[int, int, int]) -> None:
    assert len(remarks_of({"RegDB test": numbered(*counts)}, REAL)) == 1


def test_remark_tells_the_counts_that_were_expected_and_found() -> None:
    (line,) = remarks_of({"SYSU-MM01 trainval": numbered(3, 6, 4)}, REAL)
    assert "SYSU-MM01 trainval has 395 identities with 22,258 visible and 11,909 infrared images" in line
    assert "found 3 identities with 6 visible and 4 infrared images: scores do not compare" in line


def test_lists_that_agree_are_remarked_on_by_their_size_alone() -> None:
    lines = remarks_of({"RegDB train": listed(*TRAIN), "RegDB test": listed(*TEST)}, REAL)
    assert [line.split(" has ")[0] for line in lines] == ["RegDB train", "RegDB test"]


@pytest.mark.parametrize(
    ("train", "test", "sentence"),
    [
        (TRAIN, [*TEST, "Visible/12/b.bmp 2"], r"1 persons are both in RegDB train and in RegDB test, .*: 12; take"),
        (TRAIN, [*TEST, "Thermal/30/b.bmp 2", "Visible/12/a.bmp 3"], r"2 persons are both in .*: 12, 30; take"),
        ([*TRAIN, "Thermal/7/b.bmp 2"], TEST, r"1 persons are both in .*: 7; take"),
    ],
)
def test_person_in_train_and_test_is_refused_whatever_the_labels_are(
    train: list[str], test: list[str], sentence: str
) -> None:
    with pytest.raises(ValueError, match=sentence):
        remarks_of({"RegDB train": listed(*train), "RegDB test": listed(*test)}, REAL)


def test_folder_of_many_identities_is_nobodys() -> None:
    train = [line.replace("12/", "").replace("30/", "b") for line in TRAIN]
    test = [line.replace("7/", "c").replace("9/", "d") for line in TEST]
    assert len(remarks_of({"RegDB train": listed(*train), "RegDB test": listed(*test)}, REAL)) == 2


@pytest.mark.parametrize(
    ("train", "test", "places"),
    [
        ([*TRAIN, "Visible/30/a.bmp 1"], TEST, "RegDB train, visible, identity 1; RegDB train, visible, identity 1"),
        ([*TRAIN, "Visible/12/a.bmp 1"], TEST, "RegDB train, visible, identity 0; RegDB train, visible, identity 1"),
        ([*TRAIN, "Thermal/../Visible/12/a.bmp 0"], TEST, "train, visible, identity 0; RegDB train, infrared, id"),
        (TRAIN, [*TEST, "Thermal/../Visible/7/a.bmp 0"], "test, visible, identity 0; RegDB test, infrared, identity 0"),
        (["Visible/a.bmp 3", "Visible/b.bmp 4", *TRAIN], ["Visible/b.bmp 2", "Visible/c.bmp 3", *TEST], "in, v.*test"),
    ],
    ids=["line twice", "two labels", "two modalities", "query and gallery", "train and test"],
)
def test_file_that_is_listed_twice_is_refused_with_both_places(train: list[str], test: list[str], places: str) -> None:
    with pytest.raises(ValueError, match=rf"^1 image files are listed more than once, such as .*\.bmp \(.*{places}"):
        remarks_of({"RegDB train": listed(*train), "RegDB test": listed(*test)}, REAL)


def test_file_under_a_second_name_is_the_same_file(tmp_path: Path) -> None:
    (tmp_path / "Visible").mkdir()
    (tmp_path / "Visible" / "a.bmp").touch()
    (tmp_path / "Visible" / "b.bmp").symlink_to(tmp_path / "Visible" / "a.bmp")
    paths = [tmp_path / "Visible" / name for name in ("a.bmp", "b.bmp")]
    images = list_images(Entry(path, place, 1, 1, place) for place, path in enumerate(paths))
    with pytest.raises(ValueError, match=r"a\.bmp \(RegDB test, visible, identity 0; RegDB test, infrared, identity 1"):
        remarks_of({"RegDB test": images}, REAL)


def test_long_list_of_complaints_is_cut_short() -> None:
    people = numbered(400, 800, 800)
    with pytest.raises(ValueError, match=r"^400 persons are .* and 392 more; take") as caught:
        remarks_of({"RegDB train": people, "RegDB test": people._replace(identities=people.identities + 7)}, REAL)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("name", ["RegDB train", "RegDB test"])
def test_labels_that_never_meet_across_modalities_are_refused(name: str) -> None:
    lines = [line.replace(" 0", " 5").replace(" 1", " 6") if line[0] == "T" else line for line in TRAIN]
    with pytest.raises(
        ValueError, match=rf"^No identity of {name} is seen in both modalities \(2 in visible images, 2"
    ):
        remarks_of({name: listed(*lines)}, REAL)


@pytest.mark.parametrize("kind", ["V", "T"])
def test_list_without_a_modality_is_refused(kind: str) -> None:
    with pytest.raises(ValueError, match="No identity of RegDB test is seen in both modalities"):
        remarks_of({"RegDB test": listed(*(line for line in TEST if line[0] == kind))}, REAL)


def test_identities_of_one_modality_alone_are_told() -> None:
    lines = remarks_of({"RegDB train": listed(*TRAIN, "Visible/40/a.bmp 8", "Thermal/41/a.bmp 9")}, REAL)
    assert lines[1:] == ["RegDB train: 2 identities are seen in one modality alone: 8, 9."]


def test_labels_that_mean_other_persons_in_the_other_modality_are_refused() -> None:
    with pytest.raises(
        ValueError, match=r"^2 persons of RegDB train have two labels, .*: 12 \(0, 1\), 30 \(0, 1\); give"
    ):
        remarks_of({"RegDB train": listed(*TRAIN[:2], "Thermal/12/a.bmp 1", "Thermal/30/a.bmp 0")}, REAL)


def test_folders_of_one_identity_with_different_names_are_told() -> None:
    lines = remarks_of({"RegDB train": listed(*TRAIN[:2], "Thermal/t12/a.bmp 0", "Thermal/t30/a.bmp 1")}, REAL)
    assert lines[1:] == [
        "RegDB train: 2 identities lie in folders of several names: 0 (12, t12), 1 (30, t30); are the labels right?"
    ]

"""The report is a page by itself, shows what it says, survives whatever a folder lacks, and looks nowhere else."""

import math
import sys
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from examples.run_folder import DPI, make_embeddings, write_log, write_results
from modinv import INFRARED, VISIBLE
from reid.report import write_report
from reid.report.__main__ import main
from reid.report.figures import draw_cmc, draw_space, draw_training
from reid.report.page import models_of
from reid.report.retrievals import draw_retrievals, find_images, retrieve
from reid.training.snapshot import Embeddings, read_embeddings, write_embeddings
from reid.training.training_log import read_csv

HOSTILE = '<script>alert("x")</script> & $\\frac{a$ 行人 _'


class _Page(HTMLParser):
    """Collects what a page is made of."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_data(self, data: str) -> None:
        if data.strip():
            self.words.append(data.strip())


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of two models, with everything that belongs to it."""
    folder = tmp_path_factory.mktemp("whole")
    write_results(folder, "baseline", "+ both", data=folder / "images", synthetic=True, warning="CHOSEN ON TEST")
    embeddings = make_embeddings(folder / "images")
    for stem in ("baseline-seed0", "both-seed0"):
        write_log(folder / f"{stem}.csv")
        write_embeddings(folder / f"{stem}.npz", embeddings)
    return write_report(folder, dpi=DPI)


def words(path: Path) -> str:
    return " ".join(_Page(path.read_text(encoding="utf-8")).words)


def test_page_holds_every_picture_and_leaves_nothing_out(whole: Path) -> None:
    parsed = _Page(whole.read_text(encoding="utf-8"))
    assert "Left out" not in words(whole)
    assert parsed.tags.count("img") == 6  # CMC, training, and two for each model
    assert "+ both  50.00" in words(whole)
    assert '"data": ' in words(whole)


def test_page_needs_nothing_beside_it(whole: Path) -> None:
    parsed = _Page(whole.read_text(encoding="utf-8"))
    assert not {"script", "link", "iframe", "object"} & set(parsed.tags)
    assert all(value.startswith("data:image/png;base64,") for name, value in parsed.attributes if name == "src")
    assert all(value for name, value in parsed.attributes if name == "alt")
    assert not [name for name, _ in parsed.attributes if name in ("href", "srcset")]


def test_scores_that_are_no_results_are_said_to_be_none(whole: Path) -> None:
    assert "no number here is one of a real data set" in words(whole)
    assert "CHOSEN ON TEST" in words(whole)


@pytest.mark.slow
def test_report_is_a_function_of_the_folder(tmp_path: Path) -> None:
    write_results(tmp_path, "baseline")
    write_embeddings(tmp_path / "baseline-seed0.npz", make_embeddings())
    first = write_report(tmp_path, dpi=DPI).read_bytes()
    assert write_report(tmp_path, dpi=DPI).read_bytes() == first


def test_command_line_draws_a_folder_and_refuses_what_is_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(tmp_path)]) == 0
    assert capsys.readouterr().out == f"written to {tmp_path / 'report.html'}\n"
    assert main([str(tmp_path / "none")]) == 2
    assert "must be the folder of a run" in capsys.readouterr().err


@pytest.mark.parametrize("content", [None, b"", b"PK\x03\x04 torn", b"[]", b"\xff\xfe\x00", b'{"rows": [{}]}'])
def test_missing_and_damaged_files_become_sentences(tmp_path: Path, content: bytes | None) -> None:
    for name in ("results.json", "both-seed0.csv", "both-seed0.npz") if content is not None else ():
        (tmp_path / name).write_bytes(content or b"")
    said = words(write_report(tmp_path, dpi=DPI))
    assert said.count("Left out (") == (4 if content is None else 6)


@pytest.mark.slow
def test_damaged_model_costs_its_own_pictures_only(tmp_path: Path) -> None:
    embeddings = make_embeddings(tmp_path / "images")
    write_results(tmp_path, "baseline", data=tmp_path / "images")
    write_log(tmp_path / "baseline-seed0.csv", value="inf")
    write_embeddings(tmp_path / "baseline-seed0.npz", embeddings._replace(after=embeddings.after * math.nan))
    write_embeddings(tmp_path / "both-seed0.npz", embeddings)
    page = write_report(tmp_path, dpi=DPI)
    assert words(page).count("baseline-seed0.npz holds embeddings that are not finite: the model has diverged") == 2
    assert words(page).count("Left out") == 2
    assert page.read_text(encoding="utf-8").count("<img ") == 4


def test_names_are_escaped_and_drawn(tmp_path: Path) -> None:
    write_results(tmp_path, HOSTILE, "_hidden", note=HOSTILE)
    text = write_report(tmp_path, dpi=DPI).read_text(encoding="utf-8")
    assert "<script" not in text
    assert f"{HOSTILE}  50.00" in " ".join(_Page(text).words)
    assert text.count("<img ") == 1


def test_drawing_leaves_no_global_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "matplotlib.pyplot", raising=False)  # another test may have loaded it
    write_results(tmp_path, "baseline")
    settings: dict[Any, Any] = {"axes.facecolor": "black", "text.parse_math": True}
    with matplotlib.rc_context(settings):
        write_report(tmp_path, dpi=DPI)
        assert {name: matplotlib.rcParams[name] for name in settings} == settings
    assert "matplotlib.pyplot" not in sys.modules


def test_models_come_in_the_order_of_the_table(tmp_path: Path) -> None:
    for name in ("other-seed3.npz", "both-seed0.npz", "baseline-seed10.npz", "baseline-seed2.npz", "both-seed0.pt"):
        (tmp_path / name).touch()
    names = [path.name for path in models_of(tmp_path, ".npz")]
    assert names == ["baseline-seed2.npz", "baseline-seed10.npz", "both-seed0.npz", "other-seed3.npz"]


def test_embeddings_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    embeddings = make_embeddings()
    write_embeddings(tmp_path / "a.npz", embeddings._replace(paths=embeddings.paths[1:]))
    with pytest.raises(ValueError, match="one row for each image"):
        read_embeddings(tmp_path / "a.npz")


def test_log_is_drawn_as_it_was_written(tmp_path: Path) -> None:
    write_log(tmp_path / "log.csv")
    with (tmp_path / "log.csv").open("a") as file:
        file.write("4,3")  # torn
    figure = draw_training({"model": read_csv(tmp_path / "log.csv"), "empty": []})
    assert [axis.get_title() for axis in figure.axes] == ["modality_gap", "total", ""]  # no memory on a CPU
    assert np.asarray(figure.axes[0].get_lines()[0].get_xydata()).tolist() == [[1, 3], [2, 1.5], [3, 1]]


def test_cmc_is_the_mean_over_the_seeds_from_rank_one() -> None:
    runs = [{"mean": {"cmc": [0.25, 0.5]}}, {"mean": {"cmc": [0.5, 1.0]}}]
    (axis,) = draw_cmc([{"method": "m", "runs": runs}]).axes
    assert np.asarray(axis.get_lines()[0].get_xydata()).tolist() == [[1, 37.5], [2, 75]]


def test_map_is_that_of_the_principal_components() -> None:
    embeddings = make_embeddings()
    figure = draw_space(embeddings)
    unit = embeddings.after.numpy() / np.linalg.norm(embeddings.after.numpy(), axis=1, keepdims=True)
    centered = unit - unit.mean(0)
    expected = np.abs(centered @ np.linalg.svd(centered)[2][:2].T)[embeddings.modalities.numpy() == 0]
    drawn = np.abs(np.asarray(figure.axes[3].collections[0].get_offsets()))
    np.testing.assert_allclose(drawn, expected, atol=1e-9)


def test_histograms_are_those_of_pairs_across_the_modalities() -> None:
    embeddings = make_embeddings()
    apart = embeddings._replace(after=torch.eye(5, dtype=torch.float64).repeat_interleave(4, 0))
    assert draw_space(apart).axes[1].get_title() == "after, across modalities: overlap 0%"
    assert draw_space(apart._replace(after=torch.ones(20, 2).double())).axes[1].get_title().endswith("overlap 100%")


@pytest.mark.parametrize("asking", [VISIBLE, INFRARED])
def test_retrieval_finds_the_nearest_of_the_other_modality(asking: int) -> None:
    embeddings = make_embeddings(people=12)
    retrievals = retrieve(embeddings, asking=asking)
    assert len({int(embeddings.identities[query]) for query, _ in retrievals}) == 8
    for query, found in retrievals:
        assert int(embeddings.modalities[query]) == asking
        gallery = [row for row in range(48) if embeddings.modalities[row] != embeddings.modalities[query]]
        assert list(found) == sorted(gallery, key=lambda row: -cosine(embeddings.after, query, row))[:10]


def cosine(rows: Tensor, i: int, j: int) -> float:
    a, b = rows[i].tolist(), rows[j].tolist()
    return math.fsum(x * y for x, y in zip(a, b, strict=True)) / (math.hypot(*a) * math.hypot(*b))


def test_retrieval_asks_for_nobody_who_is_in_one_modality_only() -> None:
    embeddings = make_embeddings()
    embeddings.modalities[embeddings.identities == 20] = 1
    assert 20 not in {int(embeddings.identities[query]) for query, _ in retrieve(embeddings)}
    with pytest.raises(ValueError, match="no person is there in both modalities"):
        draw_retrievals(embeddings._replace(modalities=torch.ones(20).long()), Path())


def test_sheet_marks_right_and_wrong_by_sign_too(tmp_path: Path) -> None:
    embeddings = make_embeddings(tmp_path)
    titles = [text.get_text() for text in draw_retrievals(embeddings, tmp_path).axes[0].texts]
    same = [
        bool(embeddings.identities[q] == embeddings.identities[r]) for q, found in retrieve(embeddings) for r in found
    ]
    assert (titles.count("✓"), titles.count("✗")) == (sum(same), len(same) - sum(same))


def test_no_image_from_outside_the_data_folder_is_drawn(tmp_path: Path) -> None:
    data = tmp_path / "data"
    embeddings = make_embeddings(data)
    Image.new("RGB", (4, 9)).save(tmp_path / "private.png")
    (data / "link.png").symlink_to(tmp_path / "private.png")
    (data / "torn.png").write_bytes(b"torn")
    strange = (
        "../private.png",
        str(tmp_path / "private.png"),
        "cam1/../../private.png",
        "link.png",
        "torn.png",
        "cam1",
    )
    for path in strange:
        sheet = sheet_of(embeddings._replace(paths=(path,) * 20), data)
        assert np.array_equal(np.unique(sheet), [200, 255])  # gray on white
    assert len(np.unique(sheet_of(embeddings, data))) > 2


def sheet_of(embeddings: Embeddings, images: Path) -> Any:
    return draw_retrievals(embeddings, images).axes[0].images[0].get_array()


def test_images_are_found_from_the_working_folder_and_beside_the_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, data, provenance = tmp_path / "runs" / "a", tmp_path / "data", {"options": {"data": "data"}}
    folder.mkdir(parents=True)
    monkeypatch.chdir(folder)  # where no folder is called "data"
    with pytest.raises(FileNotFoundError, match="where the provenance says"):
        find_images(folder, provenance)
    data.mkdir()
    assert find_images(folder, provenance).resolve() == data
    monkeypatch.chdir(tmp_path)
    assert find_images(folder, provenance) == Path("data")

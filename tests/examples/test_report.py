"""The report is a page by itself, says what it shows, and survives whatever a folder lacks."""

import math
import subprocess
import sys
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
from PIL import Image

from examples.run_folder import DPI, make_embeddings, write_embeddings, write_log, write_results
from reid.report import write_report
from reid.report.__main__ import main
from reid.report.page import Picture, Section, page
from reid.report.reading import read_run
from reid.report.sections import _retrievals as draw_retrievals
from reid.report.tables import lead_of

HOSTILE = '<script>alert("x")</script> & $\\frac{a$ 行人 _'


class _Page(HTMLParser):
    """Collects what a page is made of."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.words: list[str] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if data.strip():
            self.words.append(data.strip())


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of two methods with two seeds, with everything that belongs to it."""
    root = tmp_path_factory.mktemp("root")
    folder = root / "runs" / "whole"
    folder.mkdir(parents=True)
    write_results(folder, {"baseline": [0.4, 0.44], "+ both": [0.6, 0.5]}, dataset=str(root / "images"))
    embeddings = make_embeddings(root / "images")
    for stem in ("baseline-seed0", "baseline-seed1", "both-seed0", "both-seed1"):
        write_log(folder / f"{stem}.csv")
        write_embeddings(folder / f"{stem}.npz", embeddings)
    return write_report(folder, dpi=DPI)


def words(path: Path) -> str:
    return " ".join(_Page(path.read_text(encoding="utf-8")).words)


def pictures(folder: Path) -> list[str]:
    return sorted(path.stem for path in (folder / "pictures").iterdir())


def test_page_holds_every_picture_and_leaves_nothing_out(whole: Path) -> None:
    text = whole.read_text(encoding="utf-8")
    assert "eft out" not in text
    models = [f"{kind}-{stem}-seed0" for kind in ("distances", "map", "retrievals") for stem in ("baseline", "both")]
    others = ["cmc", "differences", "methods", "modality-gap", "optimiser", "training"]
    assert pictures(whole.parent) == sorted([*models, *others])
    assert text.count("<img ") == len(models) + len(others)


def test_page_needs_nothing_beside_it(whole: Path) -> None:
    parsed = _Page(whole.read_text(encoding="utf-8"))
    assert not parsed.open
    assert not {"script", "link", "iframe", "object"} & set(parsed.tags)
    for name, value in parsed.attributes:
        assert name not in ("srcset", "style")
        if name in ("src", "href"):
            assert value.startswith("data:image/png;base64," if name == "src" else "#")


def test_every_picture_has_words_and_every_link_a_section(whole: Path) -> None:
    parsed = _Page(whole.read_text(encoding="utf-8"))
    assert all(value for name, value in parsed.attributes if name == "alt")
    targets = {f"#{value}" for name, value in parsed.attributes if name == "id"}
    assert {value for name, value in parsed.attributes if name == "href"} == targets


def test_table_has_mean_and_deviation_over_the_seeds(whole: Path) -> None:
    mean, deviation = (60 + 50) / 2, math.sqrt((60 - 55) ** 2 + (50 - 55) ** 2)
    assert f"+ both 2 {mean:.2f} ± {deviation:.2f}" in words(whole)


def test_provenance_is_told_down_to_the_checkpoints(whole: Path) -> None:
    assert "options / learning_rate 0.25" in words(whole)
    assert "checkpoint sha256 / + both, seed 1 1af5" in words(whole)


def test_dpi_is_that_of_the_pictures(whole: Path) -> None:
    with Image.open(whole.parent / "pictures" / "cmc.png") as picture:
        assert picture.width == 9 * DPI


def test_report_is_a_function_of_the_folder(tmp_path: Path) -> None:
    write_results(tmp_path, {"baseline": [0.4]})
    first = write_report(tmp_path, dpi=DPI).read_bytes()
    assert write_report(tmp_path, dpi=DPI).read_bytes() == first


def test_command_line_draws_a_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path), "--dpi", str(DPI)]) == 0
    assert capsys.readouterr().out == f"written to {tmp_path / 'report.html'}\n"


def test_command_line_refuses_what_is_no_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path / "none")]) == 2
    assert "must be the folder of a run" in capsys.readouterr().err


def test_dpi_must_be_positive(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="dpi must be at least 1, got 0"):
        write_report(tmp_path, dpi=0)


def test_empty_folder_has_a_page_of_sentences(tmp_path: Path) -> None:
    said = words(write_report(tmp_path, dpi=DPI))
    assert "There is no results.json" in said
    assert said.count("Left out:") == 8
    assert not (tmp_path / "pictures").exists()


def test_one_model_without_log_or_embeddings_has_table_and_curve(tmp_path: Path) -> None:
    write_results(tmp_path, {"baseline": [0.4]})
    said = words(write_report(tmp_path, dpi=DPI))
    assert "baseline 1 40.00" in said
    assert "a comparison needs two methods" in said
    assert "no METHOD-seedN.csv" in said
    assert "no METHOD-seedN.npz" in said
    assert pictures(tmp_path) == ["cmc"]


def test_missing_images_leave_out_the_retrievals_alone(tmp_path: Path) -> None:
    write_embeddings(tmp_path / "baseline-seed0.npz", make_embeddings())
    said = words(write_report(tmp_path, dpi=DPI))
    assert "Left out: the images are not where the provenance says" in said
    assert pictures(tmp_path) == ["distances-baseline-seed0", "map-baseline-seed0"]


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 torn", b"[]", b"\xff\xfe\x00", b'{"rows": [{}]}'])
def test_damaged_files_become_sentences(tmp_path: Path, content: bytes) -> None:
    for name in ("results.json", "both-seed0.csv", "both-seed0.npz"):
        (tmp_path / name).write_bytes(content)
    said = words(write_report(tmp_path, dpi=DPI))
    assert "results.json is not a whole results file" in said
    assert said.count("+ both, seed 0 is left out:") == 5
    assert "cannot be drawn" not in said


def test_retrievals_are_asked_in_the_direction_of_the_protocol(tmp_path: Path) -> None:
    embeddings = make_embeddings(tmp_path / "images")
    embeddings = embeddings._replace(cameras=tuple(row % 2 for row in range(20)))  # 0 visible, 1 infrared
    write_embeddings(tmp_path / "baseline-seed0.npz", embeddings)
    sheets = []
    for direction in ("visible-to-infrared", "infrared-to-visible"):
        write_results(tmp_path, {"baseline": [0.4]}, dataset=str(tmp_path / "images"), direction=direction)
        parts = draw_retrievals(read_run(tmp_path))
        (figure,) = (part.figure for part in parts if not isinstance(part, str))
        sheets.append({text.get_text() for text in figure.axes[0].texts})
    assert "id 0, cam 0" in sheets[0] - sheets[1]
    assert "id 0, cam 1" in sheets[1] - sheets[0]


def test_damaged_model_costs_its_own_pictures_only(tmp_path: Path) -> None:
    embeddings = make_embeddings()
    write_log(tmp_path / "baseline-seed0.csv", value="nan")
    (tmp_path / "baseline-seed1.csv").touch()
    write_embeddings(tmp_path / "baseline-seed0.npz", embeddings._replace(after=embeddings.after * math.nan))
    write_embeddings(tmp_path / "both-seed0.npz", embeddings)
    said = words(write_report(tmp_path, dpi=DPI))
    assert "baseline, seed 0 is left out: baseline-seed0.npz holds embeddings that are not finite" in said
    assert "baseline, seed 1 is left out: baseline-seed1.csv must have a column epoch" in said
    assert pictures(tmp_path) == ["distances-both-seed0", "map-both-seed0", "modality-gap", "optimiser", "training"]


def test_names_are_escaped_and_drawn(tmp_path: Path) -> None:
    write_results(tmp_path, {HOSTILE: [0.4, 0.5], "_hidden " * 9: [0.6, 0.4]}, note=HOSTILE)
    text = write_report(tmp_path, dpi=DPI).read_text(encoding="utf-8")
    assert "<script" not in text
    assert "cannot be drawn" not in text
    assert HOSTILE in _Page(text).words
    assert pictures(tmp_path) == ["cmc", "differences", "methods"]
    text = page(HOSTILE, [HOSTILE], [Section(HOSTILE, [HOSTILE], [[HOSTILE], [HOSTILE]], [Picture("a", b"", HOSTILE)])])
    assert "<script" not in text
    assert _Page(text).words.count(HOSTILE) == 9


def test_synthetic_images_are_said_to_be_synthetic(tmp_path: Path) -> None:
    sentence = "no number here is one of a real data set"
    write_results(tmp_path, {"baseline": [0.4]}, options={"synthetic": True})
    assert sentence in " ".join(lead_of(read_run(tmp_path)))
    write_results(tmp_path, {"baseline": [0.4]}, options={"synthetic": False})
    assert sentence not in " ".join(lead_of(read_run(tmp_path)))


def test_choice_on_the_test_set_is_said_loudly(tmp_path: Path) -> None:
    for select, said in (("test", True), ("validation", False)):
        write_results(tmp_path, {"baseline": [0.4]}, options={"select": select})
        assert ("CHOSEN ON THE TEST SET" in " ".join(lead_of(read_run(tmp_path)))) == said


def test_without_matplotlib_the_page_says_so_in_one_sentence(tmp_path: Path) -> None:
    write_results(tmp_path, {"+ both": [0.6, 0.5]})
    code = (
        "import sys; sys.modules['matplotlib'] = None\n"
        "from pathlib import Path; from reid.report import write_report\n"
        "print(write_report(Path(sys.argv[1])))"
    )
    examples = Path(__file__).parents[2] / "examples"
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, cwd=examples)
    assert done.returncode == 0, done.stderr
    said = words(Path(done.stdout.strip()))
    assert "There are no pictures, because matplotlib cannot be imported" in said
    assert "+ both 2 55.00" in said


def test_drawing_leaves_no_global_state(tmp_path: Path) -> None:
    write_results(tmp_path, {"baseline": [0.4], "+ both": [0.6]})
    settings: dict[Any, Any] = {"axes.facecolor": "black", "font.size": 33.0}
    with matplotlib.rc_context(settings):
        write_report(tmp_path, dpi=DPI)
        assert {name: matplotlib.rcParams[name] for name in settings} == settings
    with Image.open(tmp_path / "pictures" / "methods.png") as picture:
        assert np.median(np.asarray(picture.convert("L"))) > 240
    assert "matplotlib.pyplot" not in sys.modules

"""What the README and the docs show is run as it stands."""

import inspect
import re
import shutil
import subprocess
from operator import attrgetter
from pathlib import Path
from typing import Any

import pytest

import modinv
import modinv.distributed

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
DROP_INS = sorted((ROOT / "docs" / "drop_in").glob("*.md"))
# What a page tells the reader to write, and files of the repositories that drop-in pages edit.
NOT_THERE = {"NAME", "test_NAME", "center_alignment", "test_center_alignment", "energy_distance"}
NOT_THERE |= {"train", "train_ext", "train_mine", "baseline", "loss", "test"}


def code_blocks(page: Path) -> list[str]:
    blocks: list[str] = re.findall(r"^```python\n(.*?)^```", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    return blocks


def slow_where_it_compiles(page: Path) -> Any:
    compiles = any("torch.compile(" in block for block in code_blocks(page))
    return pytest.param(page, id=page.name, marks=pytest.mark.slow if compiles else ())


@pytest.mark.parametrize("page", [slow_where_it_compiles(page) for page in PAGES])
def test_code_blocks_run_in_order(page: Path) -> None:
    namespace: dict[str, object] = {}
    for block in code_blocks(page):
        exec(compile(block, str(page), "exec"), namespace)
    for name, test in namespace.items():
        if name.startswith("test_") and callable(test):
            test()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files_and_headings(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]*)(?:#[^)]*)?\)", page.read_text()):
        assert not target or (page.parent / target).exists(), target


def test_readme_use_of_the_library_is_eight_lines() -> None:
    assert len([line for line in code_blocks(PAGES[0])[0].splitlines() if line]) == 8


def test_readme_commands_name_extras_and_files_that_exist() -> None:
    commands = re.findall(r"^python -m pip install .*$", PAGES[0].read_text(), flags=re.MULTILINE)
    project = (ROOT / "pyproject.toml").read_text()
    assert len(commands) == 2
    for command in commands:
        assert all(f"\n{extra} = [" in project for extra in re.findall(r"\.\[(\w+)\]", command))
        assert all((ROOT / name).exists() for name in re.findall(r"python (examples/\S+)", command))


def test_ci_fails_in_a_sentence_where_the_readme_has_no_test_command(tmp_path: Path) -> None:
    (tmp_path / ".ci").mkdir()
    shutil.copy(ROOT / ".ci" / "run", tmp_path / ".ci")
    (tmp_path / "README.md").write_text("python -m pip install . && python -m pytest\n")  # not all of the tests
    result = subprocess.run(["bash", tmp_path / ".ci" / "run"], capture_output=True, text=True)
    assert result.returncode == 1
    assert result.stderr.count("\n") == 1
    assert "expects a line of README.md like" in result.stderr
    assert not (tmp_path / ".venv").exists()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_tests_that_a_page_names_exist(page: Path) -> None:
    tests = "\n".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    for name in re.findall(r"`(test_\w+)`", page.read_text()):
        assert f"def {name}(" in tests, name


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_files_that_a_page_names_exist(page: Path) -> None:
    files = [path.as_posix() for room in ("src", "tests", "examples") for path in (ROOT / room).rglob("*.py")]
    for name in re.findall(r"`([\w./]+\.py)`", page.read_text()):
        assert Path(name).stem in NOT_THERE or any(file.endswith(f"/{name}") for file in files), name


@pytest.mark.parametrize("page", DROP_INS, ids=lambda page: page.name)
def test_a_drop_in_page_counts_the_lines_of_its_edits(page: Path) -> None:
    text = page.read_text()
    said = [(int(added), int(removed)) for added, removed in re.findall(r"(\d+) lines? added, (\d+) removed", text)]
    edits = [edit.splitlines() for edit in re.findall(r"^```diff\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)]
    assert said == [tuple(sum(line.startswith(sign) for line in edit) for sign in "+-") for edit in edits]


@pytest.mark.parametrize("page", [page for page in PAGES if page.name != "contributing.md"], ids=lambda page: page.name)
def test_calls_that_a_page_names_have_these_options(page: Path) -> None:
    text = page.read_text()  # contributing.md names a loss that its reader adds
    for name, arguments in re.findall(r"\bmodinv\.([A-Za-z]\w*(?:\.\w+)*)(?:\(([^()\n]*)\))?", text):
        found = attrgetter(name)(modinv)
        for option in re.findall(r"(\w+)=", arguments):
            assert option in inspect.signature(found).parameters, f"{name}({option}=)"

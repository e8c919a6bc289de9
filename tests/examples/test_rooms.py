"""The order of the example's folders, and that a data set is known to one file."""

import ast
from pathlib import Path

import pytest

import evaluate
import reproduce_sysu
from reid.data_sets import DATA_SETS
from reid.data_sets.regdb import REGDB
from reid.experiments.arguments import parse

EXAMPLES = Path(reproduce_sysu.__file__).parent
FILES = sorted((EXAMPLES / "reid").rglob("*.py"))
# Every folder imports itself and those before it. The report reads what the experiments wrote.
ORDER = ["whole_file", "threads", "evaluation", "protocols", "drawing", "data_sets", "synthetic", "data", "network"]
ORDER += ["training", "experiments", "report"]
# Where a data set may be named: its own file, the mapping, and two doors that import from there and do nothing else.
DOORS = {"data_sets/__init__.py", "data/listing.py"}


def imported(path: Path) -> set[str]:
    """The folders of the example that a file imports."""
    nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    names = {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}
    return {name.split(".")[1] for name in names if name.startswith("reid.")}


def named_in_code(path: Path) -> str:
    """All names and texts of a file but its docstrings, and but texts with a blank, which are sentences."""
    words = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        words += [
            str(getattr(node, field)) for field in ("id", "attr", "name", "module", "arg") if hasattr(node, field)
        ]
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " not in node.value:
            words.append(node.value)
    return " ".join(words).lower()


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(EXAMPLES).as_posix())
def test_folder_imports_only_those_before_it(path: Path) -> None:
    room = path.relative_to(EXAMPLES / "reid").parts[0].removesuffix(".py")
    if room != "__init__":
        assert imported(path) <= set(ORDER[: ORDER.index(room) + 1])


@pytest.mark.parametrize("name", ["regdb", "llcm"])
def test_data_set_is_known_to_its_own_file_alone(name: str) -> None:
    files = {path.relative_to(EXAMPLES / "reid").as_posix() for path in FILES if name in named_in_code(path)}
    assert files - DOORS == {f"data_sets/{name}.py", f"synthetic/{name}.py"}


def test_script_of_the_evaluation_names_no_data_set() -> None:
    assert not [name for name in DATA_SETS if name in named_in_code(EXAMPLES / "evaluate.py")]


def test_data_set_of_ones_own_is_trained_on_by_its_record_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(DATA_SETS, "mine", REGDB._replace(title="Mine"))
    command = ["--data-set", "mine", "--smoke", "--no-report", "--steps", "2", "--method", "baseline", "--split", "2"]
    assert reproduce_sysu.main(command) == 0
    checkpoint = tmp_path / "runs" / "smoke-mine-split2-baseline" / "baseline-seed0.pt"
    assert evaluate.main(["mine", "--checkpoint", str(checkpoint), "--data", "data/synthetic-mine-smoke"]) == 0


def test_options_of_every_data_set_are_those_of_the_command_line() -> None:
    chosen = parse([])
    for data_set in DATA_SETS.values():
        assert all(getattr(chosen, name) == value for name, value in data_set.options._asdict().items())


def test_help_begins_with_the_data_and_ends_with_what_is_written(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        parse(["--help"])
    heads = [line[:-1] for line in capsys.readouterr().out.splitlines() if line.endswith(":") and line[0] != " "]
    assert heads[-6:] == [
        "what to train on",
        "what to train",
        "how long, and how",
        "which epoch is scored",
        "on which machine",
        "what is written, and going on",
    ]

"""The house rules that a machine can check: lint, format, types, imports."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LIBRARY = ROOT / "src" / "modinv"
FILES = sorted(LIBRARY.rglob("*.py"))

# Who may import whom: every room, and the rooms to its left.
CORRIDOR = [
    "_checks",
    "_compat",
    "batches",
    "groups",
    "distances",
    "statistics",
    "directions",
    "centers",
    "divergences",
    "losses",
]
ALLOWED = {
    **{room: set(CORRIDOR[: place + 1]) for place, room in enumerate(CORRIDOR)},
    "modules": {"_checks", "groups", "modules"},
    "diagnostics": {*CORRIDOR, "distributed", "diagnostics"},
    "distributed": {*CORRIDOR, "distributed"},
}


@pytest.mark.parametrize(
    "command",
    [
        ["ruff", "check", "."],
        ["ruff", "format", "--check", "."],
        ["mypy"],
    ],
    ids=["ruff check", "ruff format", "mypy --strict"],
)
def test_code_is_clean(command: list[str]) -> None:
    result = subprocess.run([sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr


def imported(path: Path) -> set[str]:
    """The modules that a file imports, by their full names."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return names


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(LIBRARY)))
def test_room_imports_only_rooms_to_its_left(path: Path) -> None:
    room = path.relative_to(LIBRARY).parts[0].removesuffix(".py")
    inside = {name.split(".")[1] for name in imported(path) if name.startswith("modinv.")}
    if room != "__init__":
        assert inside <= ALLOWED[room]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(LIBRARY)))
def test_library_imports_torch_numpy_and_typing_extensions_only(path: Path) -> None:
    outside = {name.split(".")[0] for name in imported(path)} - {"modinv"} - set(sys.stdlib_module_names)
    # matplotlib, of the extra plot, inside of the functions that draw: the bare process below has none of it.
    assert outside <= {"torch", "numpy", "typing_extensions", *["matplotlib"] * (path.name == "plots.py")}


def test_library_starts_in_a_bare_process() -> None:
    code = (
        "import sys, torch, numpy.typing, typing_extensions; before = {name.split('.')[0] for name in sys.modules};"
        "sys.path.insert(0, 'src'); import modinv; after = {name.split('.')[0] for name in sys.modules};"
        "assert after - before == {'modinv'}, after - before;"
        "assert 'torch._dynamo' not in sys.modules, 'the compiler takes seconds to import'"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


def test_no_file_makes_one_scroll() -> None:
    long = {
        str(path.relative_to(ROOT)): lines
        for path in [*FILES, *(ROOT / "examples").rglob("*.py")]
        if (lines := len(path.read_text().splitlines())) > 300
    }
    assert not long


def test_top_level_holds_what_the_card_names_and_nothing_else() -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    top = {name.split("/")[0] for name in listed}
    assert {name for name in top if not name.startswith(".")} == {
        *("pyproject.toml", "README.md", "CHANGELOG.md", "LICENSE"),
        *("src", "tests", "examples", "docs"),
    }

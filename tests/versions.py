"""Try the library on several versions of Python, torch and numpy, and print the table of docs/support.md.

    python tests/versions.py                    # the rows of that table
    python tests/versions.py 3.14,2.14.1,2.4.6  # other rows: Python, torch, numpy

Each row gets a virtual environment in ``--folder``: first torch and numpy, then this library, then what the tests ask
for. Run are all tests of the library, without those of lint and types, whose tools know one torch, and the example's
smoke run. ``python3.N`` has to be on the PATH. pip and pytest read their settings from the environment as always:
``PIP_EXTRA_INDEX_URL`` for CPU builds, ``PYTEST_ADDOPTS="-n auto"`` for all cores. Nothing need be installed before.
"""

import argparse
import datetime
import platform
import shutil
import subprocess
import sys
from pathlib import Path

__all__ = ["main"]

ROOT = Path(__file__).parents[1]
TABLE = ["3.10,2.4.1,1.26.4", "3.12,2.6.0,2.1.3", "3.13,2.9.1,2.3.5", "3.11,2.14.1,2.4.6"]
HEADER = ["Python", "torch", "numpy", "`pip install .` adds", "the library's tests", "a compiled loss", "smoke run"]

_SUITE = [
    "-m",
    "pytest",
    "-q",
    "-m",
    "",
    "-p",
    "no:cacheprovider",
    "--ignore=tests/examples",
    "--ignore=tests/test_style.py",
]
# With Inductor, which made wrong code of this loss in torch 2.7.
_COMPILE = """
import torch, modinv
loss = modinv.DiscriminativeCenterLoss()
batch = torch.rand(32, 24), torch.arange(32) % 6, torch.arange(32) // 16
try:
    torch.testing.assert_close(torch.compile(loss)(*batch), loss(*batch))
    print("runs")
except AssertionError:
    print("failed: another value")
except RuntimeError as error:
    print("refused:", str(error).splitlines()[0])
"""


def main() -> None:
    """Try each row and print the table; exit with 1 where something of it has failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="*", default=TABLE, metavar="PYTHON,TORCH,NUMPY")
    parser.add_argument("--folder", type=Path, default=ROOT / ".versions", help="for the environments and their logs")
    arguments = parser.parse_args()
    lines = [HEADER, ["---"] * len(HEADER)]
    lines += [_try(row.split(","), arguments.folder.resolve() / row.replace(",", "-")) for row in arguments.rows]
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    sys.stdout.write(f"{table}\n\n{datetime.date.today()}, {platform.platform()}\n")
    sys.exit("failed" in table)


def _try(row: list[str], folder: Path) -> list[str]:
    """Return a row of the table; its environment is made where it is missing."""
    python, torch, numpy = row
    interpreter = shutil.which(f"python{python}")
    if interpreter is None:
        return [*row, f"failed: no python{python} here", "", "", ""]
    _run([interpreter, "-m", "venv", str(folder)], folder)
    own = [str(folder / "bin" / "python")]
    install = [*own, "-m", "pip", "install"]
    _run([*install, f"torch=={torch}", f"numpy=={numpy}"], folder)
    added = _run([*install, str(ROOT)], folder).removeprefix("Successfully installed ")
    _run([*install, f"torch=={torch}", f"numpy=={numpy}", f"{ROOT}[test]"], folder)
    smoke = _run([*own, str(ROOT / "examples" / "reproduce_sysu.py"), "--smoke"], folder)
    return [
        *row,
        added,
        _run([*own, *_SUITE], ROOT, folder),
        _run([*own, "-c", _COMPILE], folder),
        smoke if "failed" in smoke else "passed",
    ]


def _run(command: list[str], where: Path, logs: Path | None = None) -> str:
    """Run a command, add what it prints to a log, and return its last line."""
    log = (logs or where) / "log.txt"
    log.parent.mkdir(parents=True, exist_ok=True)
    result = subprocess.run(command, cwd=where, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    with log.open("a") as file:
        file.write(f"$ {' '.join(command)}\n{result.stdout}\n")
    last = (result.stdout.splitlines() or [""])[-1].strip()
    return last if result.returncode == 0 or "failed" in last else f"failed, see {log}: {last}"


if __name__ == "__main__":
    main()

"""The site is built without a warning, and everything public stands on it."""

import subprocess
import sys
import zlib
from pathlib import Path

import pytest

import modinv

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", str(ROOT / "docs"), str(folder)]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return folder


def test_everything_public_is_documented(site: Path) -> None:
    *_, body = (site / "objects.inv").read_bytes().split(b"\n", 4)
    documented = {line.split()[0].split(".")[-1] for line in zlib.decompress(body).decode().splitlines()}
    rooms = [modinv, modinv.losses, modinv.modules, modinv.divergences, modinv.diagnostics, modinv.distributed]
    public = {name for room in rooms for name in room.__all__ if callable(getattr(room, name))}
    literals = {"Covariance", "DivergenceName"}  # types of options, listed with them
    assert not {name for name in public if not name.endswith("Terms")} - documented - literals


def test_search_works_from_a_file(site: Path) -> None:
    page = (site / "search.html").read_text()
    assert '<script src="searchindex.js"' in page  # a script may be read from a file, a request may not
    assert (site / "searchindex.js").read_text().startswith("Search.setIndex(")

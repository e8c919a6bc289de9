"""Writes the report: one HTML file with its pictures inside, without scripts or links."""

import base64
import io
import json
import re
import warnings
from collections.abc import Callable, Iterator
from functools import cache, partial
from html import escape
from pathlib import Path
from typing import Any, Final
from zipfile import BadZipFile

import matplotlib.style
from matplotlib.figure import Figure

from modinv import INFRARED, VISIBLE
from reid.report.figures import STYLE, draw_cmc, draw_space, draw_training
from reid.report.retrievals import draw_retrievals, find_images
from reid.training.methods import METHODS
from reid.training.snapshot import read_embeddings
from reid.training.training_log import read_csv
from reid.whole_file import write_whole

__all__ = ["models_of", "write_report"]

_DAMAGES: Final = (OSError, LookupError, TypeError, AttributeError, ValueError, EOFError, BadZipFile)
_HEAD: Final = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<style>
body { margin: 0 auto; max-width: 62rem; padding: 1.5rem; font: 16px/1.5 system-ui, sans-serif; }
h1, h2, p { overflow-wrap: anywhere; } img { width: 100%; } pre { overflow-x: auto; font-size: .85rem; }
</style>
"""
_SYNTHETIC: Final = "The images are synthetic, drawn by this example: no number here is one of a real data set."


def write_report(folder: Path, *, dpi: int = 120) -> Path:
    """Write ``FOLDER/report.html``, a page about a run: its scores, its pictures, and how it was made.

    The folder holds ``results.json``, and ``METHOD-seedN.csv`` and ``.npz`` of each model. What is missing or damaged
    becomes a sentence on the page. No such folder, or one that cannot be written into, is an OSError.
    """
    if not folder.is_dir():
        raise NotADirectoryError(f"{folder} must be the folder of a run, such as runs/NAME, and is no folder.")
    title = escape(f"Report of {folder.resolve().name}")
    with matplotlib.style.context(["default", STYLE]):
        body = "\n".join(_section(heading, make, dpi) for heading, make in _sections(folder))
    page = f"{_HEAD}<title>{title}</title>\n</head>\n<body>\n<h1>{title}</h1>\n{body}\n</body>\n</html>\n"
    path = folder / "report.html"
    write_whole(path, page.encode())
    return path


def models_of(folder: Path, suffix: str) -> list[Path]:
    """List the files ``METHOD-seedN`` with a suffix in the order of the results table, unknown methods last."""

    def place(path: Path) -> tuple[int, str, int]:
        method, seed = path.stem.rsplit("-seed", 1)
        known = list(METHODS)
        return known.index(method) if method in METHODS else len(known), method, int(seed)

    return sorted((path for path in folder.iterdir() if re.fullmatch(rf".+-seed\d+\{suffix}", path.name)), key=place)


def _sections(folder: Path) -> Iterator[tuple[str, Callable[[], str | Figure]]]:
    @cache
    def results() -> Any:
        return json.loads((folder / "results.json").read_text(encoding="utf-8"))

    yield "Results", lambda: "\n".join([*_warnings(results()["provenance"]["options"]), *results()["table"]])
    yield "Queries found up to each rank", lambda: draw_cmc(results()["rows"])
    yield "Training by epoch", lambda: draw_training({path.stem: read_csv(path) for path in models_of(folder, ".csv")})
    kept = models_of(folder, ".npz")
    for path in dict.fromkeys([*kept[:1], *kept[-1:]]):  # of many models the first and the last one
        yield f"Test images before and after training: {path.stem}", partial(_space, path)
        yield f"Queries, and the ten nearest images: {path.stem}", partial(_retrievals, path, results)
    yield "Provenance", lambda: json.dumps(results()["provenance"], indent=1, ensure_ascii=False)


def _warnings(options: dict[str, Any]) -> list[str]:
    return [str(said) for said in (options.get("synthetic") and _SYNTHETIC, options.get("warning")) if said]


def _space(path: Path) -> Figure:
    return draw_space(read_embeddings(path))


def _retrievals(path: Path, results: Callable[[], Any]) -> Figure:
    provenance = results()["provenance"]
    asking = VISIBLE if provenance["direction"] == "visible-to-infrared" else INFRARED
    return draw_retrievals(read_embeddings(path), find_images(path.parent, provenance), asking=asking)


def _section(heading: str, make: Callable[[], str | Figure], dpi: int) -> str:
    """Make a section. Where its file is missing or damaged, only this section is left out."""
    try:
        made = make()
        inside = f"<pre>{escape(made)}</pre>" if isinstance(made, str) else _image(made, heading, dpi)
    except _DAMAGES as error:
        inside = f"<p>Left out ({type(error).__name__}): {escape(str(error))}</p>"
    return f"<h2>{escape(heading)}</h2>\n{inside}"


def _image(figure: Figure, caption: str, dpi: int) -> str:
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")  # drawn as boxes
        figure.savefig(buffer, format="png", dpi=dpi)
    data = base64.b64encode(buffer.getvalue()).decode("ascii")
    return f'<img alt="{escape(caption)}" src="data:image/png;base64,{data}">'

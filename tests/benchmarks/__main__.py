"""Measure, and write what the docs say of it: ``cd tests && python -m benchmarks [SECTION ...]``.

Written are docs/performance.md, its tables, and the measured costs on each page of docs/losses. With the word ``pages``
in the place of sections nothing is measured, and the pages are written from what is kept.
"""

import argparse
import sys
import time
import warnings
from pathlib import Path

from benchmarks import calls, costs, dumps, floor, growth, memory, published, ratios, routes, sharing
from benchmarks.page import Section, chapter
from benchmarks.store import Measured, load, save
from benchmarks.summary import summary
from benchmarks.timing import FULL, QUICK

__all__ = ["SECTIONS", "main"]

_COMMAND = 'python -m pip install -e ".[benchmarks]" && cd tests && python -m benchmarks'
SECTIONS: dict[str, Section] = {
    "ratios": ratios.SECTION,
    "published": published.SECTION,
    "floor": floor.SECTION,
    "costs": costs.SECTION,
    "sharing": sharing.SECTION,
    "growth": growth.SECTION,
    "routes": routes.SECTION,
    "calls": calls.SECTION,
    "memory": memory.SECTION,
    "dumps": dumps.SECTION,
}


def main() -> None:
    """Measure the sections that are named, or all, and write the pages from what is kept."""
    arguments = _arguments()
    # POT looks for every backend that it knows, and some warn when they are looked for.
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    for name in arguments.sections:
        start = time.perf_counter()
        save(name, SECTIONS[name].measure(QUICK if arguments.quick else FULL), arguments.results, quick=arguments.quick)
        sys.stdout.write(f"{name}: {time.perf_counter() - start:.0f} s\n")
    measured = {name: load(name, section.record, arguments.results) for name, section in SECTIONS.items()}
    folder: Path = arguments.output
    (folder / "performance.md").write_text(summary(SECTIONS, measured, _COMMAND) + "\n", encoding="utf-8")
    (folder / "performance_tables.md").write_text(_tables(measured) + "\n", encoding="utf-8")
    for page in sorted((folder / "losses").glob("*.md")):
        page.write_text(costs.rewritten(page, *measured["costs"]), encoding="utf-8")


def _tables(measured: dict[str, Measured]) -> str:
    text = f"""
        The tables behind [Performance](performance.md). Forward and backward are timed together. The candidates of a
        table took turns in one process, and the best call of each counts. Compiled: `torch.compile` with
        `fullgraph=True` and `dynamic=False`, for each size. Everything again: `{_COMMAND}`.
        One table: the command below it, in `tests/`. *Library* is what `git rev-parse --short HEAD:src/modinv` said.
    """
    return "\n\n".join([chapter("Performance, all tables", text, level=1), *_chapters(measured)])


def _chapters(measured: dict[str, Measured]) -> list[str]:
    parts = []
    for name, section in SECTIONS.items():
        records, origin = measured[name]
        parts += [
            section.write(records),
            f"`python -m benchmarks {name}`: {origin['date']}, library {origin['library']}, "
            f"{origin['processor']}, {origin['software']}. {origin.get('effort', '')}".rstrip(),
        ]
    return parts


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    here = Path(__file__).parent
    named = f"of {', '.join(SECTIONS)}; default: all; or pages, for none"
    parser.add_argument("sections", nargs="*", default=[*SECTIONS], help=named)
    parser.add_argument("--output", type=Path, default=here.parents[1] / "docs", help="folder of the pages")
    parser.add_argument("--results", type=Path, default=here / "results", help="folder of what was measured")
    parser.add_argument("--quick", action="store_true", help="few rounds: to try the code, not to quote")
    arguments = parser.parse_args()
    if arguments.sections == ["pages"]:
        arguments.sections = []
    if unknown := set(arguments.sections) - set(SECTIONS):
        parser.error(f"sections must be of {', '.join(SECTIONS)}, got {', '.join(sorted(unknown))}")
    return arguments


if __name__ == "__main__":
    main()

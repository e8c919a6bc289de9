"""Measure everything, write docs/performance.md and docs/estimates.md: ``cd tests && python -m benchmarks``."""

import argparse
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import matplotlib as mpl

from benchmarks import calls, dumps, estimates, floor, growth, memory, page, plots, ratios, routes, sharing
from benchmarks.timing import FULL, QUICK

__all__ = ["main"]

_COMMAND = 'python -m pip install -e ".[benchmarks]" && cd tests && python -m benchmarks'


def main() -> None:
    """Run all sections in turn and write the page and its figures."""
    arguments = _arguments()
    mpl.use("svg")
    # POT looks for every backend that it knows, and some warn when they are looked for.
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    folder: Path = arguments.output
    (folder / "figures").mkdir(parents=True, exist_ok=True)
    text = "\n\n".join([page.head(_COMMAND), *_sections(folder / "figures", quick=arguments.quick)])
    (folder / "performance.md").write_text(text + "\n", encoding="utf-8")
    estimates.write(folder, quick=arguments.quick)


def _sections(figures: Path, *, quick: bool) -> list[str]:
    effort = QUICK if quick else FULL
    dimensions = (256, 512) if quick else (256, 512, 2048)
    texts = [
        _announced("ratios", lambda: ratios.section(ratios.measure(effort, dimensions))),
        _announced("floor", lambda: floor.section(floor.measure(effort))),
        _announced("sharing", lambda: sharing.section(sharing.measure(effort, calls.count_calls))),
        _announced("dumps", lambda: dumps.section(dumps.measure(*((2_000, 256) if quick else (50_000, 2048))))),
    ]
    sweeps = growth.measure(effort)
    plots.draw_growth(sweeps, figures / "growth.svg")
    both = routes.measure(effort)
    plots.draw_routes(both, figures / "routes.svg")
    counted = calls.section(calls.measure())
    occupied = memory.section(memory.measure(dimensions))
    *against, compared = texts
    return [*against, growth.section(sweeps), routes.section(both), counted, occupied, compared]


def _announced(name: str, section: Callable[[], str]) -> str:
    start = time.perf_counter()
    text = section()
    sys.stdout.write(f"{name}: {time.perf_counter() - start:.0f} s\n")
    return text


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    documents = Path(__file__).parents[2] / "docs"
    parser.add_argument("--output", type=Path, default=documents, help="folder of performance.md and figures/")
    parser.add_argument(
        "--quick", action="store_true", help="few rounds and no D = 2048: to try the code, not to quote"
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()

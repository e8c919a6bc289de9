"""Draws the report of a folder again: ``PYTHONPATH=examples python -m reid.report runs/NAME``."""
# ruff: noqa: T201  a script prints

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from reid.report.page import write_report

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command: 0, or 2 when there is no such folder."""
    parser = argparse.ArgumentParser(prog="python -m reid.report", description="Draw the report of a run again.")
    parser.add_argument("folder", type=Path, help="of the run, with its results.json: runs/NAME")
    try:
        print(f"written to {write_report(parser.parse_args(arguments).folder)}")
    except OSError as error:
        print(f"report: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())

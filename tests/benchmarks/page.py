"""Markdown out of measured numbers: tables, the verdict beside a target, and what the machine is."""

import os
import platform
from collections.abc import Iterable, Sequence
from datetime import date
from pathlib import Path
from textwrap import fill

import torch

__all__ = ["chapter", "explained", "head", "number", "table", "verdict"]

_MISSED = "**not met**"


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table; the first column is left-aligned, the others right-aligned."""
    lines = [columns, ["---"] + ["---:"] * (len(columns) - 1), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def number(value: float) -> str:
    """Return three significant digits, or a whole number from 100 on."""
    return f"{value:.3g}" if abs(value) < 99.95 else f"{value:,.0f}"


def verdict(value: float, *, least: float | None = None, most: float | None = None) -> str:
    """Return the target and whether ``value`` meets it."""
    if least is not None:
        return f"≥ {least:g}: {'met' if value >= least else _MISSED}"
    if most is not None:
        return f"≤ {most:g}: {'met' if value <= most else _MISSED}"
    return "–"


def chapter(title: str, text: str, *parts: str, level: int = 2) -> str:
    """Return a heading, its text as one paragraph, and what follows."""
    return "\n\n".join([f"{'#' * level} {title}", _paragraph(text), *parts])


def explained(rows: str, reason: str) -> str:
    """Return the rows of a table, followed by the reason where one of them misses its target."""
    return f"{rows}\n\n{_paragraph('Where a target is not met: ' + reason)}" if _MISSED in rows else rows


def head(command: str) -> str:
    """Return the title, and the machine on which the page was made."""
    rows = [
        ("processor", f"{_processor()}, {os.cpu_count()} cores, {platform.machine()}"),
        ("threads", f"1, and all of them: {torch.get_num_threads()}"),
        ("software", f"torch {torch.__version__}, Python {platform.python_version()}, {platform.system()}"),
        ("type", "float32 features"),
        ("date", date.today().isoformat()),
        ("command", f"`{command}`"),
    ]
    text = """
        Every number on this page was measured and written by one command. The candidates of a table took turns in one
        process, the best call of each counts, and forward and backward are timed together. Read the ratios:
        milliseconds are those of one machine on one day. CPU only; on a GPU: not measured.
    """
    return chapter("Performance", text, table(("", "measured on"), rows), level=1)


def _paragraph(text: str) -> str:
    return fill(" ".join(text.split()), width=118, break_long_words=False, break_on_hyphens=False)


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    lines = information.read_text().splitlines() if information.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or "unknown processor"

"""Markdown out of measured numbers: tables, and the verdict beside a target."""

from collections.abc import Callable, Iterable, Sequence
from textwrap import fill
from typing import Any, NamedTuple

__all__ = ["Goal", "Section", "chapter", "explained", "milliseconds", "number", "paragraph", "table", "verdict"]

_MISSED = "**not met**"


class Goal(NamedTuple):
    """A target, and the worst that was measured for it."""

    what: str
    eager: float
    compiled: float | None  # where it was measured
    least: float | None = None
    most: float | None = None

    @property
    def missed(self) -> bool:
        """Whether the eager loss misses it, or the compiled one is slower than what it is held against."""
        slower = self.least is not None and self.compiled is not None and self.compiled < 1
        return slower or _MISSED in verdict(self.eager, least=self.least, most=self.most)


class Section(NamedTuple):
    """One table of the appendix: what it measures, how it is written, and what it is held against."""

    title: str
    record: type[Any]  # a NamedTuple
    measure: Callable[..., list[Any]]  # of an Effort
    write: Callable[[list[Any]], str]
    goals: Callable[[list[Any]], list[Goal]]
    reason: str  # where a target is missed


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table; the first column is left-aligned, the others right-aligned."""
    lines = [columns, ["---"] + ["---:"] * (len(columns) - 1), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def number(value: float) -> str:
    """Return three significant digits, or a whole number from 100 on."""
    return f"{value:.3g}" if abs(value) < 99.95 else f"{value:,.0f}"


def milliseconds(seconds: float | None) -> str:
    """Return milliseconds, or a dash where nothing was measured."""
    return "–" if seconds is None else number(1e3 * seconds)


def verdict(value: float, *, least: float | None = None, most: float | None = None) -> str:
    """Return the target and whether ``value`` meets it."""
    if least is not None:
        return f"≥ {least:g}: {'met' if value >= least else _MISSED}"
    if most is not None:
        return f"≤ {most:g}: {'met' if value <= most else _MISSED}"
    return "–"


def chapter(title: str, text: str, *parts: str, level: int = 2) -> str:
    """Return a heading, its text as one paragraph, and what follows."""
    return "\n\n".join([f"{'#' * level} {title}", paragraph(text), *parts])


def explained(rows: str, reason: str) -> str:
    """Return the rows of a table, followed by the reason where one of them misses its target."""
    return f"{rows}\n\n{paragraph('Where a target is not met: ' + reason)}" if _MISSED in rows else rows


def paragraph(text: str) -> str:
    """Return the text in lines of the width of the other pages."""
    return fill(" ".join(text.split()), width=118, break_long_words=False, break_on_hyphens=False)

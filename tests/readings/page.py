"""Tables and chart of docs/readings.md and docs/reproduction.md, from the results alone."""

import json
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any, Final, NamedTuple

import scipy.stats

from readings.chart import Bar, draw

__all__ = ["read", "write"]

_WORLDS: Final = ("sysu", "many", "hard")
_CONTROLS: Final = ("loss 0.5", "classifiers on the neck")
_CONSISTENCY: Final = "consistency, weight 0.5"
_ANSWER: Final = ("baseline", "cross", _CONSISTENCY, "cross + consistency")

Runs = Mapping[tuple[str, str, int], Mapping[tuple[int, int], dict[str, Any]]]
"""(reading, world, steps) → (data, seed) → record."""


class Interval(NamedTuple):
    """A mean difference with Student's 95 % interval; half is NaN for one pair."""

    mean: float
    half: float
    pairs: int


def read(results: Path) -> list[dict[str, Any]]:
    """Read the records, one a line; none where there is no file."""
    if not results.is_file():
        return []
    return [json.loads(line) for line in results.read_text(encoding="utf-8").splitlines()]


def write(documents: Path, results: Path) -> None:
    """Put the tables between their marks in the pages and draw docs/figures/readings.svg."""
    records = read(results)
    screened, confirmed = (_sorted(records, fresh=fresh) for fresh in (False, True))
    tables = {
        "answer": _table(confirmed, only=_ANSWER),
        "noise": _noise(screened),
        "screening": _table(screened),
        "confirmation": _table(confirmed),
        "controls": _against_controls(confirmed),
        "within": _within(confirmed),
    }
    for page in (documents / "readings.md", documents / "reproduction.md"):
        text = page.read_text(encoding="utf-8")
        for name, lines in tables.items():
            before, mark, rest = text.partition(f"<!-- {name} -->\n")
            if mark:
                text = before + mark + "\n".join(lines) + "\n<!-- end" + rest.partition("<!-- end")[2]
        page.write_text(text, encoding="utf-8")
    draw(_bars(confirmed), documents / "figures" / "readings.svg")


def _sorted(records: Sequence[dict[str, Any]], *, fresh: bool) -> Runs:
    runs: dict[tuple[str, str, int], dict[tuple[int, int], dict[str, Any]]] = defaultdict(dict)
    for record in records:
        if (record["data"] > 0) == fresh:
            key = (record["reading"], record["world"], record["steps"])
            runs[key][record["data"], record["seed"]] = record
    return runs


def _reference(reading: str) -> str:
    """Name what a reading is compared with."""
    return "baseline, no gray" if reading == "consistency, no gray" else "baseline"


def _difference(runs: Runs, reading: str, world: str, steps: int, score: str, reference: str = "") -> Interval | None:
    ours, theirs = (runs.get((name, world, steps), {}) for name in (reading, reference or _reference(reading)))
    values = [ours[key][score] - theirs[key][score] for key in sorted(ours.keys() & theirs.keys())]
    if not values or reading == (reference or _reference(reading)):
        return None
    if len(values) == 1:
        return Interval(values[0], math.nan, 1)
    half = scipy.stats.t.ppf(0.975, len(values) - 1) * stdev(values) / math.sqrt(len(values))
    return Interval(fmean(values), float(half), len(values))


def _table(runs: Runs, only: Sequence[str] = ()) -> list[str]:
    """One row for each reading and budget: the mAP of the baseline, differences from it of the others."""
    lines = [f"| reading | steps | {' | '.join(_WORLDS)} |", "| --- | ---: | ---: | ---: | ---: |"]
    for reading, steps in dict.fromkeys((reading, steps) for reading, _, steps in _in_order(runs)):
        if not only or reading in only:
            cells = [_cell(runs, reading, world, steps) for world in _WORLDS]
            lines.append(f"| {reading} | {steps} | {' | '.join(cells)} |")
    return lines


def _against_controls(runs: Runs) -> list[str]:
    """What the chosen reading adds to each control, and beside the consistency loss."""
    lines = [f"| difference | steps | {' | '.join(_WORLDS)} |", "| --- | ---: | ---: | ---: | ---: |"]
    pairs = [("cross", control) for control in _CONTROLS] + [("cross + consistency", _CONSISTENCY)]
    for reading, control in pairs:
        for steps in sorted({steps for name, _, steps in runs if name == control}):
            found = [_difference(runs, reading, world, steps, "mAP", control) for world in _WORLDS]
            lines.append(f"| {reading} minus {control} | {steps} | {' | '.join(map(_text, found))} |")
    return lines


def _in_order(runs: Runs) -> list[tuple[str, str, int]]:
    first = {name: place for place, name in enumerate(("baseline", "today", *_CONTROLS, *_ANSWER[1:]))}
    return sorted(runs, key=lambda key: (key[2], first.get(key[0], len(first)), key[0], _WORLDS.index(key[1])))


def _cell(runs: Runs, reading: str, world: str, steps: int) -> str:
    if (found := _difference(runs, reading, world, steps, "mAP")) is not None:
        return _text(found)
    scores = [record["mAP"] for record in runs.get((reading, world, steps), {}).values()]
    return f"mAP {fmean(scores):.1f} ({len(scores)})" if scores else ""


def _text(found: Interval | None) -> str:
    if found is None:
        return ""
    half = "" if math.isnan(found.half) else f" ± {found.half:.2f}"
    return f"{found.mean:+.2f}{half} ({found.pairs})"


def _within(runs: Runs) -> list[str]:
    """What a reading does to retrieval within a modality."""
    lines = [
        "| reading | steps | world | cross-modal | visible to visible | infrared to infrared |",
        "| --- | ---: | --- | ---: | ---: | ---: |",
    ]
    for reading, world, steps in _in_order(runs):
        parts = [_difference(runs, reading, world, steps, score) for score in ("mAP", "visible", "infrared")]
        if all(part is not None and part.pairs > 1 for part in parts):
            cells = [f"{part.mean:+.2f} ± {part.half:.2f}" for part in parts if part is not None]
            lines.append(f"| {reading} | {steps} | {world} | {' | '.join(cells)} |")
    return lines


def _noise(runs: Runs) -> list[str]:
    """Say where the variance of a difference comes from: training seed, test identity, gallery trial."""
    lines = [
        "| world | seeds | sd of mAP over seeds | sd of the paired difference | … from 400 test identities | "
        "… from gallery trials | seeds for 1 mAP |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for world in _WORLDS:
        ours, theirs = (runs.get((name, world, 400), {}) for name in ("today", "baseline"))
        pairs = [(ours[key], theirs[key]) for key in sorted(ours.keys() & theirs.keys())]
        if len(pairs) < 2:
            continue
        differences = [a["mAP"] - b["mAP"] for a, b in pairs]
        people = [[x - y for x, y in zip(a["identities"], b["identities"], strict=True)] for a, b in pairs]
        trials = [[x - y for x, y in zip(a["trials"], b["trials"], strict=True)] for a, b in pairs]
        whole = stdev(differences)
        cells = [
            str(len(pairs)),
            f"{stdev(record['mAP'] for record in theirs.values()):.2f}",
            f"{whole:.2f}",
            f"{fmean(stdev(one) / math.sqrt(len(one)) for one in people):.2f}",
            f"{fmean(stdev(one) / math.sqrt(len(one)) for one in trials):.2f}",
            f"{2 + math.ceil((2.8 * whole) ** 2)}",
        ]
        lines.append(f"| {world} | {' | '.join(cells)} |")
    return lines


def _bars(runs: Runs) -> list[Bar]:
    found = []
    for reading, world, steps in _in_order(runs):
        difference = _difference(runs, reading, world, steps, "mAP")
        if difference is not None and difference.pairs > 1:
            found.append(Bar(reading, world, steps, difference.mean, difference.half))
    return found

"""The page that a user reads in two minutes, written from what was measured."""

from collections.abc import Iterable, Mapping
from typing import Any

from benchmarks.costs import Cost, losses
from benchmarks.page import Section, chapter, milliseconds, number, paragraph, table
from benchmarks.store import Measured
from losses.catalogue import LOSSES

__all__ = ["summary"]

_ROWS, _DIMENSION = 32, 2048  # of the tables of costs
_DIVIDED = ("gaussian_distribution_consistency",)  # by divergence
_SHOWN = {"wasserstein": "POT", "jeffreys": "`torch.distributions`", "moments": "D x D CORAL"}


def summary(sections: Mapping[str, Section], measured: Mapping[str, Measured], command: str) -> str:
    """Return docs/performance.md."""
    origin = measured["ratios"].origin
    text = f"""
        What the losses cost, against what, and what `torch.compile` changes. CPU, one thread, float32, forward and
        backward together. The candidates of a table took turns in one process, and the best call of each counts. Read
        the ratios: milliseconds are those of one machine on one day ({origin["processor"]}, {origin["software"]},
        {origin["date"]}). On a GPU: not measured. Everything, with the command of each table:
        [all tables](performance_tables.md).
    """
    records = {name: found.records for name, found in measured.items()}
    return "\n\n".join(
        [
            chapter("Performance", text, level=1),
            _costs(records),
            _competitors(records),
            _advice(records),
            _misses(sections, records),
            f"The command: `{command}`.",
        ]
    )


def _costs(records: Mapping[str, list[Any]]) -> str:
    at_size = [factor for factor in records["floor"] if (factor.rows, factor.dimension) == (_ROWS, _DIMENSION)]
    others = [one for one in records["costs"] if one.identities * one.images == _ROWS and one.page not in _DIVIDED]
    names = {type(loss): name for name, loss in reversed(LOSSES.items())}  # the first form of each loss
    times = [
        *((f"`{one.divergence}`", f"`{one.divergence}`", one.eager, one.compiled) for one in at_size),
        *((_link(one), names.get(losses()[one.page]), one.eager, one.compiled) for one in others),
    ]
    counts = {one.name: (str(one.few), str(one.kernels)) for one in records["calls"]}
    rows = [
        (shown, milliseconds(eager), milliseconds(fast), f"**{number(eager / fast)}**", *counts.get(name, ("–", "–")))
        for shown, name, eager, fast in times
    ]
    text = f"""
        {_ROWS} rows in each of two modalities (8 identities x 4), D = {_DIMENSION}; pair mining has four. The first
        lines are the Gaussian loss with full covariance, by divergence. The others have their defaults. Calls are what
        an eager loss asks of the backend, kernels what the compiled one launches instead, both in the first form of
        the loss in [the last table](performance_tables.md#calls-of-the-backend).
    """
    columns = ("loss", "eager, ms", "compiled, ms", "times faster", "calls, eager", "kernels, compiled")
    return chapter("What a loss costs", text, table(columns, rows))


def _link(cost: Cost) -> str:
    return f"[`{cost.loss}`](losses/{cost.page}.md)"


def _competitors(records: Mapping[str, list[Any]]) -> str:
    gaussian = [
        (f"`{one.divergence}`: {one.competitor}", f"D = {one.dimension}", one.theirs, one.eager, one.compiled)
        for one in records["ratios"]
        if one.threads == 1 and one.competitor.startswith(_SHOWN.get(one.divergence, "no such"))
    ]
    loops = [
        (f"{one.loss}: plain loop", f"P = {one.identities}, D = {one.dimension}", one.theirs, one.eager, one.compiled)
        for one in records["published"]
        if (one.identities, one.dimension) in ((8, 512), (16, 2048))
    ]
    rows = [
        (name, size, milliseconds(theirs), f"**{number(theirs / eager)}**", f"**{number(theirs / fast)}**")
        for name, size, theirs, eager, fast in gaussian + loops
    ]
    text = """
        How many times faster the library is than what a user would pick or copy today. Above, D x D covariances with
        32 rows per modality; below, the field's losses as plain loops over rows or identities. Both compute the same
        value: the differences stand in the full tables.
    """
    columns = ("against", "size", "theirs, ms", "ours, times faster", "ours compiled, times faster")
    return chapter("Against what", text, table(columns, rows))


def _advice(records: Mapping[str, list[Any]]) -> str:
    gains = [
        *((f"`{one.divergence}`", one.eager / one.compiled) for one in records["floor"]),
        *((one.loss, one.eager / one.compiled) for one in records["published"]),
        *((_link(one), one.eager / one.compiled) for one in records["costs"]),
    ]
    slower = ", ".join(dict.fromkeys(name for name, gain in gains if gain < 1)) or "none"
    most = max(gain for _, gain in gains)
    any_size = [one.eager / one.any_size for one in records["floor"]]
    sums = [one.shared / one.shared_compiled for one in records["sharing"]]
    shared = [one.alone / one.shared for one in records["sharing"]]
    prices = {one.divergence: one.eager for one in records["floor"] if (one.rows, one.dimension) == (_ROWS, 512)}
    price = {name: number(seconds / prices["moments"]) for name, seconds in prices.items()}
    small = [one.theirs / one.eager for one in records["ratios"] if one.dimension == 256]
    lines = [
        f"""**Compile where the loss shows in the profile, and keep the number of rows fixed** (`drop_last=True`).
        `torch.compile(loss, fullgraph=True)` makes a loss up to {number(most)} times as fast and a sum
        of five {_range(sums)} times. Slower at some size: {slower}. With a second size torch compiles once more, for
        any size, which leaves a factor of
        {_range(any_size)}. A compilation takes seconds: for a short run stay eager.""",
        f"""**Put several losses into one `WeightedLosses`.** They share the Gram matrix and one backward pass: five are
        {_range(shared)} times as fast as alone.""",
        f"""**Choose a divergence by what it measures, then by its price.** With {_ROWS} rows per modality and D = 512,
        `wasserstein` costs {price["wasserstein"]} times `moments`, `jeffreys` {price["jeffreys"]} times, `kl`
        {price["kl"]} times.""",
        f"""**For D of 256 and less a D x D formula is an alternative.** At 256 the library is {_range(small)} times as
        fast. It keeps the digits that a D x D form loses where rows are few.""",
        """**N against D needs no thought.** The loss takes the Gram matrix while N ≤ D, and the rows beyond.""",
    ]
    bullets = "\n".join("* " + paragraph(line).replace("\n", "\n  ") for line in lines)
    return f"## When to choose which\n\n{bullets}"


def _range(values: Iterable[float]) -> str:
    found = sorted(values)
    return f"{number(found[0])} to {number(found[-1])}"


def _misses(sections: Mapping[str, Section], records: Mapping[str, list[Any]]) -> str:
    rows, reasons = [], []
    for name, section in sections.items():
        goals = section.goals(records[name])
        missed = [goal for goal in goals if goal.missed]
        for goal in missed:
            asked = f"≥ {goal.least:g}" if goal.least is not None else f"≤ {goal.most:g}"
            fast = "–" if goal.compiled is None else number(goal.compiled)
            rows.append((goal.what, asked, f"**{number(goal.eager)}**", fast))
        if missed:
            share = f"{len(missed)} of {len(goals)}"
            reasons.append("* " + paragraph(f"*{section.title}*, {share}: {section.reason}").replace("\n", "\n  "))
    text = """
        The worst over competitors and threads. A target is held against the eager loss; the compiled one stands beside
        it, and is listed where it is slower than what it is held against. What is not listed is met.
    """
    columns = ("what", "target", "eager", "compiled")
    return chapter("Targets that are not met", text, table(columns, rows), "The reasons:", "\n".join(reasons))

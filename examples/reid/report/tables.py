"""Says in words and tables what a run measured, and how: what the page holds even where nothing can be drawn."""

from collections.abc import Iterator, Mapping
from statistics import fmean, stdev
from typing import Any

from numpy.typing import NDArray

from reid.report.page import Section
from reid.report.reading import MethodScores, Run
from reid.training.selection import TEST_WARNING

__all__ = ["lead_of", "provenance_section", "results_section"]

_RANKS = (1, 5, 10, 20)


def lead_of(run: Run) -> list[str]:
    """Say what the numbers are of.

    Args:
        run: the folder.

    Returns:
        Sentences.
    """
    known = run.provenance
    options = known.get("options")
    names = ("protocol", "gallery", "mode", "direction", "shots", "metric")
    said = [f"{name} {known[name]}" for name in names if known.get(name) is not None]
    sentences = [f"Scores by {', '.join(said)}."] if said else []
    if isinstance(options, Mapping) and options.get("synthetic"):
        sentences.append(
            "The images are synthetic, drawn by this example: no number here is one of a real data set, "
            "nor can it be compared with one."
        )
    if isinstance(options, Mapping) and options.get("select") == "test":
        sentences.append(TEST_WARNING)
    return sentences


def results_section(run: Run) -> Section:
    """Tabulate the scores of each method.

    Args:
        run: the folder.

    Returns:
        The section; a sentence where there are no scores.
    """
    title = "Results"
    if not run.scores:
        return Section(title, [run.problem or "results.json holds no method."])
    lines = [["method", "seeds", *(f"R{rank}" for rank in _RANKS), "mAP", "mINP"], *map(_line, run.scores)]
    sentence = (
        "In percent: the mean over the trials; with several seeds the mean ± standard deviation over them (n − 1)."
    )
    return Section(title, [sentence], lines, numbers=True)


def provenance_section(run: Run) -> Section:
    """List how the numbers were made.

    Args:
        run: the folder.

    Returns:
        The section.
    """
    title = "Provenance"
    if not run.provenance:
        return Section(title, ["Left out: the folder has no results file that says how its numbers were made."])
    known = {**run.provenance, "checkpoint sha256": run.checkpoints}
    return Section(title, ["As results.json has it."], [["what", "value"], *_flat(known)])


def _line(scores: MethodScores) -> list[str]:
    length = scores.cmc.shape[1]
    ranks = [_cell(scores.cmc[:, rank - 1]) if rank <= length else "–" for rank in _RANKS]
    return [scores.method, str(len(scores.seeds)), *ranks, _cell(scores.mAP), _cell(scores.mINP)]


def _cell(percents: NDArray[Any]) -> str:
    values = percents.tolist()
    return f"{fmean(values):.2f} ± {stdev(values):.2f}" if len(values) > 1 else f"{values[0]:.2f}"


def _flat(value: object, name: str = "") -> Iterator[list[str]]:
    """Spread nested mappings over lines, each with the whole way to its value."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _flat(inner, f"{name} / {key}" if name else str(key))
    else:
        yield [name, str(value)]

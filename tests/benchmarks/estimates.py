"""How far off a small batch is, and what helps: ``python -m benchmarks.estimates`` writes docs/estimates.md alone."""

import argparse
import sys
import time
from datetime import date
from pathlib import Path

import matplotlib as mpl
import torch

from benchmarks.drawn import DIMENSION, DRIFT, MEMORIES
from benchmarks.estimate_plots import DRAWN, draw_estimates
from benchmarks.estimating import DIVERGENCES, ROWS, Choice, Estimate, choices, measure
from benchmarks.page import chapter, number, table

__all__ = ["write"]

FULL_DRAWS, QUICK_DRAWS = 80, 4
_COMMAND = 'python -m pip install -e ".[benchmarks]" && cd tests && python -m benchmarks.estimates'
_ROUNDING = 1e-12
_ADVISED = (
    *("plain", "shrinkage 0.1", "shrinkage oas", "debiased"),
    *(f"memory {MEMORIES[0]}", f"memory {MEMORIES[-1]}", f"memory {MEMORIES[-1]}, drifting"),
)
_TITLES = {
    "equal": "Two equal Gaussians",
    "different": "Two different Gaussians",
}
_TEXTS = {
    "equal": "The true divergence is 0: all that is reported is noise.",
    "different": """
        The second has its mean half a standard deviation away, 1.5 times the variances, and axes turned by a moderate
        angle.
    """,
}


def write(folder: Path, *, quick: bool = False) -> None:
    """Measure, and write estimates.md and its figures into ``folder``."""
    mpl.use("svg")
    draws = QUICK_DRAWS if quick else FULL_DRAWS
    estimates = measure(draws)
    (folder / "figures").mkdir(parents=True, exist_ok=True)
    parts = [_head(draws), _advice(estimates)]
    for case in _TITLES:
        own = [estimate for estimate in estimates if estimate.case == case]
        draw_estimates(own, folder / "figures" / f"estimates-{case}.svg")
        parts.append(_section(case, own))
    (folder / "estimates.md").write_text("\n\n".join(parts) + "\n", encoding="utf-8")


def _head(draws: int) -> str:
    rows = [
        ("features", f"D = {DIMENSION}, variances along the axes proportional to 1 / rank, 1 on the average"),
        ("draws", f"{draws} batches of each size, the same ones for every choice"),
        ("software", f"torch {torch.__version__}, float32 features"),
        ("date", date.today().isoformat()),
        ("command", f"`{_COMMAND}`"),
    ]
    text = f"""
        A batch of few rows does not report the divergence of its distributions. Here rows are drawn from Gaussians
        whose true divergence is known in float64. There are n rows of each of two modalities, compared at level
        `"modality"`. An entry of a table is bias ± standard deviation of the value that the loss reports, which is
        divided by D. The bias itself is known to {draws**-0.5:.0%} of that deviation. The *limit* is the value for
        infinitely many rows. A shrinkage of 0.1 and a diagonal covariance change what is measured. `debiased` takes
        nothing off the covariance part of `"wasserstein"`. A *memory* is a `CrossBatchMemory` with that many earlier
        rows from the same Gaussians, of both modalities together. Where the divergence inverts, its shrinkage is
        `"oas"`. *Drifting*: with each batch the modalities come closer by {DRIFT:.0%} of a standard deviation in every
        feature. Old rows then report an old distance. Level `"identity"` with n rows of each identity and modality has
        the same bias. Its standard deviation shrinks with the root of the number of identities. There a memory helps
        only as far as it holds the identities of a batch.
    """
    return chapter("Small batches", text, table(("", "drawn with"), rows), level=1)


def _advice(estimates: list[Estimate]) -> str:
    few = [one for one in estimates if one.case == "different" and one.rows == ROWS[0]]
    names = {name: [_named(few, divergence, name) for divergence in DRAWN] for name in _ADVISED}
    rows = [(name, *(number(one.error / one.truth) if one else "–" for one in found)) for name, found in names.items()]
    age = MEMORIES[-1] // (2 * ROWS[0])
    text = f"""
        Where the features move little between batches, wrap the loss in a `CrossBatchMemory`. Give it as many rows as
        the features leave valid. Without a memory, take shrinkage `"oas"` with full covariances. Take `"moments"` with
        `debiased` where the average over many batches is to be right, and not each one. The table has the root mean
        square error in units of the true value, for two different Gaussians and n = {ROWS[0]}. There the oldest of
        {MEMORIES[-1]} rows is {age} batches old. The last line is what the drift makes of that.
    """
    return chapter("Advice", text, table(("error / truth", *(f"`{divergence}`" for divergence in DRAWN)), rows))


def _named(estimates: list[Estimate], divergence: str, name: str) -> Estimate | None:
    """Return the estimate of a choice, which stands beside "oas" where the divergence has an inverse."""
    found = [one for one in estimates if one.divergence == divergence]
    return next((one for one in found if one.choice.name in (name, f"oas, {name}")), None)


def _section(case: str, estimates: list[Estimate]) -> str:
    figure = f"![Bias and standard deviation of {', '.join(DRAWN)} against rows](figures/estimates-{case}.svg)"
    parts = [
        _table(divergence, [one for one in estimates if one.divergence == divergence]) for divergence in DIVERGENCES
    ]
    return chapter(_TITLES[case], _TEXTS[case], figure, *parts)


def _table(divergence: str, estimates: list[Estimate]) -> str:
    rows = [
        _row(choice, [one for one in estimates if one.choice.name == choice.name]) for choice in choices(divergence)
    ]
    truth = 0 if abs(estimates[0].truth) < _ROUNDING else estimates[0].truth
    head = (f"`{divergence}`, truth {number(truth)}", "limit", *(f"n = {rows}" for rows in ROWS))
    return table(head, rows)


def _row(choice: Choice, estimates: list[Estimate]) -> tuple[str, ...]:
    entries = (f"{'+' if one.bias > 0 else ''}{number(one.bias)} ± {number(one.deviation)}" for one in estimates)
    limit = estimates[0].limit
    return (choice.name, "–" if choice.drifting else number(limit if abs(limit) > _ROUNDING else 0.0), *entries)


def _main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.estimates", description=__doc__)
    documents = Path(__file__).parents[2] / "docs"
    parser.add_argument("--output", type=Path, default=documents, help="folder of estimates.md and figures/")
    parser.add_argument("--quick", action="store_true", help="few draws: to try the code, not to quote")
    arguments = parser.parse_args()
    start = time.perf_counter()
    write(arguments.output, quick=arguments.quick)
    sys.stdout.write(f"estimates: {time.perf_counter() - start:.0f} s\n")


if __name__ == "__main__":
    _main()

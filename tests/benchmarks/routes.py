"""The Gram matrix against the rows around N = D: what the choice by shape costs where it is wrong."""

from collections.abc import Callable
from typing import NamedTuple
from unittest.mock import patch

from torch import Tensor

import modinv
from benchmarks.inputs import DIVERGENCES, batch_of, gaussian
from benchmarks.page import Goal, Section, chapter, explained, milliseconds, number, table, verdict
from benchmarks.timing import Effort, best_times, forward_backward, threads
from modinv.divergences import DenseGaussians
from modinv.divergences.dense import RowGaussians
from modinv.divergences.full import GramGaussians
from modinv.groups import Comparisons
from modinv.statistics import Statistics

__all__ = ["SECTION", "Route"]

DIMENSIONS = (128, 256, 512)
SHARES = (0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 3.0)  # N / D
_TARGET = 2.5
_REASON = "the rule knows the shape only, and the routes cross at another N / D for each divergence."


class Route(NamedTuple):
    """Both routes at one shape."""

    divergence: str
    rows: int  # N, of both modalities together
    dimension: int
    gram: float  # seconds
    from_rows: float  # seconds

    @property
    def excess(self) -> float:
        """How many times slower the chosen route is than the better one."""
        chosen = self.gram if self.rows <= self.dimension else self.from_rows
        return chosen / min(self.gram, self.from_rows)


def measure(effort: Effort) -> list[Route]:
    """Time both routes on one thread."""
    shapes = [(8 * int(share * dimension / 8), dimension) for dimension in DIMENSIONS for share in SHARES]
    return [_measure_one(effort, divergence, *shape) for divergence in DIVERGENCES for shape in shapes]


def _measure_one(effort: Effort, divergence: str, rows: int, dimension: int) -> Route:
    batch = batch_of(rows // 2, dimension)
    calls = {form.__name__: forward_backward(_through(form, divergence), batch) for form in (_from_gram, _from_rows)}
    with threads(1):
        times = best_times(calls, effort)
    return Route(divergence, rows, dimension, *(times[form.__name__].seconds for form in (_from_gram, _from_rows)))


def _from_gram(statistics: Statistics, compared: Comparisons, shrinkage: float | str) -> DenseGaussians:
    return GramGaussians(statistics, statistics.gram, compared, shrinkage)


def _from_rows(statistics: Statistics, compared: Comparisons, shrinkage: float | str) -> DenseGaussians:
    return RowGaussians(statistics, compared, shrinkage)


def _through(form: Callable[..., DenseGaussians], divergence: str) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """Return the loss of a divergence that takes one route whatever the shape."""
    loss = gaussian(divergence)

    def call(features: Tensor, labels: Tensor, modalities: Tensor) -> Tensor:
        with patch.object(modinv.divergences, "full_gaussians", form):
            value: Tensor = loss(features, labels, modalities)
        return value

    return call


def write(routes: list[Route]) -> str:
    """Return the table of the largest ratios."""
    rows = [
        (
            f"`{route.divergence}`",
            *(str(route.rows), str(route.dimension)),
            *(milliseconds(seconds) for seconds in (route.gram, route.from_rows)),
            "Gram matrix" if route.rows <= route.dimension else "rows",
            f"**{number(route.excess)}**",
            verdict(route.excess, most=_TARGET),
        )
        for route in _worst(routes)
    ]
    columns = (
        *("divergence", "N", "D", "Gram matrix, ms", "rows, ms", "chosen", "times slower than the better"),
        "target",
    )
    dimensions, shares = ", ".join(map(str, DIMENSIONS)), ", ".join(f"{share:g}" for share in SHARES)
    text = f"""
        The Gram matrix (N x N) is taken while N ≤ D, the rows (D x D) beyond, with N the rows of both modalities.
        Measured at D = {dimensions} and N / D = {shares} on one thread, eager: a compiled loss takes the same route.
        The table shows the shape at which the rule costs most.
    """
    return chapter(SECTION.title, text, explained(table(columns, rows), _REASON))


def goals(routes: list[Route]) -> list[Goal]:
    """Return the target for each divergence."""
    return [
        Goal(f"`{route.divergence}`: times slower than the better route", route.excess, None, most=_TARGET)
        for route in _worst(routes)
    ]


def _worst(routes: list[Route]) -> list[Route]:
    return [
        max((route for route in routes if route.divergence == name), key=lambda route: route.excess)
        for name in DIVERGENCES
    ]


SECTION = Section("The two routes", Route, measure, write, goals, _REASON)

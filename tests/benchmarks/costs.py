"""What each loss costs with its default options, beside the two matrix products that bound it from below."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

import modinv
from benchmarks.inputs import in_streams
from benchmarks.page import Goal, Section, chapter, milliseconds, number, paragraph, table
from benchmarks.timing import Effort, best_times, compiled, forward_backward, threads

__all__ = ["SECTION", "Cost", "line", "losses", "rewritten"]

SIZES = ((8, 4), (16, 8))  # P identities with K rows in each stream
DIMENSION = 2048
# Visible and infrared, but for the loss that needs an expansion of each.
_STREAMS = {"center_guided_pair_mining": 4}
_UNMEASURED = "Not measured yet: `python -m benchmarks costs` does it."
_START, _END = "<!-- cost -->", "<!-- end of cost -->"


class Cost(NamedTuple):
    """One loss at one size; times in seconds."""

    page: str  # of docs/losses
    loss: str
    identities: int
    images: int
    streams: int
    products: float
    eager: float
    compiled: float

    @property
    def size(self) -> str:
        """How the rows of the batch come together."""
        return f"{self.identities} x {self.images} x {self.streams}"


def losses() -> dict[str, type[torch.nn.Module]]:
    """Return the losses that have a file of their own, by the name of it, which is that of their page."""
    found = (getattr(modinv.losses, name) for name in modinv.losses.__all__ if name.endswith("Loss"))
    named = ((loss.__module__.rpartition(".")[2], loss) for loss in found)
    general = ("loss", "adapters")  # what all are; those from elsewhere
    return {name: loss for name, loss in named if name not in general}


def measure(effort: Effort) -> list[Cost]:
    """Time each loss eager and compiled, in turns with the two products, on one thread."""
    results = []
    for page, loss in losses().items():
        torch.compiler.reset()
        with threads(1):
            results += [_measure_one(effort, page, loss, *size) for size in SIZES]
    return results


def _measure_one(effort: Effort, page: str, kind: type[torch.nn.Module], identities: int, images: int) -> Cost:
    streams = _STREAMS.get(page, 2)
    batch = in_streams(identities, images, DIMENSION, streams=streams)
    loss = _of_batch(kind(), batch.features)
    weights = torch.randn(len(batch.labels), len(batch.labels))

    def products() -> None:
        batch.features @ batch.features.T
        weights @ batch.features

    calls = {"products": products, "eager": forward_backward(loss, batch), "compiled": compiled(loss, batch)}
    times = (found.seconds for found in best_times(calls, effort).values())
    return Cost(page, kind.__name__, identities, images, streams, *times)


def _of_batch(loss: torch.nn.Module, features: Tensor) -> Callable[..., Tensor]:
    """Return the loss as one of ``(features, labels, modalities)``; mutual learning takes two sets of logits."""
    if not isinstance(loss, modinv.MutualLearningLoss):
        return loss
    others = features.flip(0)
    return lambda logits, _labels, _modalities: loss(logits, others)


def write(costs: list[Cost]) -> str:
    """Return the table of all losses."""
    rows = [
        (
            f"[`{cost.loss}`](losses/{cost.page}.md)",
            cost.size,
            *(milliseconds(seconds) for seconds in (cost.products, cost.eager, cost.compiled)),
            *(f"**{number(seconds / cost.products)}**" for seconds in (cost.eager, cost.compiled)),
        )
        for cost in costs
    ]
    columns = (
        *("loss", "P x K x streams", "two products, ms", "eager, ms", "compiled, ms"),
        *("times the products", "compiled"),
    )
    text = f"""
        Default options, D = {DIMENSION}, one thread. P identities with K rows in each stream: visible and infrared, and
        for pair mining an expansion of each. Losses of predictions take the features as logits of {DIMENSION} classes.
        The two products are X Xᵀ and H X with H of size N x N, in float32. A loss that reads the Gram matrix cannot do
        less. One that reads centers or predictions alone can.
    """
    return chapter(SECTION.title, text, table(columns, rows))


def line(costs: list[Cost], origin: Mapping[str, str]) -> str:
    """Return what a loss's page says of its costs, between its markers."""
    sizes = " ".join(_sentence(cost) for cost in costs)
    effort = f" *{origin['effort']}*" if "effort" in origin else ""
    text = f"""
        **Measured**, forward and backward, D = {DIMENSION}, one thread.{effort} {sizes} In brackets: times the two
        matrix products X Xᵀ and H X. [All losses](../performance_tables.md#what-each-loss-costs) in one table.
    """
    return f"{_START}\n{paragraph(text if costs else _UNMEASURED)}\n{_END}"


def _sentence(cost: Cost) -> str:
    eager, fast = (f"{milliseconds(one)} ms" for one in (cost.eager, cost.compiled))
    times = f"({number(cost.eager / cost.products)} and {number(cost.compiled / cost.products)})"
    rows = cost.identities * cost.images * cost.streams
    return f"{rows} rows (P = {cost.identities}, K = {cost.images}): {eager} eager, {fast} compiled {times}."


def rewritten(page: Path, costs: list[Cost], origin: Mapping[str, str]) -> str:
    """Return the text of a loss's page with what was measured last between its markers."""
    text = page.read_text(encoding="utf-8")
    own = [cost for cost in costs if cost.page == page.stem]
    return re.sub(f"{_START}.*{_END}", lambda _: line(own, origin), text, flags=re.DOTALL)


def goals(costs: list[Cost]) -> list[Goal]:
    """Return none: the targets are those of the other sections."""
    return []


SECTION = Section("What each loss costs", Cost, measure, write, goals, "")

"""How many calls of the backend each loss makes, forward and backward, and how many kernels when it is compiled."""

from contextlib import nullcontext
from typing import NamedTuple
from unittest.mock import patch

import torch
from torch import nn

import modinv
from batches import make_batch
from benchmarks.inputs import DIVERGENCES, batch_of, five_losses, gaussian
from benchmarks.page import Goal, Section, chapter, explained, table, verdict
from benchmarks.timing import Effort
from generated import generate
from losses.catalogue import ESTIMATED, GAUSSIANS, LOSSES
from modinv import Batch
from recording import ALLOCATIONS, record
from test_kernels import KERNELS

__all__ = ["SECTION", "Calls"]

_TARGETS = {"`moments`": 32, "`wasserstein`": 75, "`jeffreys`": 170}
_REASON = (
    "some twenty-five calls make masks and weights from labels and modalities, in any order and number, and ten change "
    "between float32 and float64; the N x N algebra is many small steps, and its derivative is left to autograd."
)


class Calls(NamedTuple):
    """The calls of one loss."""

    name: str
    few: int  # with 4 identities
    many: int  # with 64 identities
    kernels: int  # compiled
    elsewhere: int  # off the CPU
    waits: int  # calls for which the host would wait
    solver_waits: list[str]  # off the CPU


def measure(effort: Effort) -> list[Calls]:
    """Count the calls of every loss; there is no noise in a count."""
    alone: dict[str, nn.Module] = {f"`{name}`": gaussian(name) for name in DIVERGENCES}
    others = {name: loss for name, loss in LOSSES.items() if name not in GAUSSIANS | ESTIMATED}
    together = modinv.WeightedLosses({name: (1.0, loss) for name, loss in five_losses().items()})
    return [_measure_one(name, loss) for name, loss in {**alone, **others, "five losses in one sum": together}.items()]


def _measure_one(name: str, loss: nn.Module) -> Calls:
    batch = batch_of(32, 512)
    few, many = (record(loss, batch._replace(labels=labels)) for labels in (batch.labels % 4, batch.labels.argsort()))
    # Meta tensors take the ways of an accelerator; only autocast lacks them.
    with patch("torch.autocast", lambda *_, **__: nullcontext()):
        elsewhere = record(loss, Batch(*(part.to("meta") for part in batch)))
    waits = len(many.waits) + len(elsewhere.waits)
    counts = len(few.calls), len(many.calls), kernels(name, loss), len(elsewhere.calls), waits
    return Calls(name, *counts, elsewhere.solver_waits)


def kernels(name: str, loss: nn.Module) -> int:
    """Return the kernels of the compiled loss, from the bounds that the tests hold where there is one."""
    found = KERNELS.get(name.strip("`"))
    return (
        generate(loss, make_batch((5, 4), dimension=16, identities=3, dtype=torch.float32)).kernels
        if found is None
        else found
    )


def write(results: list[Calls]) -> str:
    """Return the table of the counts."""
    rows = [
        (
            result.name,
            f"**{result.few}**",
            str(result.many),
            verdict(result.few, most=_TARGETS.get(result.name)),
            f"**{result.kernels}**",
            str(result.elsewhere),
            str(result.waits),
            ", ".join(result.solver_waits) or "none",
        )
        for result in results
    ]
    columns = (
        *("loss", "calls, 4 identities", "calls, 64 identities", "target (eager)", "kernels compiled"),
        *("calls off the CPU", "waits", "solvers that report back off the CPU"),
    )
    unseen = ", ".join(f"`{name}`" for name in sorted(ALLOCATIONS))
    text = f"""
        Operations that reach a kernel, eager, forward and backward, hence launches on a GPU. Not counted: views (an
        operation whose schema says that its result shares memory), and {unseen}. *Kernels compiled*: what the code of
        `torch.compile` calls, its own fused loops and the products and decompositions that it keeps. A wait is an
        operation whose result or shape the host must know. Off the CPU other solvers are taken (counted here without
        an accelerator, on tensors that have no values): those that would report back to the host, by the documentation
        of `torch.linalg`, run on the CPU alone. `tests/test_cost.py` and `tests/test_kernels.py` hold these figures.
    """
    return chapter(SECTION.title, text, explained(table(columns, rows), _REASON))


def goals(results: list[Calls]) -> list[Goal]:
    """Return the targets."""
    return [
        Goal(f"{result.name}: calls of the backend", result.few, result.kernels, most=_TARGETS[result.name])
        for result in results
        if result.name in _TARGETS
    ]


SECTION = Section("Calls of the backend", Calls, measure, write, goals, _REASON)

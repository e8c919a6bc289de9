"""How many calls of the backend each loss makes, forward and backward."""

from contextlib import nullcontext
from typing import NamedTuple
from unittest.mock import patch

from torch import nn

import modinv
from benchmarks.inputs import DIVERGENCES, batch_of, five_losses, gaussian
from benchmarks.page import chapter, explained, table, verdict
from modinv import Batch
from recording import ALLOCATIONS, record

__all__ = ["Calls", "count_calls", "measure", "section"]

_TARGETS = {"moments": 32, "wasserstein": 75, "jeffreys": 170}
_REASON = (
    "some twenty-five calls make masks and weights from labels and modalities, in any order and number, and ten change "
    "between float32 and float64; the N x N algebra is many small steps, and its derivative is left to autograd."
)


class Calls(NamedTuple):
    """The calls of one loss."""

    name: str
    few: int  # with 4 identities
    many: int  # with 64 identities
    elsewhere: int  # off the CPU
    waits: int  # calls for which the host would wait
    solver_waits: tuple[str, ...]  # off the CPU


def measure() -> list[Calls]:
    """Count the calls of every loss; there is no noise in a count."""
    alone = {name: gaussian(name) for name in DIVERGENCES}
    rest = {type(loss).__name__: loss for name, loss in five_losses().items() if name not in DIVERGENCES}
    together = modinv.WeightedLosses({name: (1.0, loss) for name, loss in five_losses().items()})
    return [_measure_one(name, loss) for name, loss in {**alone, **rest, "five losses in one sum": together}.items()]


def _measure_one(name: str, loss: nn.Module) -> Calls:
    batch = batch_of(32, 512)
    few, many = (record(loss, batch._replace(labels=labels)) for labels in (batch.labels % 4, batch.labels.argsort()))
    # Meta tensors take the ways of an accelerator; only autocast lacks them.
    with patch("torch.autocast", lambda *_, **__: nullcontext()):
        elsewhere = record(loss, Batch(*(part.to("meta") for part in batch)))
    waits = len(many.waits) + len(elsewhere.waits)
    return Calls(name, len(few.calls), len(many.calls), len(elsewhere.calls), waits, tuple(elsewhere.solver_waits))


def count_calls(loss: nn.Module, batch: Batch) -> int:
    """Return the calls of one forward and one backward pass."""
    return len(record(loss, batch).calls)


def section(results: list[Calls]) -> str:
    """Return the table of the counts."""
    rows = [
        (
            f"`{result.name}`" if " " not in result.name else result.name,
            f"**{result.few}**",
            str(result.many),
            verdict(result.few, most=_TARGETS.get(result.name)),
            str(result.elsewhere),
            str(result.waits),
            ", ".join(result.solver_waits) or "none",
        )
        for result in results
    ]
    columns = (
        *("loss", "calls, 4 identities", "calls, 64 identities", "target", "calls off the CPU", "waits"),
        "solvers that report back off the CPU",
    )
    unseen = ", ".join(f"`{name}`" for name in sorted(ALLOCATIONS))
    text = f"""
        Operations that reach a kernel, eager, forward and backward, hence launches on a GPU. Not counted: views (an
        operation whose schema says that its result shares memory), and {unseen}. A wait is an operation whose result
        or shape the host must know. Off the CPU other solvers are taken (counted here without an accelerator, on
        tensors that have no values): those that would report back to the host, by the documentation of
        `torch.linalg`, run on the CPU alone. `tests/test_cost.py` holds these figures.
    """
    return chapter("Calls of the backend", text, explained(table(columns, rows), _REASON))

"""Time candidates against each other on a machine that others use too.

The candidates take turns, so that a slow minute of the machine meets all of them, and the best call of each counts.
Only ratios of such times are meant to be read.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor

from modinv import Batch

__all__ = ["FULL", "QUICK", "Effort", "Pass", "Time", "best_times", "compiled", "forward_backward", "threads"]

_MOST_CALLS = 50  # of a candidate in one turn
_ENOUGH_SECONDS, _ENOUGH_CALLS = 2.0, 2  # a candidate that has had both leaves the round


class Effort(NamedTuple):
    """How long to look for the best time."""

    rounds: int  # turns of each candidate
    seconds: float  # of each turn; a candidate that needs longer runs once


FULL = Effort(rounds=12, seconds=0.04)
QUICK = Effort(rounds=2, seconds=0.004)


class Pass(NamedTuple):
    """What one forward and one backward pass returns."""

    value: Tensor  # ()
    gradient: Tensor  # (N, D)


class Time(NamedTuple):
    """The best time of one candidate."""

    seconds: float  # of one call
    calls: int  # that it is the best of


def best_times(candidates: Mapping[str, Callable[[], object]], effort: Effort) -> dict[str, Time]:
    """Return the best time of each candidate by name, all of them measured in turns."""
    times = {name: [_time(call)] for name, call in candidates.items()}  # tells how often a turn calls
    repeats = {name: max(1, min(_MOST_CALLS, int(effort.seconds / first))) for name, (first,) in times.items()}
    for _ in range(effort.rounds):
        for name, call in candidates.items():
            if sum(times[name]) < _ENOUGH_SECONDS or len(times[name]) < _ENOUGH_CALLS:
                times[name] += [_time(call) for _ in range(repeats[name])]
    return {name: Time(min(found), len(found)) for name, found in times.items()}


def forward_backward(loss: Callable[..., Tensor], batch: Batch) -> Callable[[], Pass]:
    """Return a call that takes the loss of ``batch`` and its gradient."""
    features = batch.features.detach().requires_grad_()

    def call() -> Pass:
        value = loss(features, batch.labels, batch.modalities)
        (gradient,) = torch.autograd.grad(value, features)
        return Pass(value.detach(), gradient)

    return call


def compiled(loss: Callable[..., Tensor], batch: Batch, *, any_size: bool = False) -> Callable[[], Pass]:
    """Return the same call of the loss compiled for its size, or for any; it is compiled here, before it is timed."""
    loss(*batch)  # an eager loss looks at its first batch; what it remembers would compile the loss again

    def alone(features: Tensor, labels: Tensor, modalities: Tensor) -> Tensor:
        return loss(features, labels, modalities)

    # A code object of its own: torch keeps compilations with the code, and searches those of all losses at each call.
    alone.__code__ = alone.__code__.replace()
    call = forward_backward(torch.compile(alone, fullgraph=True, dynamic=any_size), batch)
    call()
    return call


@contextmanager
def threads(number: int) -> Iterator[None]:
    """Let torch use ``number`` threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _time(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start

"""What each way to estimate a divergence makes of the same drawn batches."""

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

import modinv
from benchmarks.drawn import DIMENSION, MEMORIES, Case, Draws, cases
from benchmarks.timing import threads
from modinv import CrossBatchMemory
from modinv.divergences import divergence_between

__all__ = ["DIVERGENCES", "ROWS", "Choice", "Estimate", "choices", "measure"]

ROWS = (4, 8, 16, 32, 64)  # of each modality in a batch
_INVERSE_FREE = ("wasserstein", "moments")
_WITH_DEBIASED_VARIANCES = ("kl", "jeffreys")
DIVERGENCES = (*_INVERSE_FREE, *_WITH_DEBIASED_VARIANCES, "bhattacharyya", "jensen_shannon")
_LEAST_SHRINKAGE = 1e-6  # of what needs an inverse; variances need no more


class Choice(NamedTuple):
    """A way to estimate a divergence."""

    name: str
    options: dict[str, Any]
    memory: int = 0  # rows of a CrossBatchMemory
    drifting: bool = False


class Estimate(NamedTuple):
    """What a choice makes of many batches of one size; every number is divided by D, as the loss is."""

    case: str
    divergence: str
    choice: Choice
    rows: int
    truth: float  # the divergence of the two Gaussians
    limit: float  # what the choice would give with infinitely many rows
    mean: float
    deviation: float

    @property
    def bias(self) -> float:
        """Mean minus truth."""
        return self.mean - self.truth

    @property
    def error(self) -> float:
        """The root of the mean square distance from the truth."""
        return math.hypot(self.bias, self.deviation)


def choices(divergence: str) -> list[Choice]:
    """Return the ways to estimate a divergence, as far as they exist for it."""
    if divergence in _INVERSE_FREE:
        return [
            Choice("plain", {}),
            *_shrunk(),
            Choice("diagonal", {"covariance": "diagonal"}),
            Choice("debiased", {"debiased": True}),
            *_remembered("", {}),
            Choice(f"debiased, memory {MEMORIES[0]}", {"debiased": True}, MEMORIES[0]),
        ]
    variances = {"covariance": "diagonal", "shrinkage": _LEAST_SHRINKAGE}
    debiased = [Choice("diagonal, debiased", {**variances, "debiased": True})]
    return [
        Choice("shrinkage 0.01", {"shrinkage": 0.01}),
        *_shrunk(),
        Choice("diagonal", variances),
        *(debiased if divergence in _WITH_DEBIASED_VARIANCES else []),
        *_remembered("oas, ", {"shrinkage": "oas"}),
    ]


def measure(draws: int) -> list[Estimate]:
    """Estimate every divergence in every way from the same drawn batches, one thread."""
    with threads(1), torch.no_grad():
        return [
            estimate
            for case in cases()
            for rows in ROWS
            for estimate in _measure_batches(case, rows, Draws(case, rows, draws))
        ]


def _shrunk() -> list[Choice]:
    return [Choice(f"shrinkage {value}", {"shrinkage": value}) for value in (0.1, "oas", "ledoit_wolf")]


def _remembered(prefix: str, options: dict[str, Any]) -> list[Choice]:
    largest = MEMORIES[-1]
    return [
        *(Choice(f"{prefix}memory {size}", options, size) for size in MEMORIES),
        Choice(f"{prefix}memory {largest}, drifting", options, largest, drifting=True),
    ]


def _measure_batches(case: Case, rows: int, draws: Draws) -> Iterator[Estimate]:
    for divergence in DIVERGENCES:
        truth = _exact(case, divergence, {})
        for choice in choices(divergence):
            values = _values(divergence, choice, draws)
            limit = _exact(case, divergence, choice.options)
            yield Estimate(
                *(case.name, divergence, choice, rows, truth, limit), float(values.mean()), float(values.std())
            )


def _values(divergence: str, choice: Choice, draws: Draws) -> Tensor:
    """Return the estimate of each drawn batch, (draws,)."""
    loss = modinv.GaussianDistributionConsistencyLoss(divergence=divergence, **choice.options)  # type: ignore[arg-type]
    if not choice.memory:
        return torch.stack([loss(*batch) for batch in draws.batches]).double()
    values, memory = [], CrossBatchMemory(loss, choice.memory).eval()
    for batch, past in zip(draws.batches, draws.pasts, strict=True):
        memory.load_state_dict((draws.drifted(past) if choice.drifting else past)._asdict())
        values.append(memory(*batch))
    return torch.stack(values).double()


def _exact(case: Case, divergence: str, options: dict[str, Any]) -> float:
    """Return the divergence of the Gaussians; an estimated shrinkage vanishes with infinitely many rows."""
    shrinkage = options.get("shrinkage", 0.0)
    value = divergence_between(
        *case.gaussians,
        divergence=divergence,  # type: ignore[arg-type]
        covariance=options.get("covariance", "full"),
        shrinkage=0.0 if isinstance(shrinkage, str) else shrinkage,
    )
    return float(value) / DIMENSION

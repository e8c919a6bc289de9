"""The learning rate as a function of the step: a linear warm-up, then half a cosine or a few steps down."""

import math
from typing import Literal, NamedTuple

__all__ = ["Schedule", "ScheduleName", "learning_rate_share"]

ScheduleName = Literal["cosine", "step"]


class Schedule(NamedTuple):
    """Which share of the largest learning rate a training takes when.

    Args:
        name: ``"cosine"`` falls to zero; ``"step"`` is multiplied by `decay` at each of the milestones.
        warmup: share of the steps over which the rate rises linearly.
        milestones: shares of the steps, of ``"step"`` only. The default is AGW's: after 20 and 50 of 80 epochs
            (Ye et al., TPAMI 2022, and its code).
        decay: factor at a milestone, of ``"step"`` only.
    """

    name: ScheduleName = "cosine"
    warmup: float = 0.1
    milestones: tuple[float, ...] = (0.25, 0.625)
    decay: float = 0.1


def learning_rate_share(step: int, steps: int, schedule: Schedule) -> float:
    """Tell which share of the largest learning rate a step takes, counted from 0: above 0, at most 1."""
    warm = schedule.warmup * steps
    if step + 1 < warm:
        return (step + 1) / warm
    if schedule.name == "cosine":
        return 0.5 + 0.5 * math.cos(math.pi * (step - warm + 1) / (steps - warm + 1))
    passed = sum(step >= share * steps for share in schedule.milestones)
    return float(schedule.decay**passed)

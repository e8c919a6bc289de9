"""Tests of reid.training.schedule: the learning rate as a function of the step."""

from itertools import pairwise

import pytest

from reid.training.schedule import Schedule, learning_rate_share


def shares(steps: int, schedule: Schedule) -> list[float]:
    return [learning_rate_share(step, steps, schedule) for step in range(steps)]


def test_learning_rate_rises_linearly_then_falls_as_a_cosine() -> None:
    found = shares(1000, Schedule("cosine", warmup=0.1))
    assert found[:100] == pytest.approx([(step + 1) / 100 for step in range(100)])
    assert found[549] == pytest.approx(0.5, abs=2e-3)
    assert all(later < earlier for earlier, later in pairwise(found[99:]))
    assert 0 < found[-1] < 1e-5


def test_learning_rate_without_warmup_starts_at_the_top() -> None:
    assert learning_rate_share(0, 10, Schedule("cosine", warmup=0.0)) == pytest.approx(1, abs=0.03)
    assert learning_rate_share(0, 10, Schedule("step", warmup=0.0)) == 1


def test_steps_are_those_of_agw_by_default() -> None:
    found = shares(80, Schedule("step", warmup=0.125))
    expected = [(step + 1) / 10 for step in range(10)] + [1.0] * 10 + [0.1] * 30 + [0.01] * 30
    assert found == pytest.approx(expected)


def test_milestones_and_decay_can_be_chosen() -> None:
    assert shares(4, Schedule("step", warmup=0, milestones=(0.5,), decay=0.25)) == [1, 1, 0.25, 0.25]

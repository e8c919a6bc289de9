import threading
import time

import pytest

from reid.threads import map_in_threads


def test_results_come_in_the_order_of_the_items() -> None:
    def late(number: int) -> int:
        time.sleep(0.01 if number % 7 == 0 else 0)
        return number * 2

    assert list(map_in_threads(late, range(300))) == [number * 2 for number in range(300)]


def test_items_are_worked_on_at_once() -> None:
    both = threading.Barrier(2, timeout=10)  # passes when two threads are inside
    assert len(list(map_in_threads(lambda _: both.wait(), range(2)))) == 2


def test_no_items_give_no_results() -> None:
    assert list(map_in_threads(str, [])) == []


def test_error_reaches_the_caller_and_stops_the_rest() -> None:
    called: list[int] = []

    def fail(number: int) -> None:
        called.append(number)
        if number == 3:
            raise ValueError("three")
        time.sleep(0.02)

    with pytest.raises(ValueError, match="three"):
        list(map_in_threads(fail, range(100_000)))
    assert len(called) < 80  # of those that were waiting already


def test_work_is_only_a_little_ahead_of_the_reader() -> None:
    called: list[int] = []
    results = map_in_threads(called.append, range(100_000))
    next(results)
    time.sleep(0.1)
    assert len(called) < 1000
    results.close()  # type: ignore[attr-defined]

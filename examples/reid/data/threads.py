"""Does one thing to many items in threads, and gives the results in the order of the items."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final, TypeVar

__all__ = ["map_in_threads"]

# Enough to keep all threads busy, few enough to hold in memory when the results are taken slowly.
_AHEAD: Final = 128

Item = TypeVar("Item")
Result = TypeVar("Result")


def map_in_threads(function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """Call a function on every item, on several at a time.

    This makes sense where the time goes into code that leaves the interpreter's lock: decoders, large arrays, disks.
    Whoever stops taking results, or is interrupted, stops the calls too.

    Args:
        function: may be called in any thread.
        items: its arguments.

    Returns:
        The results, in the order of the items.
    """
    pool = ThreadPoolExecutor()
    waiting: deque[Future[Result]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) > _AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)

"""Does one thing to many items in threads, and gives the results in the order of the items."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Final, TypeVar

__all__ = ["map_in_threads"]

# Enough to keep all threads busy, few enough to hold in memory when the results are taken slowly.
_AHEAD: Final = 128

Item = TypeVar("Item")
Result = TypeVar("Result")


def map_in_threads(function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """Call a function on every item, on several at a time, and give the results in the order of the items.

    This makes sense where the time goes into code that leaves the interpreter's lock: decoders, large arrays, disks.
    When the caller stops taking results, or is interrupted, the calls stop too.
    """
    items = iter(items)
    with ThreadPoolExecutor() as pool:
        while batch := list(islice(items, _AHEAD)):
            yield from pool.map(function, batch)

"""Turns the first Ctrl-C into a request, which a training obeys between two steps."""

import multiprocessing.synchronize
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

__all__ = ["Flag", "request_on_interrupt"]


Flag = threading.Event | multiprocessing.synchronize.Event


@contextmanager
def request_on_interrupt(flag: Flag, *, once: bool = True) -> Iterator[None]:
    """Raise the flag, and no exception, on the first SIGINT inside of the block; a second interrupts at once.

    `once` is false where one Ctrl-C arrives twice, from the terminal and from torchrun: no exception then.
    """

    def request(number: int, frame: FrameType | None) -> None:
        flag.set()
        if once:
            signal.signal(signal.SIGINT, before)

    before = signal.signal(signal.SIGINT, request)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)

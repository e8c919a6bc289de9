"""A property that is computed once, like ``functools.cached_property`` but without its lock.

Up to Python 3.11 that lock is a context manager which ``torch.compile`` refuses.
"""

from collections.abc import Callable
from typing import Any, TypeVar

__all__ = ["lazy"]

T = TypeVar("T")


def lazy(compute: Callable[[Any], T]) -> T:
    """Make a property of ``compute``, called when the property is first read."""
    name = f"_lazy_{compute.__name__}"

    def read(self: Any) -> T:
        if not hasattr(self, name):
            setattr(self, name, compute(self))
        value: T = getattr(self, name)
        return value

    return property(read, doc=compute.__doc__)  # type: ignore[return-value]

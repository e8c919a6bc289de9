"""Of many combinations the quick run takes as few as show each value once; the others are slow."""

from collections.abc import Container, Iterable, Mapping
from itertools import product
from typing import Any

import pytest

__all__ = ["combined"]


def combined(slow: Container[str] = (), **axes: Mapping[str, Any] | Iterable[Any]) -> pytest.MarkDecorator:
    """Parametrise a test by every combination of the axes, as many of them quick as the longest axis has values.

    What has a name in ``slow`` is never quick.
    """
    named = [list(_with_names(axis)) for axis in axes.values()]
    sizes = [len(axis) for axis in named]
    # Shifted by one after each round, so that two axes of a common period do not always pair the same values.
    quick = {tuple((step + step // size) % size for size in sizes) for step in range(max(sizes))}
    cases = []
    for places in product(*map(range, sizes)):
        names, values = zip(*(axis[place] for axis, place in zip(named, places, strict=True)), strict=True)
        marks = () if places in quick and not any(name in slow for name in names) else pytest.mark.slow
        cases.append(pytest.param(*values, id="-".join(names), marks=marks))
    return pytest.mark.parametrize(list(axes), cases)


def _with_names(axis: Mapping[str, Any] | Iterable[Any]) -> Iterable[tuple[str, Any]]:
    return axis.items() if isinstance(axis, Mapping) else ((str(value), value) for value in axis)

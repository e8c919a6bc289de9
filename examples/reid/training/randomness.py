"""The random numbers of a training: all sources seeded together, and carried over an interruption."""

import os
import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

__all__ = ["deterministic_algorithms", "random_states", "restore_random_states", "seed_everything"]


def seed_everything(seed: int) -> None:
    """Seed the global generators of Python, numpy and torch, the latter on every device; from 0 to 2**32 - 1."""
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 the global one is meant: a branch of the user's own may draw from it
    torch.manual_seed(seed)


def random_states() -> dict[str, Any]:
    """Read where the global generators stand, in values that `torch.load` reads with ``weights_only=True``."""
    name, key, *rest = np.random.get_state()  # noqa: NPY002
    return {
        "python": random.getstate(),
        "numpy": (str(name), np.asarray(key).tolist(), *rest),
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def restore_random_states(states: dict[str, Any]) -> None:
    """Set the global generators to where they stood, those of graphics cards only where their number is the same."""
    version, key, gauss = states["python"]
    random.setstate((version, tuple(key), gauss))
    np.random.set_state(tuple(states["numpy"]))  # noqa: NPY002
    torch.set_rng_state(states["torch"])
    if torch.cuda.is_available() and len(states["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(states["cuda"])


@contextmanager
def deterministic_algorithms(wanted: bool) -> Iterator[None]:
    """Let torch take algorithms that give the same bits every time, inside of the block, where it is wanted.

    A CPU does so anyhow with one number of threads; on a GPU it costs some speed.
    """
    if not wanted:
        yield
        return
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS reads it when it starts
    before = torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.benchmark
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.benchmark = False
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0])
        torch.backends.cudnn.benchmark = before[1]

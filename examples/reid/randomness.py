"""The random numbers of a training: all sources seeded together, and carried over an interruption."""

import random
from typing import Any

import numpy as np
import torch

__all__ = ["random_states", "restore_random_states", "seed_everything"]


def seed_everything(seed: int) -> None:
    """Seed the global generators of Python, numpy and torch, the latter on every device.

    Args:
        seed: from 0 to 2**32 - 1.
    """
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 the global one is meant: a branch of the user's own may draw from it
    torch.manual_seed(seed)


def random_states() -> dict[str, Any]:
    """Read where the global generators stand.

    Returns:
        Numbers, tuples and tensors, which `torch.load` reads with ``weights_only=True``.
    """
    name, key, *rest = np.random.get_state()  # noqa: NPY002
    return {
        "python": random.getstate(),
        "numpy": (str(name), np.asarray(key).tolist(), *rest),
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def restore_random_states(states: dict[str, Any]) -> None:
    """Set the global generators to where they stood.

    Args:
        states: from `random_states`; those of graphics cards are left out where their number differs.
    """
    version, key, gauss = states["python"]
    random.setstate((version, tuple(key), gauss))
    np.random.set_state(tuple(states["numpy"]))  # noqa: NPY002
    torch.set_rng_state(states["torch"])
    if torch.cuda.is_available() and len(states["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(states["cuda"])

"""Tries two steps before a training starts, to say how long it will take and how much memory."""

import resource
import sys
import time
from collections.abc import Sequence

import torch

from reid.data.reading import list_source
from reid.experiments.experiment import build_network
from reid.experiments.settings import Settings, Task
from reid.training.methods import METHODS
from reid.training.objective import Objective
from reid.training.precision import Descent

__all__ = ["estimate"]


def estimate(settings: Settings, tasks: Sequence[Task], *, workers: int = 1) -> str:
    """Say in a few words what training the tasks takes, evaluations left out; a network of its own is tried."""
    identities = len(set(list_source(settings.source).train.identities.tolist()))
    seconds = {name: _seconds(settings, name, identities) for name in {task.method for task in tasks}}
    minutes = settings.training.steps * sum(seconds[task.method] for task in tasks) / min(workers, len(tasks)) / 60
    if settings.device.startswith("cuda"):
        memory = f"{torch.cuda.max_memory_allocated(settings.device) / 2**30:.1f} GiB of the GPU's memory"
    else:  # with the images, which are in memory by now
        unit = 2**30 if sys.platform == "darwin" else 2**20  # macOS counts in bytes, others in KiB
        memory = f"{workers * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit:.1f} GiB of memory"
    length = f"{max(minutes, 1):.0f} min" if minutes < 120 else f"{minutes / 60:.0f} h"
    return f"about {length} and {memory}"


def _seconds(settings: Settings, method: str, identities: int) -> float:
    """Time a step; the first one only warms up."""
    options = settings.training
    network = build_network(settings, METHODS[method], identities).train()
    descent = Descent(network, torch.optim.SGD(network.parameters(), 0.0), precision=options.precision)
    objective, half = Objective(METHODS[method]), options.identities * options.images
    if options.precision == "float64":
        network.double()
    images = torch.rand(2 * half, 3, *settings.size, device=settings.device, dtype=next(network.parameters()).dtype)
    labels = torch.arange(options.identities, device=settings.device).repeat_interleave(options.images).repeat(2)
    modalities = torch.arange(2, device=settings.device).repeat_interleave(half)
    for _ in range(2):
        started = time.perf_counter()
        with descent.autocast():
            outputs = network(images, modalities)
        float(descent.step(objective(outputs, labels, modalities)))  # waits for the device
        seconds = time.perf_counter() - started
    return seconds

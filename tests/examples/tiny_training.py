"""The smallest training that there can be, for the tests of everything that a training is made of."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from reid.data.dataset import TrainingSet
from reid.network.model import TwoStreamNetwork
from reid.training.engine import train
from reid.training.epochs import Epoch
from reid.training.methods import METHODS
from reid.training.objective import Objective
from reid.training.options import TrainingOptions
from reid.training.randomness import seed_everything
from reid.training.ranks import ALONE, Ranks
from reid.training.session import Observer

OPTIONS = TrainingOptions(steps=8, identities=4, images=2, checkpoint_every=3)


class Listener(Observer):
    """Keeps everything that it is told."""

    def __init__(self) -> None:
        self.done = -1
        self.epochs: list[Epoch] = []

    def begin(self, done: int) -> None:
        self.done = done

    def end_epoch(self, epoch: Epoch) -> None:
        self.epochs.append(epoch)


def tiny_data() -> TrainingSet:
    """Five identities with five images in each modality, three batches an epoch, each identity of one brightness."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(5).repeat(10)  # (50,)
    noise = torch.randint(0, 60, (50, 3, 32, 16), generator=generator)
    images = (noise + 40 * labels[:, None, None, None]).to(torch.uint8)
    return TrainingSet(images, labels, torch.arange(50) // 25, 5)


def train_tiny(
    checkpoint: Path,
    *,
    seed: int = 0,
    method: str = "full",
    options: TrainingOptions = OPTIONS,
    resume: bool = False,
    stop: Callable[[], bool] = lambda: False,
    observer: Observer | None = None,
    ranks: Ranks = ALONE,
) -> dict[str, Tensor]:
    """Train a network on `tiny_data` and return its weights."""
    seed_everything(seed)
    network = TwoStreamNetwork(5, enhance=METHODS[method].enhance)
    train(
        network,
        Objective(METHODS[method]),
        tiny_data(),
        options,
        seed=seed,
        checkpoint=checkpoint,
        described={"seed": seed},
        resume=resume,
        stop=stop,
        observer=observer,
        ranks=ranks,
    )
    return network.state_dict()


def stop_after(steps: int) -> Callable[[], bool]:
    """Ask to stop when so many steps are done."""
    asked = iter([False] * steps + [True])
    return lambda: next(asked)


def content(path: Path) -> Any:
    """Read a checkpoint."""
    return torch.load(path, weights_only=True)


def assert_same(found: Any, expected: Any) -> None:
    """Compare nested dicts and sequences of tensors and numbers, bit for bit."""
    if isinstance(expected, dict):
        assert found.keys() == expected.keys()
        for key, value in expected.items():
            assert_same(found[key], value)
    elif isinstance(expected, list | tuple):
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            assert_same(one, other)
    elif isinstance(expected, Tensor):
        assert torch.equal(found, expected)
    else:
        assert found == expected

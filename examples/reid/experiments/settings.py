"""What is trained and how: everything that determines the numbers of a table, as data."""

import json
from pathlib import Path
from typing import Any, NamedTuple

from reid.data.reading import Source, describe_source
from reid.experiments.results import sha256
from reid.network.model import BackboneName
from reid.training.methods import METHODS, Method
from reid.training.options import TrainingOptions
from reid.training.selection import Selection

__all__ = ["Settings", "Task", "describe"]


class Settings(NamedTuple):
    """What all models of a table have in common."""

    source: Source
    size: tuple[int, int] = (64, 32)
    backbone: BackboneName = "small"
    private_stages: int = 0
    weights: Path | None = None  # state dict of an ordinary ResNet-50 to start from
    select: Selection = "last"  # which epoch's weights are scored in the end
    evaluate_every: int = 1  # epochs between two scores to select by
    device: str = "cpu"
    deterministic: bool = False
    compile: bool = False
    training: TrainingOptions = TrainingOptions()
    cache: Path | None = None  # folder for decoded images; it does not change a number, nor does the next one
    tensorboard: bool = False


class Task(NamedTuple):
    """One model to train."""

    method: str  # a name in METHODS
    seed: int

    @property
    def name(self) -> str:
        """How its files are called, before the dot."""
        return f"{self.method}-seed{self.seed}"

    @property
    def title(self) -> str:
        """How bars and lines call it."""
        return f"{METHODS[self.method].title}, seed {self.seed}"


def describe(settings: Settings, methods: list[str]) -> dict[str, Any]:
    """List everything beside the seed that determines the numbers, as JSON values."""
    described = settings._asdict()
    training = described.pop("training")._asdict()
    schedule, augmentation = training.pop("schedule")._asdict(), training.pop("augmentation")._asdict()
    described = {
        **describe_source(described.pop("source")),
        **described,
        **training,
        "schedule": schedule.pop("name"),
        **schedule,
        **augmentation,
        "methods": {name: _describe_method(METHODS[name]) for name in methods},
    }
    if settings.weights:
        described["weights"] = sha256(settings.weights)  # wherever the file lies
    for name in ("cache", "tensorboard", "checkpoint_every"):
        del described[name]
    plain: dict[str, Any] = json.loads(json.dumps(described, default=Path.as_posix))
    return plain


def _describe_method(method: Method) -> dict[str, Any]:
    return {
        name: f"{term.weight} x {' '.join(repr(term.loss()).split())} on {term.reads}, "
        f"warmed up over {term.warmup} of the steps"
        for name, term in method.terms.items()
    }

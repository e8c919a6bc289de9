"""One trained and scored model, from a method and a seed; what the rows of the table are made of."""

import json
import sys
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from reid.dataset import Dataset, list_sysu, load_dataset
from reid.engine import TrainingOptions, extract_embeddings, train
from reid.methods import METHODS, Method
from reid.model import BackboneName, TwoStreamNetwork
from reid.objective import Objective
from reid.protocols import GalleryChoice, Mode, evaluate_trials
from reid.randomness import seed_everything
from reid.resnet import TwoStreamResNet50, load_imagenet_weights
from reid.results import Run, sha256

__all__ = ["Settings", "Task", "build_network", "describe", "read_dataset", "run_task"]


class Settings(NamedTuple):
    """What all models of a table have in common."""

    data: Path
    size: tuple[int, int] = (64, 32)
    backbone: BackboneName = "small"
    weights: Path | None = None
    """State dict of an ordinary ResNet-50 to start from."""
    gallery: GalleryChoice = "official"
    mode: Mode = "all"
    device: str = "cpu"
    training: TrainingOptions = TrainingOptions()


class Task(NamedTuple):
    """One model to train."""

    method: str
    """A name in `METHODS`."""
    seed: int

    @property
    def title(self) -> str:
        """How bars and lines call it."""
        return f"{METHODS[self.method].title}, seed {self.seed}"


def run_task(
    task: Task,
    settings: Settings,
    folder: Path,
    *,
    resume: bool = False,
    stop: Callable[[], bool] = lambda: False,
    progress: bool = True,
) -> Run:
    """Train a model and score it on every trial; its checkpoint and its log are left in the folder.

    Methods with equal seeds start from the same shared weights and see the same altered images in the same
    batches, so that they can be compared in pairs.

    Args:
        task: method and seed.
        settings: of all models alike.
        folder: for ``METHOD-seedN.pt`` and ``METHOD-seedN.log``, one JSON object a line.
        resume: whether to go on from the checkpoint, where there is one.
        stop: asked before each step.
        progress: whether to show bars where there is a terminal.

    Returns:
        The seed, the scores of the trials and the SHA-256 of the checkpoint.

    Raises:
        Stopped: when `stop` said so.
        ResumeError, OSError, ValueError: one sentence on a checkpoint, a data set or weights that do not fit.
    """
    data = read_dataset(settings)
    seed_everything(task.seed)
    method = METHODS[task.method]
    network = build_network(settings, method, data.train.num_identities)
    name = f"{task.method}-seed{task.seed}"
    checkpoint = folder / f"{name}.pt"
    train(
        network,
        Objective(method),
        data.train,
        settings.training,
        seed=task.seed,
        checkpoint=checkpoint,
        described={**describe(settings, [task.method]), "seed": task.seed},
        resume=resume,
        stop=stop,
        report=_log_writer(folder / f"{name}.log", anew=not (resume and checkpoint.is_file())),
        title=task.title,
        progress=progress,
    )
    embeddings = extract_embeddings(network, data.test.images, data.test.modalities)
    return Run(task.seed, evaluate_trials(embeddings, data.test.trials), sha256(checkpoint))


def read_dataset(settings: Settings) -> Dataset:
    """Read the data set of the settings; a process reads it once, however many models it trains.

    Args:
        settings: see there.

    Returns:
        The data set; nobody writes into it.

    Raises:
        OSError, ValueError: one sentence, when the folder is not laid out as it should be.
    """
    return _read(settings.data, settings.size, settings.gallery, settings.mode)


def build_network(settings: Settings, method: Method, num_identities: int) -> TwoStreamNetwork:
    """Build the network of a method, with the parts that it trains.

    Args:
        settings: backbone, weights and device.
        method: tells whether there are private branches.
        num_identities: in training.

    Returns:
        The network on its device.

    Raises:
        OSError, ValueError: when the weights cannot be read or do not fit.
    """
    network = TwoStreamNetwork(num_identities, backbone=settings.backbone, enhance=method.enhance)
    if settings.weights is not None and isinstance(network.backbone, TwoStreamResNet50):
        load_imagenet_weights(network.backbone, settings.weights)
    return network.to(settings.device)


def describe(settings: Settings, methods: list[str]) -> dict[str, Any]:
    """List everything beside the seed that determines the numbers.

    Args:
        settings: of all models alike.
        methods: names in `METHODS`.

    Returns:
        JSON values.
    """
    training = settings.training._asdict()
    augmentation = training.pop("augmentation")._asdict()
    described = {
        **settings._asdict(),
        **training,
        **augmentation,
        "methods": {name: _describe_method(METHODS[name]) for name in methods},
    }
    del described["training"]
    plain: dict[str, Any] = json.loads(json.dumps(described, default=Path.as_posix))
    return plain


def _describe_method(method: Method) -> dict[str, Any]:
    return {
        name: f"{term.weight} x {term.loss()} on {term.reads}, warmed up over {term.warmup} of the steps"
        for name, term in method.terms.items()
    }


@cache
def _read(root: Path, size: tuple[int, int], gallery: GalleryChoice, mode: Mode) -> Dataset:
    return load_dataset(list_sysu(root, gallery=gallery, mode=mode), size, progress=sys.stderr.isatty())


def _log_writer(path: Path, *, anew: bool) -> Callable[[int, Mapping[str, float]], None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    if anew:
        path.write_text("", encoding="utf-8")

    def write(step: int, terms: Mapping[str, float]) -> None:
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"step": step, **terms}) + "\n")

    return write

"""One trained and scored model, from a method and a seed; what the rows of the table are made of."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch

from reid.data.dataset import Dataset
from reid.data.reading import list_source, read_source
from reid.experiments.results import Run, sha256
from reid.experiments.settings import Settings, Task, describe
from reid.network.extraction import extract_embeddings
from reid.network.model import TwoStreamNetwork
from reid.network.resnet import TwoStreamResNet50
from reid.network.weights import WeightReport, load_imagenet_weights
from reid.protocols import evaluate_trials
from reid.training.engine import train
from reid.training.methods import METHODS, Method
from reid.training.objective import Objective
from reid.training.randomness import deterministic_algorithms, seed_everything
from reid.training.ranks import ALONE, Ranks
from reid.training.recording import Recorder
from reid.training.selection import BestModel
from reid.training.snapshot import Embeddings, choose_pictured, write_embeddings

__all__ = ["build_network", "load_weights", "run_task"]


def run_task(
    task: Task,
    settings: Settings,
    folder: Path,
    *,
    resume: bool = False,
    stop: Callable[[], bool] = lambda: False,
    progress: bool = True,
    ranks: Ranks = ALONE,
) -> Run:
    """Train a model and score it on every trial; its checkpoint, its log and its embeddings are left in the folder.

    Methods with equal seeds start from the same shared weights and see the same altered images in the same
    batches, so that they can be compared in pairs.

    Args:
        task, settings: which model.
        folder: for ``METHOD-seedN.pt``, ``.csv`` and ``.npz``, and ``METHOD-seedN-best.pt`` where it is chosen.
        resume, stop, progress, ranks: see `train`; the first process scores the model.

    Raises:
        Stopped: when `stop` said so.
        ResumeError, OSError, ValueError: one sentence on a checkpoint, a data set or weights that do not fit.
    """
    data = read_source(settings.source, settings.size, settings.cache)
    seed_everything(task.seed)
    network = build_network(settings, METHODS[task.method], data.train.num_identities)
    with deterministic_algorithms(settings.deterministic):
        run = _train_and_score(network, task, settings, folder, data, _Way(resume, stop, progress, ranks))
    return ranks.share(run)


def build_network(settings: Settings, method: Method, num_identities: int) -> TwoStreamNetwork:
    """Build the network of a method, with the parts that it trains, on its device."""
    network = TwoStreamNetwork(
        num_identities, backbone=settings.backbone, enhance=method.enhance, private_stages=settings.private_stages
    )
    load_weights(network, settings)
    return network.to(settings.device)


def load_weights(network: TwoStreamNetwork, settings: Settings) -> WeightReport | None:
    """Start the backbone from the weight file of the settings, if there is one, and tell what was in it."""
    if settings.weights is None or not isinstance(network.backbone, TwoStreamResNet50):
        return None
    return load_imagenet_weights(network.backbone, settings.weights)


class _Way(NamedTuple):
    """How a task is gone about; nothing of it changes a number."""

    resume: bool
    stop: Callable[[], bool]
    progress: bool
    ranks: Ranks


def _train_and_score(
    network: TwoStreamNetwork, task: Task, settings: Settings, folder: Path, data: Dataset, way: _Way
) -> Run | None:
    """Return the run on the first process, nothing on the others."""
    described = {**describe(settings, [task.method]), "seed": task.seed}
    checkpoint = folder / f"{task.name}.pt"
    test, shown = data.test, choose_pictured(data.test.trials.identities)
    some = (test.images[shown], test.modalities[shown])
    before = extract_embeddings(network, *some, progress=way.progress) if way.ranks.first else None
    if settings.compile:
        network.compile_shared()
    best = _best_model(folder / f"{task.name}-best.pt", settings, data, described)
    train(
        network,
        Objective(METHODS[task.method]),
        data.train,
        settings.training,
        seed=task.seed,
        checkpoint=checkpoint,
        described=described,
        resume=way.resume,
        stop=way.stop,
        observer=Recorder(
            network, task.title, folder / task.name, settings.training.steps, best, tensorboard=settings.tensorboard
        ),
        title=task.title,
        progress=way.progress,
        ranks=way.ranks,
    )
    if before is None:
        return None
    if best is not None:
        best.restore(network)
    embeddings = extract_embeddings(network, test.images, test.modalities, progress=way.progress)
    labels = (torch.from_numpy(test.trials.identities[shown]), test.modalities[shown])
    files, root = list_source(settings.source).test.images.paths, settings.source.root
    paths = tuple(Path(os.path.relpath(files[row], root)).as_posix() for row in shown)
    after = embeddings[shown].float()
    write_embeddings(folder / f"{task.name}.npz", Embeddings(before.float(), after, *labels, paths))
    scored = checkpoint if best is None else best.path
    return Run(task.seed, evaluate_trials(embeddings, test.trials), sha256(scored))


def _best_model(path: Path, settings: Settings, data: Dataset, described: dict[str, Any]) -> BestModel | None:
    held_out = {"last": None, "validation": data.validation, "test": data.test}[settings.select]
    if held_out is None:
        return None
    return BestModel(path, held_out, every=settings.evaluate_every, steps=settings.training.steps, options=described)

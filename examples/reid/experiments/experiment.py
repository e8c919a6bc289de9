"""One trained and scored model, from a method and a seed; what the rows of the table are made of."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from reid.data.dataset import Dataset, HeldOutSet
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
    described = {**describe(settings, [task.method]), "seed": task.seed}
    best = _best_model(folder / f"{task.name}-best.pt", settings, data, described)
    steps = settings.training.steps
    with deterministic_algorithms(settings.deterministic):
        before = _embed_some(network, data.test, progress) if ranks.first else None
        if settings.compile:
            network.compile_shared()
        train(
            network,
            Objective(METHODS[task.method]),
            data.train,
            settings.training,
            seed=task.seed,
            checkpoint=folder / f"{task.name}.pt",
            described=described,
            resume=resume,
            stop=stop,
            observer=Recorder(network, task.title, folder / task.name, steps, best, settings.tensorboard),
            title=task.title,
            progress=progress,
            ranks=ranks,
        )
        run = None if before is None else _score(network, task, settings, folder, data.test, before, best, progress)
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


def _embed_some(network: TwoStreamNetwork, test: HeldOutSet, progress: bool) -> Tensor:
    rows = choose_pictured(test.trials.identities)
    return extract_embeddings(network, test.images[rows], test.modalities[rows], progress=progress)


def _score(
    network: TwoStreamNetwork,
    task: Task,
    settings: Settings,
    folder: Path,
    test: HeldOutSet,
    before: Tensor,
    best: BestModel | None,
    progress: bool,
) -> Run:
    """Score the weights that count, and leave embeddings of some images for the report."""
    if best is not None:
        best.restore(network)
    after = extract_embeddings(network, test.images, test.modalities, progress=progress)
    rows = choose_pictured(test.trials.identities)
    labels = (torch.from_numpy(test.trials.identities[rows]), test.modalities[rows])
    files, root = list_source(settings.source).test.images.paths, settings.source.root
    paths = tuple(Path(os.path.relpath(files[row], root)).as_posix() for row in rows)
    write_embeddings(folder / f"{task.name}.npz", Embeddings(before.float(), after[rows].float(), *labels, paths))
    scored = folder / f"{task.name}.pt" if best is None else best.path
    return Run(task.seed, evaluate_trials(after, test.trials), sha256(scored))


def _best_model(path: Path, settings: Settings, data: Dataset, described: dict[str, Any]) -> BestModel | None:
    held_out = {"last": None, "validation": data.validation, "test": data.test}[settings.select]
    if held_out is None:
        return None
    return BestModel(path, held_out, every=settings.evaluate_every, steps=settings.training.steps, options=described)

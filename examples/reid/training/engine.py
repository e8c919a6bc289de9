"""Trains a network from its first step, or from where it was stopped, to its last."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from torch import nn
from tqdm import tqdm

from reid.data.dataset import TrainingSet
from reid.training.checkpoint import load_checkpoint, save_checkpoint
from reid.training.objective import Objective
from reid.training.options import TrainingOptions
from reid.training.ranks import ALONE, Ranks
from reid.training.session import Observer, batches_of, begin_session, end_epoch, take_step

__all__ = ["Stopped", "train"]


class Stopped(KeyboardInterrupt):
    """A training was asked to stop, and left a whole checkpoint."""


def train(
    model: nn.Module,
    objective: Objective,
    data: TrainingSet,
    options: TrainingOptions,
    *,
    seed: int,
    checkpoint: Path,
    described: Mapping[str, Any],
    resume: bool = False,
    stop: Callable[[], bool] = lambda: False,
    observer: Observer | None = None,
    title: str = "training",
    progress: bool = True,
    ranks: Ranks = ALONE,
) -> None:
    """Train a network in place, on the device on which its parameters are.

    Every random number depends on the seed and the state of the global generators alone, and a training
    that was stopped and resumed gives, on a CPU, bit for bit the network of one that was not. Several processes
    that share each batch give the network of one, up to rounding.

    Args:
        model, objective, data, options: what is trained, by which loss, on what, and how.
        seed: of the batches and of the augmentation; the initial weights are the caller's.
        checkpoint: file of the state, written while training and at the end.
        described: everything that determines the result, JSON values; stored in the checkpoint and compared.
        resume: whether to go on from the checkpoint, where there is one.
        stop: asked before each step.
        observer: called at the beginning and after each epoch.
        title, progress: of the progress bar, which only a terminal shows.
        ranks: this process among those that train the model.

    Raises:
        Stopped: when `stop` said so; the checkpoint holds every step that was made.
        ResumeError: when the checkpoint is not one of this training.
        NotWrittenError: when the disk is full; the last checkpoint is whole.
    """
    session = begin_session(model, objective, data, options, seed, observer or Observer(), ranks)
    done = load_checkpoint(checkpoint, session.state, described) if resume and checkpoint.is_file() else 0
    if ranks.first:
        session.observer.begin(done)

    def save(step: int) -> None:
        if ranks.first:
            save_checkpoint(checkpoint, session.state, step, described)

    batches, length = batches_of(session.sampler, done), len(session.sampler)
    quiet = None if progress and ranks.first else True  # None: quiet unless there is a terminal
    for step in tqdm(
        range(done, options.steps), title, options.steps, initial=done, unit="step", disable=quiet, leave=False
    ):
        if ranks.any(stop()):
            save(step)
            raise Stopped(f"stopped after {step} of {options.steps} steps")
        take_step(session, next(batches), step)
        if (step + 1) % length == 0 or step + 1 == options.steps:
            end_epoch(session, step // length + 1, step + 1)
        if (step + 1) % options.checkpoint_every == 0 and step + 1 < options.steps:
            save(step + 1)
    save(options.steps)

"""Trains a network on batches of a sampler, and extracts the features of images with it."""

import math
from collections.abc import Callable, Iterator, Mapping
from itertools import count, islice
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from tqdm import tqdm

from reid.checkpoint import State, load_checkpoint, save_checkpoint
from reid.dataset import TrainingSet
from reid.objective import Objective
from reid.sampler import CrossModalityPKSampler
from reid.transforms import Augmentation, augment, normalize

__all__ = ["Stopped", "TrainingOptions", "extract_embeddings", "learning_rate_share", "train"]

# Reading a number waits for the device, so the terms are looked at now and then only.
_REPORT_EVERY = 25


class TrainingOptions(NamedTuple):
    """How a network is trained.

    Args:
        steps: number of batches.
        identities: P, identities per batch.
        images: K, images of each identity in each modality.
        learning_rate: the largest, of AdamW.
        weight_decay: of AdamW, its usual value.
        warmup: share of the steps over which the learning rate rises linearly; then it falls as a cosine.
        checkpoint_every: steps between two checkpoints; there is always one at the end.
        augmentation: how strongly images are altered.
    """

    steps: int = 1500
    identities: int = 8
    images: int = 4
    learning_rate: float = 3e-3
    weight_decay: float = 0.01
    warmup: float = 0.1
    checkpoint_every: int = 250
    augmentation: Augmentation = Augmentation()


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
    report: Callable[[int, Mapping[str, float]], None] = lambda step, terms: None,
    title: str = "training",
    progress: bool = True,
) -> None:
    """Train a network in place, on the device on which its parameters are.

    Every random number depends on the seed and the state of the global generators alone, and a training
    that was stopped and resumed gives, on a CPU, bit for bit the network of one that was not.

    Args:
        model: the network.
        objective: its loss; the progress of its weights is set here.
        data: in the memory of the host.
        options: how to train.
        seed: of the batches and of the augmentation; the initial weights are the caller's.
        checkpoint: file of the state, written while training and at the end.
        described: everything that determines the result, JSON values; stored in the checkpoint and compared.
        resume: whether to go on from the checkpoint, where there is one.
        stop: asked before each step.
        report: called now and then with the number of steps done and the terms of the objective.
        title: of the progress bar.
        progress: whether to show the bar, which a terminal only gets to see.

    Raises:
        Stopped: when `stop` said so; the checkpoint holds every step that was made.
        ResumeError: when the checkpoint is not one of this training.
    """
    device = next(model.parameters()).device
    optimizer = torch.optim.AdamW(
        model.parameters(), options.learning_rate, weight_decay=options.weight_decay, fused=True
    )
    state = State(model.train(), optimizer, torch.Generator().manual_seed(seed))
    done = load_checkpoint(checkpoint, state, described) if resume and checkpoint.is_file() else 0
    batches = _batches(data, options, seed, done)
    steps = range(done, options.steps)
    quiet = None if progress else True  # None: quiet unless there is a terminal
    for step in tqdm(steps, title, options.steps, initial=done, unit="step", leave=False, disable=quiet):
        if stop():
            save_checkpoint(checkpoint, state, step, described)
            raise Stopped(f"stopped after {step} of {options.steps} steps")
        images, labels, modalities = (part.to(device) for part in _batch(data, next(batches), options, state))
        _set_schedules(state, objective, step, options)
        terms = objective.terms(model(images, modalities), labels, modalities)
        _descend(optimizer, terms.total)
        if (step + 1) % _REPORT_EVERY == 0:
            report(step + 1, {name: float(value.detach()) for name, value in terms._asdict().items()})
        if (step + 1) % options.checkpoint_every == 0:
            save_checkpoint(checkpoint, state, step + 1, described)
    save_checkpoint(checkpoint, state, options.steps, described)


def learning_rate_share(step: int, options: TrainingOptions) -> float:
    """Tell which share of the largest learning rate a step takes: linear warm-up, then half a cosine to zero.

    Args:
        step: from 0.
        options: number of steps, and the share of them that warms up.

    Returns:
        A number above 0, at most 1.
    """
    warm = options.warmup * options.steps
    if step + 1 < warm:
        return (step + 1) / warm
    return 0.5 + 0.5 * math.cos(math.pi * (step - warm + 1) / (options.steps - warm + 1))


@torch.no_grad()
def extract_embeddings(model: nn.Module, images: Tensor, modalities: Tensor, *, batch_size: int = 256) -> Tensor:
    """Embed images as they are, without augmentation, with a network in evaluation mode.

    Args:
        model: the network; its mode is put back.
        images: ``(N, 3, H, W)`` uint8, on the host.
        modalities: ``(N,)``.
        batch_size: images at a time; it does not change the result.

    Returns:
        ``(N, D)`` on the host.
    """
    device, was_training = next(model.parameters()).device, model.training
    model.eval()
    parts = [
        model(normalize(some.to(device)), which.to(device)).embedding.cpu()
        for some, which in zip(torch.split(images, batch_size), torch.split(modalities, batch_size), strict=True)
    ]
    model.train(was_training)
    return torch.cat(parts)


def _batches(data: TrainingSet, options: TrainingOptions, seed: int, done: int) -> Iterator[list[int]]:
    """Give the batches of one epoch after the other, from the one that follows `done` batches."""
    sampler = CrossModalityPKSampler(
        data.labels, data.modalities, identities=options.identities, images=options.images, seed=seed
    )
    first, skipped = divmod(done, len(sampler))
    for epoch in count(first):
        sampler.set_epoch(epoch)
        yield from islice(sampler, skipped if epoch == first else 0, None)


def _batch(data: TrainingSet, rows: list[int], options: TrainingOptions, state: State) -> tuple[Tensor, Tensor, Tensor]:
    modalities = data.modalities[rows]
    images = augment(data.images[rows], modalities, options.augmentation, state.generator)
    return images, data.labels[rows], modalities


def _set_schedules(state: State, objective: Objective, step: int, options: TrainingOptions) -> None:
    rate = options.learning_rate * learning_rate_share(step, options)
    for group in state.optimizer.param_groups:
        group["lr"] = rate
    objective.set_progress(step / options.steps)


def _descend(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()

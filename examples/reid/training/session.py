"""The steps of one training: draw a batch, go down the gradient, report each epoch."""

import time
from collections.abc import Iterator, Mapping
from itertools import count
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from modinv.batches import Batch
from modinv.diagnostics import modality_gap
from modinv.distributed import gather_batch
from reid.data.dataset import TrainingSet
from reid.data.sampler import CrossModalityPKSampler, Share
from reid.data.transforms import augment
from reid.network.model import Outputs
from reid.training.checkpoint import State, Stateful
from reid.training.epochs import Epoch, EpochMeans
from reid.training.objective import Objective
from reid.training.options import TrainingOptions
from reid.training.precision import Descent
from reid.training.ranks import Ranks, parallel
from reid.training.schedule import learning_rate_share

__all__ = ["Observer", "Session", "batches_of", "begin_session", "end_epoch", "take_step"]


class Observer:
    """Callbacks of a training run; these do nothing. Only the first of several processes calls them."""

    def begin(self, done: int) -> None:
        """Called before the first step, with the number of steps done: more than 0 when a training goes on."""

    def end_epoch(self, epoch: Epoch) -> None:
        """Called after an epoch; the network is as its last step left it."""

    def parts(self) -> Mapping[str, Stateful]:
        """Return what belongs into the checkpoint, by name."""
        return {}


class Session(NamedTuple):
    """What the steps of one training share."""

    network: nn.Module
    """Of all processes; its parameters are those of the model."""
    objective: Objective
    data: TrainingSet
    options: TrainingOptions
    sampler: CrossModalityPKSampler
    descent: Descent
    means: EpochMeans
    state: State
    observer: Observer
    ranks: Ranks


def begin_session(
    model: nn.Module,
    objective: Objective,
    data: TrainingSet,
    options: TrainingOptions,
    seed: int,
    observer: Observer,
    ranks: Ranks,
) -> Session:
    """Put everything in its place for the first step; a checkpoint may be loaded into it. See `train`."""
    if options.precision == "float64":
        model.double()
    if next(model.parameters()).is_cuda:
        torch.cuda.reset_peak_memory_stats()
    network = parallel(model.train(), ranks)
    descent = Descent(model, _optimizer(model, options), precision=options.precision, clip_norm=options.clip_norm)
    means = EpochMeans(lenient=("gradient_norm",) if options.precision == "fp16" else ())
    parts: dict[str, Stateful] = {"model": model, "optimizer": descent.optimizer, "objective": objective}
    parts |= {"descent": descent, "epoch": means, **observer.parts()}
    state = State(parts, torch.Generator().manual_seed(seed))
    sampler = CrossModalityPKSampler(
        data.labels,
        data.modalities,
        identities=options.identities,
        images=options.images,
        seed=seed,
        rank=ranks.rank,
        world_size=ranks.world_size,
    )
    return Session(network, objective.train(), data, options, sampler, descent, means, state, observer, ranks)


def batches_of(sampler: CrossModalityPKSampler, done: int) -> Iterator[Share]:
    """Give this process's share of each batch, epoch after epoch without end, after `done` batches."""
    first, position = divmod(done, len(sampler))
    sampler.load_state_dict({"epoch": first, "position": position})
    for epoch in count(first):
        sampler.set_epoch(epoch)
        yield from sampler.shares()


def take_step(session: Session, share: Share, step: int) -> None:
    """Learn from one batch; steps count from 0."""
    started = time.perf_counter()
    options, descent = session.options, session.descent
    rate = options.learning_rate * learning_rate_share(step, options.steps, options.schedule)
    for group in descent.optimizer.param_groups:
        group["lr"] = rate * group["share"]
    session.objective.set_progress(step / options.steps)
    images, labels, modalities = _batch(session, share)
    with descent.autocast():
        outputs: Outputs = session.network(images, modalities)
    terms = session.objective.terms(outputs, labels, modalities)
    norm = descent.step(terms.total)
    values = {"learning_rate": torch.tensor(rate, dtype=torch.float64), "gradient_norm": norm}
    values |= {"modality_gap": _gap(outputs, labels, modalities), **terms._asdict()}
    session.means.add(values, images=share.total, seconds=time.perf_counter() - started)


def _optimizer(model: nn.Module, options: TrainingOptions) -> torch.optim.Optimizer:
    """Make an optimizer whose groups know their share of the learning rate."""
    parts: dict[bool, list[nn.Parameter]] = {True: [], False: []}
    for name, parameter in model.named_parameters():
        parts[name.startswith("backbone.")].append(parameter)
    groups = [{"params": parts[own], "share": options.backbone_share if own else 1.0} for own in parts if parts[own]]
    if options.optimizer == "sgd":
        return torch.optim.SGD(
            groups, options.learning_rate, momentum=0.9, nesterov=True, weight_decay=options.weight_decay
        )
    return torch.optim.AdamW(groups, options.learning_rate, weight_decay=options.weight_decay, fused=True)


def _batch(session: Session, share: Share) -> tuple[Tensor, Tensor, Tensor]:
    data, descent = session.data, session.descent
    images, labels, modalities = (
        part[share.rows].to(descent.device) for part in (data.images, data.labels, data.modalities)
    )
    altered = augment(
        images,
        modalities,
        session.options.augmentation,
        session.state.generator,
        rows=share.positions,
        total=share.total,
    )
    return altered.to(descent.input_type), labels, modalities


def _gap(outputs: Outputs, labels: Tensor, modalities: Tensor) -> Tensor:
    """Return the gap of the directions, which retrieval compares."""
    embedding = functional.normalize(outputs.embedding.detach().float(), dim=1)
    batch = gather_batch(Batch(embedding, labels, modalities))
    return modality_gap(batch.features, batch.modalities, num_modalities=2).relative


def end_epoch(session: Session, number: int, step: int) -> None:
    """Report an epoch, counted from 1, to the observer, and begin another."""
    means, device = session.means, session.descent.device
    started = time.perf_counter()
    values = means.means()  # waits for the device
    seconds = means.seconds + time.perf_counter() - started
    epoch = Epoch(
        epoch=number,
        step=step,
        seconds=seconds,
        learning_rate=values.pop("learning_rate"),
        gradient_norm=values.pop("gradient_norm"),
        modality_gap=values.pop("modality_gap"),
        images_per_second=means.images / seconds,
        peak_memory=torch.cuda.max_memory_allocated(device) / 2**20 if device.type == "cuda" else float("nan"),
        terms=values,
    )
    means.clear()
    if session.ranks.first:
        session.observer.end_epoch(epoch)

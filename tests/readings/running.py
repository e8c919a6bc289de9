"""One run: train a reading in a world from a pretrained backbone, and score it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

import modinv
from readings.criterion import Criterion
from readings.network import Outputs, ReadingNetwork, start_from
from readings.reading import READINGS, Reading
from readings.scoring import score
from readings.worlds import World, WorldName, load_world, pretraining_images
from reid.data.sampler import CrossModalityPKSampler
from reid.data.transforms import Augmentation, augment, normalize
from reid.training.randomness import seed_everything
from reid.training.schedule import Schedule, learning_rate_share

__all__ = ["Job", "pretrain", "run"]

_RATE: Final = 3e-3
_AUGMENTATION: Final = Augmentation(padding=1)
_LAST: Final = 50  # steps over which the losses at the end are averaged


class Job(NamedTuple):
    """A model to train: what, where, from which seed, how long."""

    reading: str
    world: WorldName
    data: int
    """Seed of the persons, cameras and test identities."""
    seed: int
    """Of the initial heads, the batches and the augmentation."""
    steps: int


def run(job: Job, folder: Path) -> dict[str, Any]:
    """Train and score; the folder keeps the worlds and the pretrained backbone."""
    reading, world = READINGS[job.reading], load_world(job.world, job.data, folder)
    seed_everything(job.seed)
    network = ReadingNetwork(int(world.labels.max()) + 1, reading).train()
    start_from(network, torch.load(folder / "pretrained.pt", weights_only=True))
    augmentation = _AUGMENTATION if reading.gray else _AUGMENTATION._replace(gray=0.0)
    batches = _batches(world, job.seed, augmentation)
    criterion = Criterion(_at_equal_pull(reading, network, world))
    optimizer, ends = _optimizer(network), dict[str, float]()
    for step in range(job.steps):
        _set_rate(optimizer, step, job.steps)
        images, labels, modalities = next(batches)
        parts = criterion(network(images, modalities), labels, modalities, progress=step / job.steps, network=network)
        _descend(optimizer, parts)
        if step >= job.steps - _LAST:
            for name, part in parts.items():
                ends[name] = ends.get(name, 0.0) + float(part.detach()) / min(_LAST, job.steps)
    found = score(_embed(network, world), world)
    if job.data > 0:  # the table of the noise reads those of the screening alone
        found = found._replace(identities=[])
    losses = {name: round(value, 4) for name, value in ends.items()}
    return {**job._asdict(), **found._asdict(), "losses": losses}


def pretrain(folder: Path, steps: int = 2500) -> None:
    """Train a backbone on visible images of persons and cameras of its own, unless the folder holds one."""
    if (folder / "pretrained.pt").is_file():
        return
    images, labels = pretraining_images()
    torch.manual_seed(0)
    network, triplet = ReadingNetwork(int(labels.max()) + 1, Reading()).train(), modinv.WeightedRegularizedTripletLoss()
    world = World(images, labels, torch.zeros_like(labels), *[images[:0]] * 4)  # type: ignore[arg-type]
    batches = _batches(world, 0, _AUGMENTATION._replace(gray=0.3, erase=0.3), identities=16)
    optimizer = _optimizer(network)
    for step in range(steps):
        _set_rate(optimizer, step, steps)
        pixels, some, modalities = next(batches)
        outputs = network(pixels, modalities)
        parts = {"identity": functional.cross_entropy(outputs.logits, some)}
        _descend(optimizer, parts | {"triplet": triplet(outputs.features, some, modalities)})
    folder.mkdir(parents=True, exist_ok=True)
    weights = {name: values for name, values in network.state_dict().items() if name.startswith("backbone")}
    torch.save(weights, folder / "pretrained.pt")


def _batches(
    world: World, seed: int, augmentation: Augmentation, identities: int = 8
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    sampler = CrossModalityPKSampler(world.labels, world.modalities, identities=identities, images=4, seed=seed)
    generator, epoch = torch.Generator().manual_seed(seed), 0
    while True:
        sampler.set_epoch(epoch)
        for rows in sampler:
            modalities = world.modalities[rows]
            yield augment(world.images[rows], modalities, augmentation, generator), world.labels[rows], modalities
        epoch += 1


def _optimizer(network: nn.Module) -> torch.optim.Optimizer:
    learning = [parameter for parameter in network.parameters() if parameter.requires_grad]
    return torch.optim.AdamW(learning, _RATE, weight_decay=0.01, fused=True)


def _set_rate(optimizer: torch.optim.Optimizer, step: int, steps: int) -> None:
    for group in optimizer.param_groups:
        group["lr"] = _RATE * learning_rate_share(step, steps, Schedule())


def _descend(optimizer: torch.optim.Optimizer, parts: dict[str, Tensor]) -> None:
    optimizer.zero_grad()
    torch.stack(list(parts.values())).sum().backward()
    optimizer.step()


@torch.no_grad()
def _embed(network: ReadingNetwork, world: World) -> Tensor:
    network.eval()
    parts = zip(world.test_images.split(256), world.test_modalities.split(256), strict=True)
    return torch.cat([network(normalize(images), modalities).embedding for images, modalities in parts])


def _at_equal_pull(reading: Reading, network: ReadingNetwork, world: World, batches: int = 8) -> Reading:
    """Weigh a consistency loss so that it pulls at the embedding as 2-Wasserstein does, before the first step."""
    if reading.divergence is None:
        return reading
    losses = [Criterion(one).consistency for one in (reading, reading._replace(divergence="wasserstein", options={}))]
    norms = torch.zeros(2)
    drawn = _batches(world, -1 % 2**31, _AUGMENTATION)
    for _ in range(batches):
        images, labels, modalities = next(drawn)
        with torch.no_grad():
            outputs: Outputs = network(images, modalities)
        for number, loss in enumerate(losses):
            assert loss is not None
            embedding = outputs.embedding.detach().requires_grad_()
            (gradient,) = torch.autograd.grad(loss(embedding, labels, modalities), embedding)
            norms[number] += gradient.norm()
    return reading._replace(strength=reading.strength * float(norms[1] / norms[0]))

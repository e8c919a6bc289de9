"""Real processes over gloo for the distributed tests, and the batches whose rows are spread over them."""

import datetime
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch import distributed as dist
from torch.multiprocessing.spawn import spawn
from typing_extensions import override

import modinv
from batches import make_batch
from losses.catalogue import LOSSES as CATALOGUE
from modinv import Batch, CrossBatchMemory
from modinv.distributed import sum_over_ranks

DIMENSION = 16


class Layout(NamedTuple):
    """A whole batch, and how many of its rows each rank has."""

    batch: Batch
    counts: tuple[int, ...]


class Outcome(NamedTuple):
    """What one step of training leaves: the value and the gradients of all parameters."""

    value: Tensor
    gradients: list[Tensor]


class OwnLoss(nn.Module):
    """A user's loss with parameters: cross-entropy of the distances to learned centers, one per identity."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(5)
        self.centers = nn.Parameter(torch.randn(4, DIMENSION, generator=generator, dtype=torch.float64))

    @override
    def forward(self, features: Tensor, labels: Tensor, modalities: Tensor) -> Tensor:
        value: Tensor = nn.functional.cross_entropy(-torch.cdist(features, self.centers), (labels + 5) // 11)
        return value


class Normalization(nn.Module):
    """Batch normalisation over the rows of all ranks, from two sums."""

    @override
    def forward(self, rows: Tensor) -> Tensor:
        ones = rows.new_ones(len(rows), 1)
        sums = sum_over_ranks(torch.cat([rows, rows.square(), ones], dim=1).sum(0))
        mean, square = sums[:-1].view(2, -1) / sums[-1]
        normalized: Tensor = (rows - mean) / (square - mean.square() + 1e-5).sqrt()
        return normalized


def _balanced_batch(counts: tuple[int, ...], *, identities: int, seed: int) -> Batch:
    """Every identity has two rows or more in each modality, so that no loss has nothing to compare."""
    batch = make_batch(counts, seed=seed)
    number = (batch.modalities[:, None] == batch.modalities).tril().sum(1)  # of the row in its modality
    return batch._replace(labels=11 * (number % identities) - 5)


def _by_modality(batch: Batch) -> Batch:
    order = batch.modalities.argsort(stable=True)
    return Batch(*(tensor[order] for tensor in batch))


PAIRS = {
    "7 + 5": Layout(_balanced_batch((7, 5), identities=2, seed=1), (7, 5)),
    "12 + 0": Layout(_balanced_batch((7, 5), identities=2, seed=2), (12, 0)),
    "one modality each": Layout(_by_modality(_balanced_batch((7, 5), identities=2, seed=3)), (7, 5)),
}
TRIPLES = {
    "15 + 0 + 9, more rows than features": Layout(_balanced_batch((13, 11), identities=4, seed=4), (15, 0, 9)),
    "three modalities, one each": Layout(_by_modality(_balanced_batch((9, 8, 10), identities=4, seed=5)), (9, 8, 10)),
}
LOSSES: dict[str, nn.Module] = {**CATALOGUE, "a user's loss with parameters": OwnLoss()}


def make_network(*between: nn.Module) -> nn.Module:
    """The same small network wherever it is made; its output has few enough columns for both routes of the losses."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = nn.Sequential(nn.Linear(24, 20), nn.Tanh(), *between, nn.Linear(20, DIMENSION))
    return network.to(torch.float64)


def make_branches() -> nn.Module:
    """A network of each modality's own; the one of a modality without rows is not called."""
    return modinv.PerModality([make_network(), make_network()])


def make_memory() -> CrossBatchMemory:
    """A memory that two batches of twelve rows overfill."""
    return CrossBatchMemory(modinv.WeightedRegularizedTripletLoss(), 20)


def step(network: nn.Module, loss: Callable[..., Tensor], batch: Batch, *inputs: Tensor) -> Outcome:
    """Take value and gradients of one step; the features of the batch, and further inputs, go into the network."""
    parameters = [*network.parameters(), *(loss.parameters() if isinstance(loss, nn.Module) else ())]
    for parameter in parameters:
        parameter.grad = None
    value = loss(network(batch.features, *inputs), batch.labels, batch.modalities)
    torch.autograd.backward(value)
    return Outcome(value.detach(), [torch.as_tensor(parameter.grad).clone() for parameter in parameters])


def part(layout: Layout, rank: int) -> Batch:
    """Return the rows of one rank."""
    first = sum(layout.counts[:rank])
    return Batch(*(tensor[first : first + layout.counts[rank]] for tensor in layout.batch))


def with_nan(layout: Layout) -> Layout:
    """Put one NaN into the last row, which is the last rank's."""
    features = layout.batch.features.clone()
    features[-1, 3] = torch.nan
    return layout._replace(batch=layout.batch._replace(features=features))


def in_processes(work: Callable[[int], Any], count: int, folder: Path) -> list[Any]:
    """Run ``work(rank)`` in ``count`` new processes that find each other through a file, and return what came."""
    spawn(_run, args=(work, count, str(folder)), nprocs=count)
    return [torch.load(folder / f"rank{rank}.pt", weights_only=False) for rank in range(count)]


def _run(rank: int, work: Callable[[int], Any], count: int, folder: str) -> None:
    torch.set_num_threads(1)
    meeting = f"file://{folder}/meeting"
    limit = datetime.timedelta(seconds=60)  # a rank that waits in vain fails the test instead of holding it
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # no deprecated call
        dist.init_process_group("gloo", init_method=meeting, rank=rank, world_size=count, timeout=limit)
        torch.save(work(rank), f"{folder}/rank{rank}.pt")
        dist.barrier()
        dist.destroy_process_group()

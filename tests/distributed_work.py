"""What each rank of the distributed tests does; the tests compare it with one process."""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import torch
from torch import Tensor, nn
from torch import distributed as dist
from torch.nn.parallel import DistributedDataParallel
from typing_extensions import override

import modinv
from distributed_processes import (
    LOSSES,
    PAIRS,
    TRIPLES,
    Layout,
    Normalization,
    Outcome,
    make_branches,
    make_memory,
    make_network,
    part,
    step,
    with_nan,
)
from modinv import Batch, CrossBatchMemory
from modinv.distributed import GlobalBatch, gather_batch, sum_over_ranks


def work_of_a_pair(rank: int) -> dict[str, Any]:
    """All that the tests want to know of two ranks."""
    return {
        **{name: _steps(layout, rank) for name, layout in PAIRS.items()},
        "nan": _steps(with_nan(PAIRS["7 + 5"]), rank),
        "normalized": _normalized_step(rank),
        "terms": _terms(rank),
        "no labels": _without_labels(rank),
        "types": _gathered_in_every_type(rank),
        "one row": _gathered_single_row(rank),
        "autocast": _value_under_autocast(rank),
        "traffic": _traffic(rank),
        "accumulated": _accumulated_step(rank),
        "fsdp": _fully_sharded_step(rank) if torch.__version__ >= "2.9" else None,
        "refused": _refused(rank),
        "twice": _double_backward(rank),
        "branched": _branched_step(rank),
        "memory": _steps_with_memory(rank),
        "own memory": _labels_of_a_wrapped_memory(rank),
        "cube": _derivatives_of_a_cubed_sum(rank),
    }


def work_of_three(rank: int) -> dict[str, Any]:
    """All that the tests want to know of three ranks."""
    return {**{name: _steps(layout, rank) for name, layout in TRIPLES.items()}, "subgroup": _subgroup(rank)}


def _steps(layout: Layout, rank: int) -> dict[str, Outcome]:
    network = DistributedDataParallel(make_network())
    losses = {name: GlobalBatch(copy.deepcopy(loss)) for name, loss in LOSSES.items()}  # some have a memory
    return {name: step(network, loss, part(layout, rank)) for name, loss in losses.items()}


def _branched_step(rank: int) -> Outcome:
    """Each rank calls one of two branches."""
    network = DistributedDataParallel(make_branches(), find_unused_parameters=True)
    batch = part(PAIRS["one modality each"], rank)
    return step(network, GlobalBatch(modinv.HeteroCenterTripletLoss(margin=2.0)), batch, batch.modalities)


def _steps_with_memory(rank: int) -> list[tuple[Outcome, dict[str, Tensor]]]:
    """Return what each of three steps left, in the gradients and in the memory."""
    network, loss = DistributedDataParallel(make_network()), GlobalBatch(make_memory())
    return [(step(network, loss, part(layout, rank)), loss.state_dict()) for layout in PAIRS.values()]


class _WithLoss(nn.Module):
    """What a trainer hands to DDP: a network with its loss inside."""

    def __init__(self, loss: nn.Module) -> None:
        super().__init__()
        self.network, self.loss = make_network(), loss

    @override
    def forward(self, batch: Batch) -> Tensor:
        value: Tensor = self.loss(self.network(batch.features), *batch[1:])
        return value


def _labels_of_a_wrapped_memory(rank: int) -> Tensor:
    """Return the labels in a memory of each rank's own, inside of what DDP wraps, after two steps."""
    memory = CrossBatchMemory(modinv.WeightedRegularizedTripletLoss(), 64)
    wrapped = DistributedDataParallel(_WithLoss(memory))
    for _ in range(2):
        torch.autograd.backward(wrapped(part(PAIRS["7 + 5"], rank)))
    return memory.labels


def _normalized_step(rank: int) -> Outcome:
    network = DistributedDataParallel(make_network(Normalization()))
    return step(network, GlobalBatch(modinv.WeightedRegularizedTripletLoss()), part(PAIRS["7 + 5"], rank))


def _terms(rank: int) -> list[Tensor]:
    terms = GlobalBatch(LOSSES["weighted losses"]).terms(*part(PAIRS["7 + 5"], rank))
    return list(terms)


def _without_labels(rank: int) -> Tensor:
    batch = part(PAIRS["7 + 5"], rank)
    return torch.as_tensor(GlobalBatch(modinv.GaussianDistributionConsistencyLoss())(batch.features, None, batch[2]))


def _gathered_in_every_type(rank: int) -> list[tuple[Batch, Tensor]]:
    """Return the gathered batch and the gradient that a sum of it leaves, for each floating type."""
    results = []
    for kind in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
        batch = part(PAIRS["7 + 5"], rank)
        features = batch.features.to(kind).requires_grad_()
        gathered = gather_batch(Batch(features, batch.labels.to(torch.int16), batch.modalities.to(torch.uint8)))
        torch.autograd.backward(gathered.features.sum())
        results.append((Batch(*(tensor.detach() for tensor in gathered)), torch.as_tensor(features.grad)))
    return results


def _gathered_single_row(rank: int) -> Batch:
    """One feature of two bytes, in one row, out of the middle of a wider tensor: no other type has its offset."""
    features = torch.arange(4, dtype=torch.float16)[1:2].expand(1, 1) if rank else torch.empty(0, 1).half()
    return gather_batch(Batch(features, torch.arange(3)[1 : 1 + rank], torch.ones(rank, dtype=torch.int64)))


def _value_under_autocast(rank: int) -> Tensor:
    batch = part(PAIRS["7 + 5"], rank)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = GlobalBatch(modinv.GaussianDistributionConsistencyLoss())
        return torch.as_tensor(loss(batch.features.bfloat16(), batch.labels, batch.modalities))


def _traffic(rank: int) -> tuple[list[int], list[int]]:
    """Return the bytes received by each collective of a call, forward and backward, without DDP."""
    network, batch = make_network(), part(PAIRS["7 + 5"], rank)
    with _counted_bytes() as forward:
        value = GlobalBatch(modinv.HeteroCenterTripletLoss())(network(batch.features), batch.labels, batch.modalities)
    with _counted_bytes() as backward:
        value.backward()
    return forward, backward


@contextmanager
def _counted_bytes() -> Iterator[list[int]]:
    """Record what every collective that is called receives from other ranks."""
    received: list[int] = []

    def noting(collective: Callable[..., Any]) -> Callable[..., Any]:
        def call(output: Tensor, *rest: Any, **options: Any) -> Any:
            received.append(output.nbytes * (dist.get_world_size() - 1) // dist.get_world_size())
            return collective(output, *rest, **options)

        return call

    names = ("all_gather_single", "all_gather", "all_reduce", "reduce_scatter_single", "broadcast", "all_to_all")
    before = ("all_gather_into_tensor", "reduce_scatter_tensor")  # the names of the two up to torch 2.12
    known = {name: noting(getattr(dist, name)) for name in (*names, *before) if hasattr(dist, name)}
    with mock.patch.dict(vars(dist), known):
        yield received


def _accumulated_step(rank: int) -> list[Tensor]:
    """Two batches before the gradients are averaged, the first under ``no_sync``."""
    network = DistributedDataParallel(make_network())
    loss = GlobalBatch(modinv.WeightedRegularizedTripletLoss())
    first, second = part(PAIRS["7 + 5"], rank), part(PAIRS["12 + 0"], rank)
    with network.no_sync():
        loss(network(first.features), first.labels, first.modalities).backward()
    loss(network(second.features), second.labels, second.modalities).backward()
    return [torch.as_tensor(parameter.grad) for parameter in network.parameters()]


def _fully_sharded_step(rank: int) -> list[Tensor]:
    from torch.distributed.device_mesh import init_device_mesh  # these two take a second
    from torch.distributed.fsdp import fully_shard

    network = make_network()
    fully_shard(network, mesh=init_device_mesh("cpu", (2,)))
    batch = part(PAIRS["7 + 5"], rank)
    value = GlobalBatch(modinv.WeightedRegularizedTripletLoss())(network(batch.features), *batch[1:])
    value.backward()
    return [parameter.grad.full_tensor() for parameter in network.parameters()]  # type: ignore[union-attr]


def _refused(rank: int) -> dict[str, str]:
    """Return how each impossible batch is answered on this rank; afterwards the ranks still understand each other."""
    good = part(PAIRS["7 + 5"], rank)
    changed: dict[str, dict[str, Any]] = {
        "dimension": {"features": good.features[:, :23]},
        "type": {"features": good.features.float()},
        "type of labels": {"labels": good.labels.int()},
        "malformed": {"labels": good.labels[1:]},
        "no tensor": {"features": good.features.tolist()},
        "sparse": {"features": good.features.to_sparse()},
        "without values": {"features": good.features.to("meta")},
    }
    answers = {name: _answer(good._replace(**change) if rank == 1 else good) for name, change in changed.items()}
    floating, third = good._replace(labels=good.labels.double()), good._replace(modalities=good.modalities + 1)
    inside = {name: (loss, third if name.startswith("beyond") else floating) for name, loss in _losses_around().items()}
    for name, (loss, bad) in inside.items():
        answers[name] = _answer(bad if rank == 1 else good, loss)
    return {**answers, "afterwards": _answer(good)}


def _losses_around() -> dict[str, Callable[..., Any]]:
    """Losses that check the batch before the one inside gathers it."""
    gathering = GlobalBatch(modinv.HeteroCenterTripletLoss())
    total = modinv.WeightedLosses({"own": (1.0, modinv.IntraModalityLoss()), "gathered": (1.0, gathering)})
    return {
        "in a sum": total,
        "deep in a sum": modinv.WeightedLosses({"inner": (1.0, total)}),
        "in a memory": CrossBatchMemory(total, 8),
        "beyond the modalities of a sum": modinv.WeightedLosses({"gathered": (1.0, gathering)}, num_modalities=2),
    }


def _answer(batch: Batch, call: Callable[..., Any] = lambda *batch: gather_batch(Batch(*batch)).labels) -> str:
    try:
        return f"{len(call(*batch))} rows"
    except (TypeError, ValueError) as error:
        return f"{type(error).__name__}: {error}"


def _double_backward(rank: int) -> str:
    batch = part(PAIRS["7 + 5"], rank)
    features = batch.features.requires_grad_()
    value = gather_batch(batch).features.square().sum()
    (gradient,) = torch.autograd.grad(value, features, create_graph=True)
    try:
        torch.autograd.backward(gradient.sum())
    except RuntimeError as error:
        return str(error)
    return "differentiated"


def _derivatives_of_a_cubed_sum(rank: int) -> list[float]:
    """Return s, and the first and second derivative by the own x of the sum over the ranks of s³, s = x_0 + x_1."""
    own = torch.tensor(2.0 + rank, dtype=torch.float64, requires_grad=True)  # 2 and 3
    total = sum_over_ranks(own)
    (first,) = torch.autograd.grad(total**3, own, create_graph=True)
    (second,) = torch.autograd.grad(first, own)
    return [float(result.detach()) for result in (total, first, second)]


def _subgroup(rank: int) -> Tensor | str:
    group = dist.new_group([0, 2])
    batch = part(TRIPLES["three modalities, one each"], rank)
    try:
        return gather_batch(batch, group=group).modalities
    except ValueError as error:
        return str(error)

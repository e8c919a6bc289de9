"""The processes that torchrun starts: which one this is, and what they agree on."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Final, NamedTuple, TypeVar

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

from reid.network.synchronized import synchronize_normalization

__all__ = ["ALONE", "Ranks", "join_ranks", "parallel"]

T = TypeVar("T")

# The others wait for as long as the first one evaluates.
_PATIENCE: Final = timedelta(hours=4)


class Ranks(NamedTuple):
    """The place of this process among those that train one model together."""

    rank: int = 0
    """From 0; the first one evaluates, writes and prints."""
    world_size: int = 1
    local_rank: int = 0
    """Among the processes of this machine: the number of its GPU."""

    @property
    def first(self) -> bool:
        """Whether this process writes and prints."""
        return self.rank == 0

    def share(self, value: T | None) -> T:
        """Give all processes what the first one has; theirs is not read."""
        values = [value]
        if self.world_size > 1:
            distributed.broadcast_object_list(values, src=0, device=torch.device("cpu"))
        assert values[0] is not None
        return values[0]

    def any(self, flag: bool) -> bool:
        """Tell all processes whether one of them raised a flag, without waiting for a GPU."""
        if self.world_size == 1:
            return flag
        flags = torch.tensor(int(flag))
        distributed.all_reduce(flags, distributed.ReduceOp.MAX)
        return bool(flags)


ALONE: Final = Ranks()


@contextmanager
def join_ranks(device: str) -> Iterator[Ranks]:
    """Join the processes that torchrun has started, for the time of the block; each takes the GPU of its number."""
    if "LOCAL_RANK" not in os.environ or int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield ALONE
        return
    local_rank = int(os.environ["LOCAL_RANK"])
    on_gpu = torch.device(device).type == "cuda"
    if on_gpu:
        torch.cuda.set_device(local_rank)
    # Flags and objects travel between CPUs, gradients between GPUs.
    distributed.init_process_group("cpu:gloo,cuda:nccl" if on_gpu else "gloo", timeout=_PATIENCE)
    try:
        yield Ranks(distributed.get_rank(), distributed.get_world_size(), local_rank)
    finally:
        # Lets gloo drop its last tensors. Before torch 2.8 the next line keeps it from that, and waits for it for ever.
        time.sleep(0.1)
        distributed.destroy_process_group()


def parallel(model: nn.Module, ranks: Ranks) -> nn.Module:
    """Return the network to call while training, which learns from the rows of all processes.

    The batch normalisation of the model is made to look at all rows, in place. Alone, it is the model itself.
    """
    if ranks.world_size == 1:
        return model
    synchronize_normalization(model)
    on_gpu = next(model.parameters()).is_cuda
    network = DistributedDataParallel(model, [ranks.local_rank] if on_gpu else None)
    # Buffers are equal anyhow: every process computes them from the same sums. Said by the name that all versions know.
    network.broadcast_buffers = False
    return network

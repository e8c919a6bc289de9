"""Batch normalisation over the rows of all processes, so that they train the network that one process would."""

from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.nn import functional

from modinv.distributed import sum_over_ranks
from modinv.modules import PerModalityBatchNorm

__all__ = ["synchronize_normalization"]


def synchronize_normalization(network: nn.Module) -> None:
    """Let every batch normalisation of a network see the rows of all processes, of which one may have none.

    On a GPU torch's own layer is taken, which is fused. For the others, and on the CPU, each process normalises all
    rows and keeps its own, so that outputs, gradients and running statistics are those of one process.

    Args:
        network: on its device, changed in place; its parameters, buffers and their names stay.
    """
    shared: type[nn.Module] = nn.modules.batchnorm._BatchNorm
    if next(network.parameters()).is_cuda:
        nn.SyncBatchNorm.convert_sync_batchnorm(network)
        shared = PerModalityBatchNorm
    for layer in network.modules():
        if isinstance(layer, PerModalityBatchNorm | shared):
            gathered = _Gathered()
            layer.register_forward_pre_hook(gathered.all_rows)
            layer.register_forward_hook(gathered.own_rows)


class _Gathered:
    """Hooks around a layer: it gets the rows of all processes and gives back those of this one."""

    def __init__(self) -> None:
        self._own = slice(None)

    def all_rows(self, layer: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Put the rows of all processes together."""
        if not layer.training:
            return inputs
        ranks = torch.arange(distributed.get_world_size(), device=inputs[0].device)
        counts = sum_over_ranks(len(inputs[0]) * (ranks == distributed.get_rank()).long()).tolist()
        start = sum(counts[: distributed.get_rank()])
        self._own = slice(start, start + len(inputs[0]))
        around = (start, sum(counts) - self._own.stop)
        # Zeros elsewhere: the sum of the processes is the whole, and its gradient comes back from all of them.
        return tuple(sum_over_ranks(_pad(values, around)) for values in inputs)

    def own_rows(self, layer: nn.Module, _: Any, output: Tensor) -> Tensor:
        """Take the rows of this process."""
        return output[self._own] if layer.training else output


def _pad(rows: Tensor, around: tuple[int, int]) -> Tensor:
    return functional.pad(rows, (0, 0) * (rows.ndim - 1) + around)

"""Batch normalisation over the rows of all processes, so that several train the network that one would.

torch's own layer for it refuses the CPU; it is taken on a GPU, where it is fused.
"""

import torch
from torch import Tensor, nn
from typing_extensions import override

from modinv.distributed import sum_over_ranks
from modinv.groups import membership
from modinv.modules import PerModalityBatchNorm

__all__ = ["SynchronizedBatchNorm", "SynchronizedPerModalityBatchNorm", "synchronize_normalization"]


class SynchronizedBatchNorm(nn.modules.batchnorm._BatchNorm):
    """Normalise with the mean and the variance of the rows of all processes; a process may have no row.

    Equals torch's layer on the whole batch: outputs, gradients and running statistics. Sums are made in two
    passes, around the mean, in float32 at least.
    """

    @override
    def forward(self, input: Tensor) -> Tensor:
        if not self.training:
            return super().forward(input)
        values = input.to(torch.promote_types(input.dtype, torch.float32))
        summed = [0, *range(2, values.ndim)]
        count = sum_over_ranks(values.new_tensor(values[:, 0].numel()))
        mean = sum_over_ranks(values.sum(summed)) / count  # (C,)
        centered = values - _per_channel(mean, values)
        variance = sum_over_ranks(centered.square().sum(summed)) / count  # (C,)
        self._move(mean.detach(), variance.detach() * count / (count - 1).clamp(min=1))
        scale = (variance + self.eps).rsqrt() * self.weight
        return (centered * _per_channel(scale, values) + _per_channel(self.bias, values)).to(input.dtype)

    def _move(self, mean: Tensor, variance: Tensor) -> None:
        """Move the running statistics, which the layers of the example all have."""
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        assert self.momentum is not None
        self.num_batches_tracked.add_(1)
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), self.momentum)
        self.running_var.lerp_(variance.to(self.running_var.dtype), self.momentum)

    @override
    def _check_input_dim(self, input: Tensor) -> None:
        pass  # it was one of torch's layers for vectors or for maps, and is called as before


class SynchronizedPerModalityBatchNorm(PerModalityBatchNorm):
    """Normalise each row with the statistics of the rows of its modality in all processes."""

    @override
    def _batch_statistics(
        self, values: Tensor, modalities: Tensor, running_mean: Tensor, running_variance: Tensor
    ) -> tuple[Tensor, Tensor]:
        rows = values.flatten(2) if values.ndim > 2 else values[:, :, None]  # (N, C, H x W)
        member = membership(modalities, self.num_modalities)[:, :, None]  # (N, M, 1)
        count = sum_over_ranks(member.sum(0).to(values.dtype) * rows.shape[2])  # (M, 1)
        safe_count = count.clamp(min=1)
        mean = sum_over_ranks(torch.where(member, rows.sum(2)[:, None], 0.0).sum(0)) / safe_count  # (M, C)
        centered = rows - mean[modalities.long()][:, :, None]
        squares = centered.square().sum(2)[:, None]
        variance = sum_over_ranks(torch.where(member, squares, 0.0).sum(0)) / safe_count  # (M, C)
        measured = count > 1
        self._update_running_statistics(mean.detach(), variance.detach(), safe_count, measured)
        return torch.where(measured, mean, running_mean), torch.where(measured, variance, running_variance)


def synchronize_normalization(network: nn.Module) -> None:
    """Let every batch normalisation of a network see the rows of all processes.

    Args:
        network: on its device, changed in place; its parameters, buffers and their names stay.
    """
    for parent in list(network.modules()):
        for name, layer in list(parent.named_children()):
            if isinstance(layer, PerModalityBatchNorm):
                layer.__class__ = SynchronizedPerModalityBatchNorm
            elif isinstance(layer, nn.modules.batchnorm._BatchNorm):
                setattr(parent, name, _synchronized(layer))


def _synchronized(layer: nn.modules.batchnorm._BatchNorm) -> nn.Module:
    if layer.weight.is_cuda:
        converted: nn.Module = nn.SyncBatchNorm.convert_sync_batchnorm(layer)  # type: ignore[no-untyped-call]
        return converted
    # Nothing but the arithmetic changes: parameters, buffers, options and mode are those of the layer.
    layer.__class__ = SynchronizedBatchNorm
    return layer


def _per_channel(values: Tensor, like: Tensor) -> Tensor:
    return values.reshape(1, -1, *(1,) * (like.ndim - 2))

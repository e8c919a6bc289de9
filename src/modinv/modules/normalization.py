"""Batch normalisation with private statistics and private affine parameters for each modality.

The convolutions may be shared: a visible and an infrared image differ most in the scale of each channel.
CM-NAS (Fu et al., ICCV 2021) found that private normalisation pays.
"""

import math

import torch
from torch import Tensor, nn

from modinv._checks import check_count, check_eps, check_flag, check_inputs, check_module_inputs, check_number
from modinv.groups import membership

__all__ = ["PerModalityBatchNorm"]


class PerModalityBatchNorm(nn.Module):
    """Normalise each row with the statistics of the rows of its own modality.

    Equals ``num_modalities`` separate ``BatchNorm1d`` or ``BatchNorm2d``, each called on the rows of its modality:
    outputs, gradients and running statistics. No shape depends on the data. So any row order, unequal counts, an
    absent modality and ``torch.compile(fullgraph=True)`` are normal cases. A row of a modality that does not exist
    raises on a CPU in eager mode. Elsewhere it becomes NaN.

    A single value per channel (one vector, or one map of 1 x 1) has no variance. PyTorch's layer raises then. This
    one uses the running statistics of the modality and leaves them as they are.

    Statistics are those of this process. ``SyncBatchNorm.convert_sync_batchnorm`` leaves this layer as it is.

    Statistics are computed in two passes, around the mean, in float32 at least, also under autocast. The output has
    the input's type. As in PyTorch's layer, float32 squares overflow where features differ by 1e19. Costs a few
    elementwise passes, about as much as splitting the rows for PyTorch's fused kernel, and never waits for the device.

    "Independent branches for each modality" (abstract) says nothing of normalisation. The paper's formulas are not
    public; only the abstract is; this is our reading.

    Args:
        num_features: Columns D of (N, D), or channels C of (N, C, H, W).
        num_modalities: How many modalities there are, numbered from 0. Default 2.
        eps: Added to the variance, from 1e-25 to 1e38, where float32 gradients are finite. Default 1e-5, as in
            PyTorch.
        momentum: Weight of the batch in the running statistics, 0 to 1. Default 0.1, as in PyTorch.
        affine: Whether each modality learns a scale and a shift per feature. Default true.

    Raises:
        TypeError: For an option, inputs or modalities of another type.
        ValueError: For an option out of range, inputs of another shape, modalities not one number per row.

    Example:
        >>> normalize = PerModalityBatchNorm(4)
        >>> normalize(torch.randn(6, 4), torch.tensor([0, 1, 1, 0, 0, 1])).shape
        torch.Size([6, 4])

    Reference:
        Ioffe and Szegedy: Batch normalization, ICML 2015.
    """

    running_mean: Tensor
    running_variance: Tensor
    weight: nn.Parameter | None
    bias: nn.Parameter | None

    def __init__(
        self,
        num_features: int,
        *,
        num_modalities: int = 2,
        eps: float = 1e-5,
        momentum: float = 0.1,
        affine: bool = True,
    ) -> None:
        super().__init__()
        self.num_features = check_count("num_features", num_features)
        self.num_modalities = check_count("num_modalities", num_modalities)
        self.eps = check_eps(eps)
        self.momentum = check_number("momentum", momentum, least=0.0, most=1.0)
        self.affine = check_flag("affine", affine)
        shape = (self.num_modalities, self.num_features)
        self.register_buffer("running_mean", torch.zeros(shape))
        self.register_buffer("running_variance", torch.ones(shape))
        self.weight = nn.Parameter(torch.ones(shape)) if self.affine else None
        self.bias = nn.Parameter(torch.zeros(shape)) if self.affine else None

    def forward(self, inputs: Tensor, modalities: Tensor) -> Tensor:
        """Return the normalised rows, (N, D) or (N, C, H, W), in the order and the type of ``inputs``."""
        check_inputs("inputs", inputs, (2, 4), self.num_features)
        check_module_inputs(inputs, modalities, self.num_modalities)
        # float32 at least: a square leaves the range of float16 at 256, and bfloat16 counts no further
        values = inputs.to(torch.promote_types(inputs.dtype, torch.float32))
        member = membership(modalities, self.num_modalities)  # (N, M)
        mean = self.running_mean.to(values.dtype)
        variance = self.running_variance.to(values.dtype)
        if self.training:
            mean, variance = self._batch_statistics(values, member, mean, variance)
        scale = (variance + self.eps).rsqrt()
        if self.weight is not None:
            scale = scale * self.weight
        normalized = (values - _per_row(mean, member, values)) * _per_row(scale, member, values)
        if self.bias is not None:
            normalized = normalized + _per_row(self.bias, member, values)
        return normalized.to(inputs.dtype)

    def _batch_statistics(
        self, values: Tensor, member: Tensor, running_mean: Tensor, running_variance: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return mean and variance (M, C), the running ones where the batch has no variance."""
        count = member.sum(0)[:, None] * math.prod(values.shape[2:])  # (M, 1)
        safe_count = count.clamp(min=1).to(values.dtype)
        mean = _sum_per_modality(values, member) / safe_count
        centered = values - _per_row(mean, member, values)
        variance = _sum_per_modality(centered.square(), member) / safe_count
        measured = count > 1
        self._update_running_statistics(mean.detach(), variance.detach(), safe_count, measured)
        return torch.where(measured, mean, running_mean), torch.where(measured, variance, running_variance)

    @torch.no_grad()
    def _update_running_statistics(self, mean: Tensor, variance: Tensor, count: Tensor, measured: Tensor) -> None:
        unbiased = variance * count / (count - 1).clamp(min=1)
        for running, batch in ((self.running_mean, mean), (self.running_variance, unbiased)):
            moved = running.lerp(batch.to(running.dtype), self.momentum)
            running.copy_(torch.where(measured, moved, running))

    def extra_repr(self) -> str:
        """Show the options."""
        return (
            f"{self.num_features}, num_modalities={self.num_modalities}, eps={self.eps}, "
            f"momentum={self.momentum}, affine={self.affine}"
        )


def _sum_per_modality(values: Tensor, member: Tensor) -> Tensor:
    """Sum rows and positions of (N, C, ...) over each modality, (M, C).

    A masked sum, not a product with a one-hot matrix. Autocast and TF32 would round the product, and a row that is
    not finite would spoil all modalities.
    """
    rows = values.flatten(2).sum(2) if values.ndim > 2 else values  # (N, C)
    return torch.where(member[:, :, None], rows[:, None], 0.0).sum(0)


def _per_row(table: Tensor, member: Tensor, values: Tensor) -> Tensor:
    """Give each row the line of its modality, (M, C) → (N, C, 1, ...), and NaN to a row of no modality.

    By a mask: the gradient of a look-up adds rows up in any order on a GPU, and the one that torch 2.6 and 2.7 compile
    for a CPU is wrong.
    """
    rows = torch.where(member[:, :, None], table, 0.0).sum(1).where(member.any(1, keepdim=True), torch.nan)
    return rows.reshape(rows.shape + (1,) * (values.ndim - 2)).to(values.dtype)

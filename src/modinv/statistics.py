"""Features to statistics: rows around their modality's mean, counts, and the one Gram matrix that all losses read.

With N rows, M modalities, modality m(i) of row i and n_m rows in it:

    z_i  = x_i - mu_m(i)                 rows (N, D)
    mu_m = (1 / n_m) sum_i x_i - shift   means (M, D), around one common detached shift
    G    = [z; mu] [z; mu]^T             gram (N + M, N + M), one matrix product

Distances between rows, between the centers of cells, and every Gaussian divergence between modalities with full
covariance are functions of G, so that a sum of losses costs one matrix product forward and one backward. The shift
(the mean of all rows) keeps float32 exact under a common offset; its derivative cancels, so it is detached.
"""

from typing import Any

import torch
from torch import Tensor

from modinv._checks import check_batch, host_values
from modinv.groups import Groups, group_rows

__all__ = ["Statistics", "full_precision", "statistics_of"]


class Statistics:
    """What the losses read of one batch; each part is computed when it is first asked for, then kept.

    Attributes:
        groups: who belongs together.
        resolution: relative rounding error of the features as they came, before they were made float32.
        membership: the modality of each row as 0 and 1, float (N, M).
        counts: rows of each modality, float (M,).
        cell_sizes: rows in the cell of each row, float (N,).
        rows: each row minus its modality's mean, (N, D).
        means: mean of each modality minus the common shift, (M, D); zero for a modality without rows.
    """

    def __init__(self, features: Tensor, groups: Groups, resolution: float) -> None:
        self.groups = groups
        self.resolution = resolution
        self.membership = groups.membership.to(features.dtype)  # (N, M)
        self.counts = self.membership.sum(0)  # (M,)
        shifted = features - features.detach().mean(0)  # (N, D)
        self.means = (self.membership.T @ shifted) / self.counts.clamp(min=1)[:, None]  # (M, D)
        self.rows = shifted - self.membership @ self.means  # (N, D)
        self.cell_sizes = groups.same_cell.sum(1).to(features.dtype)  # (N,)
        self._gram: Tensor | None = None
        self._row_gram: Tensor | None = None

    @property
    def gram(self) -> Tensor:
        """Inner products of the rows and, after them, the means: (N + M, N + M)."""
        if self._gram is None:
            self._gram = _Gram.apply(torch.cat([self.rows, self.means]))  # type: ignore[no-untyped-call]
        return self._gram

    @property
    def row_gram(self) -> Tensor:
        """Inner products of the features around the common shift, x_i = z_i + mu_m(i): (N, N)."""
        if self._row_gram is None:
            num_rows = self.rows.shape[0]
            within = self.gram[:num_rows, :num_rows]
            across = self.membership @ self.gram[num_rows:, :num_rows]  # (N, N): mu_m(i) . z_j
            between = self.membership @ self.gram[num_rows:, num_rows:] @ self.membership.T
            self._row_gram = within + across + across.T + between
        return self._row_gram

    @property
    def zero(self) -> Tensor:
        """A zero that hangs on the graph, and is NaN where a feature is not finite."""
        return 0.0 * (self.means * self.means).sum()


def statistics_of(
    features: Tensor, labels: Tensor, modalities: Tensor, num_modalities: int | None = None
) -> Statistics:
    """Check a batch and make its statistics in float32, or in float64 where the features are.

    Args:
        features: (N, D), any floating type.
        labels: identity of each row, integers (N,).
        modalities: 0 visible, 1 infrared, …, integers (N,).
        num_modalities: M; default: as many as a batch on the host shows, at least 2, and 2 where the batch cannot be
            read without waiting for a device (an accelerator, ``torch.compile``). A row whose modality is M or more
            then makes every loss NaN instead of being left out silently.

    Raises:
        TypeError, ValueError: one sentence that names the argument, when the batch breaks the data contract.
    """
    num_modalities = check_batch(features, labels, modalities, num_modalities)
    resolution = torch.finfo(features.dtype).eps
    # Half-precision sums lose the variance (at offset 100 all of it in bfloat16), so statistics are float32 at least.
    features = features if features.dtype == torch.float64 else features.float()
    groups = group_rows(labels, modalities, num_modalities)
    if host_values(modalities) is None:
        features = features.where(groups.membership.any(1, keepdim=True), torch.nan)
    return Statistics(features, groups, resolution)


def full_precision(features: Tensor) -> torch.autocast:
    """Switch autocast off for the device of ``features``: a Gram matrix in bfloat16 has no digits left."""
    device_type = features.device.type if isinstance(features, Tensor) else "cpu"
    return torch.autocast(device_type, enabled=False)


class _Gram(torch.autograd.Function):
    """T T^T, with one matrix product in the backward pass: dT = (R + R^T) T."""

    @staticmethod
    def forward(rows: Tensor) -> Tensor:
        return rows @ rows.T

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (rows,) = ctx.saved_tensors
        with full_precision(rows):
            gradient: Tensor = (gradients[0] + gradients[0].T) @ rows
        return gradient

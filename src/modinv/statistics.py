"""Features to statistics: rows around their modality's mean, counts, and the one Gram matrix that all losses read.

With N rows, M modalities, modality m(i) of row i and n_m rows in it:

    mu_m = (1 / n_m) sum_i x_i - shift   means (M, D), around one common shift
    z_i  = x_i - mu_m(i)                 rows (N, D)
    G    = [z; mu] [z; mu]^T             gram (N + M, N + M), one matrix product

Distances between rows, between the centers of cells, and every Gaussian divergence between modalities with full
covariance are functions of G, so that a sum of losses costs one matrix product in each direction, dX = H [z; mu] back.
The shift (the mean of all rows) keeps float32 exact under a common offset; its derivative cancels.

Products over the features are made in float32, all that is N x N after them in float64: there it costs next to nothing,
and neither autocast nor TF32 can round it.
"""

from contextlib import AbstractContextManager
from typing import Any, NamedTuple

import torch
from torch import Tensor

from modinv import groups
from modinv._checks import check_batch, host_values
from modinv._compat import check_compiler, float32_products_are_rounded, without_autocast
from modinv._lazy import lazy

__all__ = ["Centered", "Statistics", "full_precision", "statistics_of"]


class Centered(NamedTuple):
    """Features around the mean of their modality."""

    rows: Tensor  # (N, D): z_i
    means: Tensor  # (M, D): mu_m, zero for a modality without rows


class Statistics:
    """What the losses read of one batch; each part is computed when it is first asked for, then kept.

    Args:
        features: (N, D), float32 or float64.
        labels: integers (N,).
        modalities: integers (N,).
        num_modalities: M.
        resolution: relative rounding error of the features as they came, before they were made float32.
    """

    def __init__(
        self, features: Tensor, labels: Tensor, modalities: Tensor, num_modalities: int, resolution: float
    ) -> None:
        self.features = features
        self.labels = labels
        self.modalities = modalities
        self.resolution = resolution
        self.precision = torch.finfo(features.dtype).eps  # of the products over the features
        # The type of the N x N algebra; Apple's GPUs have no float64.
        self.dtype = torch.float64 if features.device.type != "mps" else torch.float32
        members = groups.membership(modalities, num_modalities)
        self.membership = members.to(self.dtype)  # (N, M): the modality of each row as 0 and 1
        if host_values(modalities) is None:  # nobody has looked for rows of an unknown modality: make them seen
            self.membership = self.membership.where(members.any(1, keepdim=True), torch.nan)
        self.counts = self.membership.sum(0)  # (M,)
        self.averaging = self.membership / self.counts.clamp(min=1)  # (N, M): averaging.T takes rows to means

    @lazy
    def same_identity(self) -> Tensor:
        """Which rows show the same identity, bool (N, N)."""
        return groups.same_identity(self.labels)

    @lazy
    def same_cell(self) -> Tensor:
        """Which rows show the same identity in the same modality, bool (N, N)."""
        return self.same_identity & groups.same_modality(self.modalities)

    @lazy
    def cell_sizes(self) -> Tensor:
        """Rows in the cell of each row, (N,)."""
        return self.same_cell.sum(1).to(self.dtype)

    @lazy
    def centered(self) -> Centered:
        """The rows and means themselves, for what does not go through the Gram matrix."""
        kind = _product_type(self.features)
        return Centered(*_center(self.features.to(kind), self.membership.to(kind), self.averaging.to(kind)))

    @lazy
    def gram(self) -> Tensor:
        """Inner products of the rows and, after them, the means: (N + M, N + M)."""
        gram, _ = _Gram.apply(self.features, self.membership, self.averaging)  # type: ignore[no-untyped-call]
        return torch.as_tensor(gram)

    @lazy
    def row_gram(self) -> Tensor:
        """Inner products of the features around the common shift, z_i + mu_m(i), (N, N)."""
        num_rows = len(self.features)
        identity = torch.eye(num_rows, dtype=self.dtype, device=self.features.device)
        both = torch.cat([identity, self.membership], dim=1)  # (N, N + M): takes rows and means to the features
        return both @ self.gram @ both.T

    def with_fixed(self, modality: int) -> "Statistics":
        """Return the statistics of the same batch in which one modality's rows receive no gradient."""
        fixed = (self.modalities == modality)[:, None]
        features = self.features.detach().where(fixed, self.features)
        return self._of(features)

    def in_full_type(self) -> "Statistics":
        """Return the statistics of the same batch with products over the features in the type of the N x N algebra."""
        if self.features.dtype == self.dtype:
            return self
        return self._of(self.features.to(self.dtype))

    def _of(self, features: Tensor) -> "Statistics":
        return Statistics(features, self.labels, self.modalities, self.membership.shape[1], self.resolution)

    @property
    def zero(self) -> Tensor:
        """A zero that hangs on the graph of the Gram matrix, and is NaN where a feature is not finite."""
        return 0.0 * self.gram.sum()


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
    # Half-precision sums lose the variance (at offset 100 all of it in bfloat16), so statistics are float32 at least.
    resolution = torch.finfo(features.dtype).eps
    features = features if features.dtype == torch.float64 else features.float()
    return Statistics(features, labels, modalities, num_modalities, resolution)


def full_precision(features: Tensor) -> AbstractContextManager[object]:
    """Switch autocast off for the device of ``features``: a Gram matrix in bfloat16 has no digits left."""
    check_compiler()
    return without_autocast(features.device.type if isinstance(features, Tensor) else "cpu")


def _product_type(features: Tensor) -> torch.dtype:
    """Return the type for products over the features: float64 where the user lets float32 products be rounded."""
    return torch.float64 if float32_products_are_rounded(features) else features.dtype


def _center(features: Tensor, membership: Tensor, averaging: Tensor) -> tuple[Tensor, Tensor]:
    """Return each row minus its modality's mean (N, D), and the means (M, D) around a common shift."""
    shifted = features - features.mean(0).detach()
    means = averaging.T @ shifted
    return shifted - membership @ means, means


def _stack(features: Tensor, membership: Tensor, averaging: Tensor) -> Tensor:
    """Return what :func:`_center` does, one above the other (N + M, D), with the fewest passes over the features."""
    num_rows, dimension = features.shape
    stacked = features.new_empty(num_rows + averaging.shape[1], dimension)
    rows, means = stacked[:num_rows], stacked[num_rows:]
    torch.sub(features, features.mean(0), out=rows)
    torch.mm(averaging.T, rows, out=means)
    rows.addmm_(membership, means, alpha=-1)
    return stacked


class _Gram(torch.autograd.Function):
    """The Gram matrix of centered rows and means, with one product over the features in each direction."""

    @staticmethod
    def forward(features: Tensor, membership: Tensor, averaging: Tensor) -> tuple[Tensor, Tensor]:
        kind = _product_type(features)
        stacked = _stack(features.to(kind), membership.to(kind), averaging.to(kind))
        return (stacked @ stacked.T).to(membership.dtype), stacked

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: tuple[Tensor, Tensor]) -> None:
        ctx.mark_non_differentiable(output[1])
        ctx.set_materialize_grads(False)  # of what has none: a matrix of zeros
        ctx.save_for_backward(*inputs, output[1])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, None, None]:
        if gradients[0] is None:
            return None, None, None
        features, membership, averaging, stacked = ctx.saved_tensors
        if torch.is_grad_enabled():  # a second derivative needs the way from the features to rows and means
            kinds = (part.to(stacked.dtype) for part in ctx.saved_tensors[:3])
            stacked = torch.cat(_center(*kinds))
        # dT = (R + R^T) T = [to_rows; to_means] T; with z = x - O mu and mu = A^T x that is dx = dz + A (dmu - O^T dz).
        with full_precision(features):
            both = gradients[0] + gradients[0].T  # (N + M, N + M)
            to_rows, to_means = both[: len(features)], both[len(features) :]
            weights = torch.addmm(to_rows, averaging, to_means - membership.T @ to_rows)  # (N, N + M)
            return (weights.to(stacked.dtype) @ stacked).to(features.dtype), None, None

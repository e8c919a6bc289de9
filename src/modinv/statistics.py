"""Features to statistics: rows around their modality's mean, counts, and the one Gram matrix that all losses read.

With N rows, M modalities, modality m(i) of row i and n_m rows in it:

    mu_m = (1 / n_m) sum_i x_i - shift   means (M, D), around one common shift
    z_i  = x_i - mu_m(i)                 rows (N, D)
    G    = [z; mu] [z; mu]^T             gram (N + M, N + M), one matrix product

Distances between rows, between the centers of cells, and every Gaussian divergence between modalities with full
covariance are functions of G. A sum of losses costs one matrix product forward and one backward, dX = H [z; mu].
Where none asks for G, it is the product of the rows around the shift alone.
The shift is the mean of all rows. It keeps float32 exact under a common offset; its derivative cancels.

Products over the features are made in float32, all that is N x N after them in float64. That costs next to nothing
there, and neither autocast nor TF32 can round it.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor

from modinv import groups
from modinv._checks import check_batch, refuse_vmap
from modinv._compat import WITHOUT_AUTOCAST, check_compiler, rounds_products
from modinv.distances import safe_sqrt, squared_distances

__all__ = ["Centered", "Statistics", "full_precision", "lazy", "row_products", "statistics_of"]

T = TypeVar("T")


def lazy(compute: Callable[[Any], T]) -> T:
    """Make a property that is computed when it is first read, then kept.

    ``functools.cached_property`` has a lock up to Python 3.11, which ``torch.compile`` refuses.
    """
    name = f"_lazy_{compute.__name__}"

    def read(self: Any) -> T:
        if not hasattr(self, name):  # not self.__dict__, which Dynamo of torch 2.6 cannot write
            setattr(self, name, compute(self))
        return getattr(self, name)

    made: Any = property(read, doc=compute.__doc__)
    return made


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
        input_eps: relative rounding error of the features as they came, before they were made float32.
        seen: whether somebody has looked for rows of an unknown modality; they make every loss NaN otherwise.
    """

    def __init__(
        self,
        features: Tensor,
        labels: Tensor,
        modalities: Tensor,
        num_modalities: int,
        *,
        input_eps: float,
        seen: bool = False,
    ) -> None:
        self.features = features
        self.labels = labels
        self.modalities = modalities
        self.input_eps = input_eps
        self.eps = torch.finfo(features.dtype).eps  # of the products over the features
        # Of products over the features: float64 where the user lets float32 products be rounded.
        self.kind = torch.float64 if rounds_products(features.is_cuda) else features.dtype
        # Of all that is N x N; Apple's GPUs have no float64.
        self.dtype = torch.float64 if features.device.type != "mps" else torch.float32
        members = groups.membership(modalities, num_modalities)
        self.membership = members.to(self.dtype)  # (N, M): the modality of each row as 0 and 1
        self._seen = seen
        if not seen:
            self.membership = self.membership.where(members.any(1, keepdim=True), torch.nan)
        self.counts = self.membership.sum(0)  # (M,)
        self.averaging = self.membership / self.counts.clamp(min=1)  # (N, M): averaging.T takes rows to means

    @lazy
    def same_identity(self) -> Tensor:
        """Which rows show the same identity, bool (N, N)."""
        return groups.same_identity(self.labels)

    @lazy
    def same_modality(self) -> Tensor:
        """Which rows are of the same modality, bool (N, N)."""
        return groups.same_modality(self.modalities)

    @lazy
    def same_cell(self) -> Tensor:
        """Which rows show the same identity in the same modality, bool (N, N)."""
        return self.same_identity & self.same_modality

    @lazy
    def cell_sizes(self) -> Tensor:
        """Rows in the cell of each row, (N,)."""
        return self.same_cell.sum(1).to(self.dtype)

    @lazy
    def cells(self) -> groups.Groups:
        """The cells as groups of rows."""
        return groups.groups_of(self.same_cell, self.dtype)

    @lazy
    def cell_averaging(self) -> Tensor:
        """The matrix that replaces each row by the mean of its cell, (N, N)."""
        return self.same_cell / self.cell_sizes[:, None]

    @lazy
    def centered(self) -> Centered:
        """The rows and means themselves, for what does not go through the Gram matrix."""
        return Centered(*_center(*(part.to(self.kind) for part in (self.features, self.membership, self.averaging))))

    @lazy
    def gram(self) -> Tensor:
        """Inner products of the rows and, after them, the means: (N + M, N + M)."""
        gram, _ = _Gram.apply(self.features, self.membership, self.averaging, self.kind)
        return gram

    @lazy
    def shifted(self) -> Tensor:
        """The features around their common mean, in the type of products over them, (N, D)."""
        features = self.features.to(self.kind)
        rows = features - features.mean(0).detach()
        # A row of an unknown modality becomes NaN.
        return rows if self._seen else rows + 0 * self.membership.sum(1, keepdim=True).to(rows.dtype)

    @lazy
    def row_gram(self) -> Tensor:
        """Inner products of the features around the common shift, z_i + mu_m(i), (N, N)."""
        if not hasattr(self, "_lazy_gram"):
            return row_products(self.shifted, self.dtype)
        rows, means = self.gram.split(self.membership.shape, dim=0)  # (N, N + M), (M, N + M)
        products, across = rows.split(self.membership.shape, dim=1)  # z_i . z_j (N, N), z_i . mu_m (N, M)
        between = means[:, len(products) :]  # (M, M): mu_m . mu_n
        half = (across + self.membership @ between / 2) @ self.membership.T  # no product of N x N x N
        return products + (half + half.T)

    @lazy
    def squared_row_distances(self) -> Tensor:
        """The squared distances |x_i - x_j|^2 between all rows up to rounding, which can be below zero, (N, N)."""
        return squared_distances(self.row_gram)

    @lazy
    def row_distances(self) -> Tensor:
        """The distances |x_i - x_j| between all rows, (N, N)."""
        return safe_sqrt(self.squared_row_distances)

    def kept(self, make: Callable[["Statistics"], T]) -> T:
        """Return what ``make`` makes of the batch, made once; losses share it by module and name of ``make``."""
        name = f"_kept_{make.__module__}.{make.__qualname__}"
        if not hasattr(self, name):
            setattr(self, name, make(self))
        made: T = getattr(self, name)
        return made

    def with_fixed(self, modality: int) -> "Statistics":
        """Return the statistics of the same batch in which one modality's rows receive no gradient."""
        fixed = (self.modalities == modality)[:, None]
        return self.of(self.features.detach().where(fixed, self.features))

    def of(self, features: Tensor, labels: Tensor | None = None, modalities: Tensor | None = None) -> "Statistics":
        """Return the statistics of other features; default: with the same labels and modalities."""
        labels = self.labels if labels is None else labels
        modalities = self.modalities if modalities is None else modalities
        number = self.membership.shape[1]
        return Statistics(features, labels, modalities, number, input_eps=self.input_eps, seen=self._seen)

    @property
    def zero(self) -> Tensor:
        """A zero on the graph of what has been computed; NaN where a feature is not finite, or a modality unknown."""
        gram = getattr(self, "_lazy_gram", getattr(self, "_lazy_row_gram", None))
        if gram is not None:
            return 0.0 * gram.sum()
        total = self.features.sum(dtype=self.dtype)
        return 0.0 * (total if self._seen else total + self.counts.sum())


def statistics_of(
    features: Tensor, labels: Tensor, modalities: Tensor, num_modalities: int | None = None
) -> Statistics:
    """Check a batch and make its statistics in float32, or in float64 where the features are.

    Args:
        features: (N, D), any floating type.
        labels: identity of each row, integers (N,).
        modalities: 0 visible, 1 infrared, …, integers (N,).
        num_modalities: M; default: ``max(2, modalities.max() + 1)`` on the CPU in eager mode, and 2 on a GPU or under
            ``torch.compile``, where reading it would synchronise. A row whose modality is M or more then makes every
            loss NaN instead of being left out silently.

    Raises:
        TypeError, ValueError: one sentence that names the argument, when the batch breaks the data contract.
    """
    num_modalities, seen = check_batch(features, labels, modalities, num_modalities)
    # Half-precision sums lose the variance (at offset 100 all of it in bfloat16), so statistics are float32 at least.
    input_eps = torch.finfo(features.dtype).eps
    features = features if features.dtype == torch.float64 else features.float()
    return Statistics(features, labels, modalities, num_modalities, input_eps=input_eps, seen=seen)


def full_precision(features: Tensor) -> AbstractContextManager[object]:
    """Switch autocast off for the device of ``features``: a Gram matrix in bfloat16 has no digits left."""
    device_type = features.device.type if isinstance(features, Tensor) else "cpu"
    if torch.compiler.is_compiling():
        check_compiler(device_type)
    return nullcontext() if device_type in WITHOUT_AUTOCAST else torch.autocast(device_type, enabled=False)


def _center(features: Tensor, membership: Tensor, averaging: Tensor) -> tuple[Tensor, Tensor]:
    """Return each row minus its modality's mean (N, D), and the means (M, D) around a common shift."""
    shifted = features - features.mean(0).detach()
    means = averaging.T @ shifted
    return shifted - membership @ means, means


class _Products(torch.autograd.Function):
    """Inner products of all rows, (N, D) -> (N, N), with one product backward where autograd would add two."""

    vmap = staticmethod(refuse_vmap)

    @staticmethod
    def forward(rows: Tensor, kind: torch.dtype) -> Tensor:
        return (rows @ rows.T).to(kind)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.save_for_backward(inputs[0])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (rows,) = ctx.saved_tensors
        with full_precision(rows):
            return (gradients[0] + gradients[0].T).to(rows.dtype) @ rows, None


row_products: Callable[[Tensor, torch.dtype], Tensor] = _Products.apply


class _Gram(torch.autograd.Function):
    """The Gram matrix of centered rows and means, with one product over the features in each direction."""

    vmap = staticmethod(refuse_vmap)

    @staticmethod
    def forward(features: Tensor, membership: Tensor, averaging: Tensor, kind: torch.dtype) -> tuple[Tensor, Tensor]:
        # What `_center` does, one above the other (N + M, D), with the fewest passes over the features.
        num_rows, dimension = features.shape
        features = features.to(kind)
        stacked = features.new_empty(num_rows + averaging.shape[1], dimension)
        rows, means = stacked[:num_rows], stacked[num_rows:]
        torch.sub(features, features.mean(0), out=rows)
        torch.mm(averaging.to(kind).T, rows, out=means)
        rows.addmm_(membership.to(kind), means, alpha=-1)
        return (stacked @ stacked.T).to(membership.dtype), stacked

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
        ctx.mark_non_differentiable(output[1])
        ctx.set_materialize_grads(False)  # of what has none: a matrix of zeros
        ctx.save_for_backward(*inputs[:3], output[1])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, None, None, None]:
        if gradients[0] is None:
            return None, None, None, None
        features, membership, averaging, stacked = ctx.saved_tensors
        if torch.is_grad_enabled():  # a second derivative needs the way from the features to rows and means
            kinds = (part.to(stacked.dtype) for part in ctx.saved_tensors[:3])
            stacked = torch.cat(_center(*kinds))
        # dT = (R + R^T) T = [to_rows; to_means] T; with z = x - O mu and mu = A^T x that is dx = dz + A (dmu - O^T dz).
        with full_precision(features):
            both = gradients[0] + gradients[0].T  # (N + M, N + M)
            to_rows, to_means = both[: len(features)], both[len(features) :]
            weights = torch.addmm(to_rows, averaging, to_means - membership.T @ to_rows)  # (N, N + M)
            return (weights.to(stacked.dtype) @ stacked).to(features.dtype), None, None, None

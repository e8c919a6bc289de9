"""The rows of all ranks in one batch, so that value and gradient are those of one process on the whole batch.

A loss over pairs, centers or covariances is not the mean of the losses of parts of a batch. Under data parallelism each
rank has to see the rows of all. Only the rank's own rows carry a gradient, and nothing is communicated backward.
``_AveragedLater`` holds the scale that makes the gradient exact, and derives it. All is built on
``torch.distributed`` alone. Without an initialised process group everything here is the identity.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch import distributed as dist
from torch.autograd.function import once_differentiable
from typing_extensions import override

from modinv._checks import check_batch
from modinv._compat import all_gather_single
from modinv.batches import Batch

__all__ = ["GlobalBatch", "gather_batch", "sum_over_ranks"]

# Types travel as their number in this list, the same on all ranks that run the same torch.
_TYPES = sorted({kind for kind in vars(torch).values() if isinstance(kind, torch.dtype)}, key=str)


class _Layout(NamedTuple):
    """What a rank tells the others before it sends rows; all ranks agree on everything but the rows."""

    rows: int  # N of this rank; -1 for a malformed batch
    dimension: int
    features: int  # the types as numbers in _TYPES
    labels: int
    modalities: int


_MALFORMED = _Layout(-1, 0, 0, 0, 0)


def gather_batch(batch: Batch, *, group: dist.ProcessGroup | None = None) -> Batch:
    """Return the batch of all ranks, in the order of the ranks, with an exact gradient for the own rows.

    Every rank gets the loss of the full batch. After DDP or FSDP averages the gradients, they equal those of a single
    process: multiply nothing by the number of ranks W. That holds for any loss whose every term reads the gathered
    batch. It holds for the loss's own parameters too, since their gradient is the same on all ranks.

    Every rank of the group has to call it, with any number of rows, none included. Rows are padded to the largest rank,
    and the padding is cut off again. A rank without rows still passes features (0, D) that hang on its model, since it
    takes part in the averaging.

    Cost: each rank receives (W - 1) (40 + n (D s + 16)) bytes in two collectives, and nothing backward. Here n is the
    number of rows of the largest rank, s the bytes of a feature; an integer has 8. The CPU waits for the row counts.
    Gradients can be taken once; double backward raises a ``RuntimeError``.

    Args:
        batch: features (n_r, D) of any floating type, labels (n_r,), modalities (n_r,) of this rank.
        group: the ranks that share a batch, those that the gradients are averaged over; default: all.

    Returns:
        The batch with sum_r n_r rows, of the types that came. Without an initialised process group, or in a group of
        one rank: the batch that came.

    Raises:
        TypeError, ValueError: on every rank, if the batch of one is malformed or they differ in D or a type; on a
            process that is not in the group.

    Example:
        >>> import torch
        >>> batch = Batch(torch.ones(2, 8), torch.tensor([0, 1]), torch.tensor([0, 1]))
        >>> gather_batch(batch) is batch  # this is one process
        True
    """
    if _number_of_ranks(group) == 1:
        return batch
    counts = _exchange_counts(batch, group)
    features, labels, modalities = _gather_rows(batch, counts, group)
    rank = dist.get_rank(group)
    pieces = list(torch.split(features, counts))
    pieces[rank] = _AveragedLater.apply(batch.features, len(counts))
    return Batch(torch.cat(pieces), labels, modalities)


def sum_over_ranks(tensor: Tensor, *, group: dist.ProcessGroup | None = None) -> Tensor:
    """Add up the tensors of all ranks, with the exact gradient: the sum, over the ranks, of what arrives backward.

    Scale: none. If y = sum_q x_q goes into the losses L_q of all ranks, then d(sum_q L_q)/dx_r = sum_q dL_q/dy for each
    r. Under DDP, which averages, it makes the gradient of the mean of the L_q. :func:`gather_batch` sends W times the
    derivative of the one loss backward on each rank. In front of it the sum keeps the W times: the average is exact.

    For statistics that a layer takes over the whole batch: batch normalisation on the CPU, for which torch has none.
    All ranks call it equally often, forward and backward, with equal shapes and types; these are not checked.

    Args:
        tensor: floating, any shape.
        group: default: all ranks.

    Returns:
        The sum, in the shape that came. Without an initialised process group, or in a group of one: the tensor.

    Example:
        >>> import torch
        >>> sum_over_ranks(torch.tensor([1.0, 2.0]))  # this is one process
        tensor([1., 2.])
    """
    if _number_of_ranks(group) == 1:
        return tensor
    return _SumOverRanks.apply(tensor, group)


class GlobalBatch(nn.Module):
    """Let a loss see the rows of all ranks: its value, and the gradient DDP ends up with, are those of one process.

    ``GlobalBatch(loss)(features, labels, modalities)`` is ``loss(*gather_batch(batch))``; see :func:`gather_batch` for
    what it promises, needs and costs. Wrap a ``WeightedLosses`` once, rather than each loss in it, so that rows
    travel once. A loss with buffers or a memory fills them from the same rows on every rank.

    Args:
        loss: any loss of ``(features, labels, modalities)``, of this library or not, a module or a function.
        group: see :func:`gather_batch`. A process group cannot be pickled or copied, so neither can a module with one.

    Raises:
        TypeError: if the loss cannot be called.

    Example:
        >>> import torch, modinv
        >>> loss = GlobalBatch(modinv.HeteroCenterTripletLoss())
        >>> loss
        GlobalBatch(
          (loss): HeteroCenterTripletLoss(margin=0.3, distance='euclidean')
        )
        >>> features = torch.randn(16, 8, requires_grad=True)
        >>> loss(features, torch.arange(16) % 4, torch.arange(16) // 8).backward()
    """

    def __init__(self, loss: Callable[..., Tensor], *, group: dist.ProcessGroup | None = None) -> None:
        super().__init__()
        if not callable(loss) or isinstance(loss, type):
            raise TypeError(f"the loss must be a module or a function of (features, labels, modalities), got {loss!r}")
        self.loss = loss
        self.group = group
        self.reads_labels = bool(getattr(loss, "reads_labels", True))

    def terms(self, features: Tensor, labels: Tensor | None, modalities: Tensor) -> Any:
        """Return the terms of the loss on the whole batch; a loss without ``terms`` raises an ``AttributeError``."""
        terms = getattr(self.loss, "terms", None)
        if terms is None:
            raise AttributeError(f"only a loss with terms can give them, {_name(self.loss)} has none: call it instead")
        return terms(*self._gathered(features, labels, modalities))

    @override
    def forward(self, features: Tensor, labels: Tensor | None, modalities: Tensor) -> Tensor:
        return self.loss(*self._gathered(features, labels, modalities))

    def _gathered(self, features: Tensor, labels: Tensor | None, modalities: Tensor) -> Batch:
        given: Any = modalities if labels is None and not self.reads_labels else labels  # any numbers will do
        return gather_batch(Batch(features, given, modalities), group=self.group)

    def tell_malformed(self, features: Tensor) -> None:
        """Take part in place of a call, so that all ranks raise where a loss around this one refuses its batch."""
        if _number_of_ranks(self.group) > 1:
            _exchange(features, _MALFORMED, self.group)

    @override
    def extra_repr(self) -> str:
        name = "" if isinstance(self.loss, nn.Module) else f"loss={_name(self.loss)}"
        ranks = "" if self.group is None else f"group of {dist.get_world_size(self.group)} ranks"
        return ", ".join(filter(None, (name, ranks)))


class _AveragedLater(torch.autograd.Function):
    """Leave the rows as they are and multiply their gradient by W, the number of ranks: the one place of the scale.

    With X_r the features of rank r, theta the parameters that all ranks share, and L the loss of the whole batch:

        dL/dtheta = sum_r (dX_r/dtheta)^T dL/dX_r   is what one process computes,
        (1/W) sum_r g_r                             is what DDP and FSDP make of the gradients g_r of the ranks.

    Rank r has all rows, so it knows L and dL/dX_r without asking anybody; the Jacobian dX_r/dtheta it knows for its own
    rows only. The two lines are equal if g_r = (dX_r/dtheta)^T (W dL/dX_r): the gradient that enters the graph of rank
    r is W dL/dX_r. Left alone, it would end up W times too small. What the loss has in parameters of its own needs no
    factor: each rank holds their whole gradient, and the average of equal gradients is that gradient.

    Once differentiable: the second derivative needs the Jacobians of the other ranks.
    """

    @staticmethod
    @override
    def forward(ctx: Any, rows: Tensor, number_of_ranks: int) -> Tensor:
        ctx.number_of_ranks = number_of_ranks
        return rows.view_as(rows)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient * ctx.number_of_ranks, None


class _SumOverRanks(torch.autograd.Function):
    """A sum of which every rank gets a copy; it is its own adjoint, so it can be differentiated any number of times."""

    @staticmethod
    @override
    def forward(ctx: Any, tensor: Tensor, group: dist.ProcessGroup | None) -> Tensor:
        ctx.group = group
        total = tensor.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total, group=group)
        return total

    @staticmethod
    @override
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return _SumOverRanks.apply(gradient, ctx.group), None


def _name(loss: object) -> str:
    return str(getattr(loss, "__name__", type(loss).__name__))


def _number_of_ranks(group: dist.ProcessGroup | None) -> int:
    if not dist.is_available() or not dist.is_initialized():
        return 1
    size = dist.get_world_size(group)
    if size < 1:
        raise ValueError(f"the group must contain the rank that calls, got one without rank {dist.get_rank()}")
    return size


def _exchange_counts(batch: Batch, group: dist.ProcessGroup | None) -> list[int]:
    """Return the number of rows on each rank, or raise on every rank where the batches do not go together.

    A rank whose batch is malformed takes part before it raises, since the others would wait for it for ever.
    """
    problem = _problem_of(batch)
    gathered = _exchange(batch.features, _MALFORMED if problem else _layout_of(batch), group)
    if problem is not None:
        raise problem
    layouts = [_Layout(*layout) for layout in gathered]
    for rank, layout in enumerate(layouts):
        if layout.rows < 0:
            raise ValueError(f"every rank must have a well-formed batch, rank {rank} has not: its own error says why")
        if layout[1:] != layouts[0][1:]:
            raise ValueError(
                "all ranks must have the same D and the same types, got "
                f"{_describe(layouts[0])} on rank 0 and {_describe(layout)} on rank {rank}: convert before gathering"
            )
    return [layout.rows for layout in layouts]


def _exchange(features: Tensor, layout: _Layout, group: dist.ProcessGroup | None) -> list[list[int]]:
    """Tell the layout of this rank to the others, and return those of all; it travels where the features are."""
    device = features.device if isinstance(features, Tensor) and not features.is_meta else None
    return _all_gather(torch.tensor(layout, device=device), group).tolist()


def _problem_of(batch: Batch) -> TypeError | ValueError | None:
    try:
        check_batch(*batch, num_modalities=None)
    except (TypeError, ValueError) as problem:
        return problem
    return None


def _layout_of(batch: Batch) -> _Layout:
    return _Layout(*batch.features.shape, *(_TYPES.index(tensor.dtype) for tensor in batch))


def _describe(layout: _Layout) -> str:
    features, labels, modalities = (_TYPES[number] for number in layout[2:])
    return f"D = {layout.dimension}, features {features}, labels {labels}, modalities {modalities}"


def _gather_rows(batch: Batch, counts: list[int], group: dist.ProcessGroup | None) -> Batch:
    """Return the rows of all ranks without a gradient; they travel as bytes, one collective for the three tensors."""
    columns = [_bytes_of(tensor) for tensor in batch]
    rows = torch.cat(columns, dim=1)  # (n_r, bytes)
    padded = nn.functional.pad(rows, (0, 0, 0, max(counts) - len(rows)))  # (n, bytes)
    gathered = _all_gather(padded, group)  # (W, n, bytes)
    rows = torch.cat([part[:count] for part, count in zip(gathered, counts, strict=True)])  # (N, bytes)
    parts = torch.split(rows, [column.shape[1] for column in columns], dim=1)
    features, labels, modalities = (_packed(part).view(tensor.dtype) for part, tensor in zip(parts, batch, strict=True))
    return Batch(features, labels[:, 0], modalities[:, 0])


def _bytes_of(tensor: Tensor) -> Tensor:
    """Return the bytes of each row, (n_r, bytes); so every type can travel, whatever the backend can count with."""
    return _packed(tensor.detach() if tensor.ndim == 2 else tensor[:, None]).view(torch.uint8)


def _packed(tensor: Tensor) -> Tensor:
    """Copy to adjacent memory: ``contiguous`` may leave one row with an offset that no other type has."""
    return tensor.clone(memory_format=torch.contiguous_format)


def _all_gather(tensor: Tensor, group: dist.ProcessGroup | None) -> Tensor:
    """Stack the equally shaped tensors of all ranks, (W, …)."""
    ranks = dist.get_world_size(group)
    joined = tensor.new_empty(ranks * len(tensor), *tensor.shape[1:])
    all_gather_single(joined, tensor, group)
    return joined.view(ranks, *tensor.shape)

"""A memory of past rows: any loss of the library sees the last rows of earlier batches beside those of the batch."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from typing_extensions import Self, override

from modinv._checks import check_batch, check_count, describe, host_values
from modinv.batches import Batch
from modinv.losses.loss import Loss
from modinv.statistics import Statistics

__all__ = ["CrossBatchMemory"]

_ROWS = Batch._fields


class CrossBatchMemory(Loss):
    """Give a loss the rows of the batch together with the last rows of earlier batches, which are constants.

    With n rows of a modality (or of a cell) in the batch and k in the memory, of means mu_B and mu_R and covariances
    Sigma_B and Sigma_R, d = mu_B - mu_R, the Gaussian of both has

    * the mean (n mu_B + k mu_R) / (n + k);
    * the covariance [(n - 1) Sigma_B + (k - 1) Sigma_R + (n k / (n + k)) d d^T] / (n + k - 1).

    These are the moments of n + k rows, and the value has the noise of n + k rows. Stored features are not updated: if
    the network changes fast, a large memory measures an outdated distance. Every other loss counts a row of the memory
    like one of the batch, as an anchor too, where Wang et al. have anchors in the batch alone. A memory is made for
    level ``"modality"``: at the levels of identities an identity gains rows only if it comes back in time.

    The gradient reaches the rows of the batch only, which make the share n / (n + k) of the means: the mean part of
    ``"wasserstein"`` for example moves mu_B by (n / (n + k)) times the gradient that mu_B alone would get at the same
    distance. A weight that was chosen without a memory becomes (n + k) / n times as large for the same pull.

    Rows are added in training mode only, by each call, without their gradient and after the value is computed.
    Evaluation reads them and adds none. So does a call during a backward pass: it is activation checkpointing that
    repeats the last call, and it sees the rows which that call saw. The oldest rows leave first. The memory starts
    empty; a compiled loss is compiled again about three times until it is full. A batch without rows is read alone.
    Rows that are not finite, left by a step that a mixed-precision scaler skipped, are replaced by detached rows of the
    batch until they have left.

    Costs what the loss costs with n + k rows, and a copy of the memory in each step; the rows before the last call are
    kept too. In a :class:`modinv.WeightedLosses` the statistics of the memory are not shared with the other losses; to
    share them, give the sum to one memory. Each rank of :class:`modinv.distributed.GlobalBatch` has the memory of one
    process; without it each rank has a memory of its own rows.

    Args:
        loss: a loss of this library. Losses from elsewhere in a :class:`modinv.WeightedLosses` get the rows of the
            memory as well, in the type of the statistics and without autocast.
        memory_size: most rows that are kept, of all modalities together.
        num_modalities: see :class:`modinv.losses.Loss`; default: that of the loss.

    Attributes:
        features: (k, D), k at most ``memory_size``, the newest last; in the type of the statistics, float32 or float64,
            in which they stay when the module is made half precision.
        labels: integers (k,).
        modalities: integers (k,).

    The three stand in the ``state_dict`` where there are rows, so a training resumes to the bit. They are no buffers:
    nothing broadcasts them over the ranks (DDP does that to buffers) or averages them (``AveragedModel``).

    Raises:
        TypeError, ValueError: at construction on something that is no loss of this library, that has a memory already,
            or a size below 1; at call on a malformed batch, or one of another dimension than the memory.

    Example:
        >>> import torch, modinv
        >>> loss = CrossBatchMemory(modinv.GaussianDistributionConsistencyLoss(), 256)
        >>> batch = (torch.randn(16, 32), torch.arange(16) % 4, torch.arange(16) // 8)
        >>> for step in range(3):
        ...     value = loss(*batch)
        >>> loss.features.shape
        torch.Size([48, 32])

    Reference: Wang, Zhang, Huang and Scott, "Cross-batch memory for embedding learning", 2020, section 3.2, has the
    queue of past embeddings; its use for the moments of Gaussians is our choice.
    """

    features: Tensor
    labels: Tensor
    modalities: Tensor
    _place: Tensor

    def __init__(self, loss: Loss, memory_size: int, *, num_modalities: int | None = None) -> None:
        _check_loss(loss)
        super().__init__(num_modalities=loss.num_modalities if num_modalities is None else num_modalities)
        self.loss = loss
        self.reads_labels = loss.reads_labels
        self.memory_size = check_count("memory_size", memory_size)
        # Says where the module is, for rows that are loaded; and AveragedModel fails on a module without any buffer.
        self.register_buffer("_place", torch.zeros(()), persistent=False)
        self.reset()

    def reset(self) -> None:
        """Forget all rows."""
        device = self._place.device
        none = (torch.zeros(0, dtype=torch.long, device=device) for _ in range(2))
        self._hold(Batch(torch.zeros(0, 0, device=device), *none))
        self._before = self._rows

    @override
    def read(self, statistics: Statistics) -> Any:
        batch, repeated = _rows_of(statistics), self.training and _in_backward()
        kept = _rows_like(self._before if repeated else self._rows, batch)
        terms = self.loss.terms_of(_joined(statistics, batch, kept))
        if self.training and not repeated:
            self._before = kept
            self._hold(_followed(kept, batch, self.memory_size))
        return terms

    @property
    def _rows(self) -> Batch:
        return Batch(self.features, self.labels, self.modalities)

    def _hold(self, rows: Batch) -> None:
        self.features, self.labels, self.modalities = rows

    @override
    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        super()._apply(fn, recurse)
        changed = fn(self.features)
        if changed.element_size() < 4:  # half precision has lost what the statistics are made of
            changed = self.features.to(changed.device)
        self._hold(Batch(changed, self.labels.to(changed.device), self.modalities.to(changed.device)))
        return self

    @override
    def _save_to_state_dict(self, destination: dict[str, Any], prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        if len(self.features):  # empty tensors look like shared ones to the savers of the ecosystem
            destination.update({prefix + name: rows for name, rows in self._rows._asdict().items()})

    @override
    def _load_from_state_dict(
        self, state_dict: Mapping[str, Any], prefix: str, metadata: Any, strict: bool, missing: list[str], *others: Any
    ) -> None:
        names = [prefix + name for name in _ROWS]
        rest = {name: value for name, value in state_dict.items() if name not in names}
        super()._load_from_state_dict(rest, prefix, metadata, strict, missing, *others)
        absent = [name for name in names if name not in state_dict]
        self.reset()  # no rows saved: the memory was empty
        if not absent:
            self._load_rows(Batch(*(state_dict[name] for name in names)))
        elif len(absent) < len(names):
            missing += absent

    def _load_rows(self, saved: Batch) -> None:
        """Take what was saved, of any fill and type, as far as it fits."""
        if len(saved.features):
            check_batch(*saved, num_modalities=None)
            self._hold(Batch(*(rows[-self.memory_size :].detach().to(self._place.device, copy=True) for rows in saved)))

    @override
    def extra_repr(self) -> str:
        return f"memory_size={self.memory_size}"


def _rows_of(statistics: Statistics) -> Batch:
    return Batch(statistics.features, statistics.labels.long(), statistics.modalities.long())


def _rows_like(kept: Batch, batch: Batch) -> Batch:
    """Return the rows of the memory where the batch is and in its type."""
    dimension = batch.features.shape[1]
    if len(kept.features) and kept.features.shape[1] != dimension:
        raise ValueError(
            f"the memory holds features of {kept.features.shape[1]} dimensions, got a batch of {dimension}: "
            "call reset() where the features change"
        )
    features = kept.features.reshape(len(kept.features), dimension)  # an empty one knows no D
    return Batch(*(old.to(new) for old, new in zip((features, kept.labels, kept.modalities), batch, strict=True)))


def _joined(statistics: Statistics, batch: Batch, kept: Batch) -> Statistics:
    """Return the statistics of the rows of the batch and, after them, those of the memory."""
    num_rows, size = len(batch.features), len(kept.features)
    if not num_rows or not size:
        return statistics
    finite = kept.features.isfinite().all(1)  # (k,)
    places = torch.arange(size, device=finite.device) % num_rows  # (k,): the rows that stand in for lost ones
    features = kept.features.where(finite[:, None], batch.features.detach()[places])
    labels = kept.labels.where(finite, batch.labels[places])
    modalities = kept.modalities.where(finite, batch.modalities[places])
    joined = Batch(*(torch.cat(both) for both in zip(batch, (features, labels, modalities), strict=True)))
    count, seen = _count(statistics, joined.modalities)
    return Statistics(*joined, count, input_eps=statistics.input_eps, seen=seen)


def _followed(kept: Batch, batch: Batch, memory_size: int) -> Batch:
    """Return the last rows of the memory and, after it, the batch."""
    leaving = max(0, len(kept.features) + len(batch.features) - memory_size)
    return Batch(
        *(torch.cat([old[leaving:], new.detach()[-memory_size:]]) for old, new in zip(kept, batch, strict=True))
    )


def _count(statistics: Statistics, modalities: Tensor) -> tuple[int, bool]:
    """Return how many modalities batch and memory have, and whether they were read: on the CPU they are."""
    values = host_values(modalities)
    return max(statistics.membership.shape[1], 0 if values is None else 1 + int(values.max())), values is not None


def _in_backward() -> bool:
    """Say whether a backward pass runs in this thread: torch's own checkpointing asks like this, by a private name."""
    return not torch.compiler.is_compiling() and torch._C._current_graph_task_id() >= 0


def _check_loss(loss: object) -> None:
    if not isinstance(loss, Loss):
        raise TypeError(f"loss must be a loss of modinv, got {describe(loss)}")
    if any(isinstance(part, CrossBatchMemory) for part in loss.modules()):
        raise ValueError("loss must have no memory of its own, got one with a CrossBatchMemory inside")

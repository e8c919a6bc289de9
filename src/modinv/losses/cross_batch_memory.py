"""A memory of past rows: any loss of the library sees the last rows of earlier batches beside those of the batch."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from typing_extensions import Self, override

from modinv._checks import check_count, host_values
from modinv.groups import Batch
from modinv.losses.composition import WeightedLosses
from modinv.losses.loss import Loss
from modinv.statistics import Statistics

__all__ = ["CrossBatchMemory"]

_BUFFERS = ("features", "labels", "modalities")


class CrossBatchMemory(Loss):
    """Give a loss the rows of the batch together with the last rows of earlier batches, which are constants.

    With n rows of a modality (or of a cell) in the batch and k in the memory, of means mu_B and mu_R and covariances
    Sigma_B and Sigma_R, d = mu_B - mu_R, the Gaussian of both has

    * the mean (n mu_B + k mu_R) / (n + k);
    * the covariance [(n - 1) Sigma_B + (k - 1) Sigma_R + (n k / (n + k)) d d^T] / (n + k - 1).

    These are the moments of n + k rows, so the noise of the value is that of n + k rows too, as long as features do not
    drift: a row stays as the network made it when it was new, and a large memory reports a distance that has been left
    behind. Every other loss counts a row of the memory like one of the batch, as an anchor too, where Wang et al. have
    anchors in the batch alone. At the levels of identities those of the memory are compared too, and an identity gains
    rows only if it comes back before its rows have left: a memory is made for level ``"modality"``.

    The gradient reaches the rows of the batch only, which make the share n / (n + k) of the means: the mean part of
    ``"wasserstein"`` for example moves mu_B by (n / (n + k)) times the gradient that mu_B alone would get at the same
    distance. A weight that was chosen without a memory becomes (n + k) / n times as large for the same pull.

    Rows are added in training mode only, by each call, without their gradient and after the value is computed;
    evaluation reads them and adds none. The oldest leave first. The memory starts empty; a compiled loss is compiled
    again about three times until it is full. A batch without rows is read alone. Where rows of the memory are not
    finite, which is what a step that a mixed-precision scaler skips leaves behind, rows of the batch stand in for them,
    as constants, until they have left.

    Costs what the loss costs with n + k rows, and a copy of the memory in each step. In a
    :class:`modinv.WeightedLosses` the statistics of the memory are not shared with the other losses; to share them,
    give the sum to one memory. Each rank of :class:`modinv.distributed.GlobalBatch` has the memory of one process.

    Args:
        loss: a loss of this library, or a :class:`modinv.WeightedLosses`, whose losses from elsewhere then get the rows
            of the memory as well, in the type of the statistics.
        memory_size: most rows that are kept, of all modalities together.
        num_modalities: see :class:`modinv.losses.Loss`; default: that of the loss.

    Attributes:
        features: (k, D), k at most ``memory_size``, the newest last; in the type of the statistics, float32 or float64,
            in which they stay when the module is made half precision.
        labels: integers (k,).
        modalities: integers (k,).

    The three are buffers, so that a checkpoint holds the memory, however full, and a training resumes to the bit.

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

    def __init__(self, loss: Loss | WeightedLosses, memory_size: int, *, num_modalities: int | None = None) -> None:
        _check_loss(loss)
        super().__init__(num_modalities=loss.num_modalities if num_modalities is None else num_modalities)
        self.loss = loss
        self.memory_size = check_count("memory_size", memory_size)
        self.register_buffer("features", torch.zeros(0, 0))
        self.register_buffer("labels", torch.zeros(0, dtype=torch.long))
        self.register_buffer("modalities", torch.zeros(0, dtype=torch.long))

    def reset(self) -> None:
        """Forget all rows."""
        self.features = self.features.new_zeros(0, 0)
        self.labels, self.modalities = self.labels[:0], self.modalities[:0]

    @override
    def read(self, statistics: Statistics) -> Any:
        terms = self.loss.read(self._joined(statistics))
        if self.training:
            self._remember(statistics)
        return terms

    def _joined(self, statistics: Statistics) -> Statistics:
        """Return the statistics of the rows of the batch and, after them, those of the memory."""
        num_rows, size = len(statistics.features), len(self.features)
        if not num_rows or not size:
            return statistics
        batch = _rows_of(statistics)
        kept = self._rows_like(batch)
        finite = kept.features.isfinite().all(1)  # (k,)
        places = torch.arange(size, device=finite.device) % num_rows  # (k,): the rows that stand in for lost ones
        features = kept.features.where(finite[:, None], batch.features.detach()[places])
        labels = kept.labels.where(finite, batch.labels[places])
        modalities = kept.modalities.where(finite, batch.modalities[places])
        joined = Batch(*(torch.cat(both) for both in zip(batch, (features, labels, modalities), strict=True)))
        return Statistics(*joined, _count(statistics, joined.modalities), statistics.resolution)

    def _remember(self, statistics: Statistics) -> None:
        batch = _rows_of(statistics)
        kept = self._rows_like(batch)
        leaving = max(0, len(kept.features) + len(batch.features) - self.memory_size)
        self.features, self.labels, self.modalities = (
            torch.cat([old[leaving:], new.detach()[-self.memory_size :]]) for old, new in zip(kept, batch, strict=True)
        )

    def _rows_like(self, batch: Batch) -> Batch:
        """Return the rows of the memory where the batch is and in its type."""
        dimension = batch.features.shape[1]
        if len(self.features) and self.features.shape[1] != dimension:
            raise ValueError(
                f"the memory holds features of {self.features.shape[1]} dimensions, got a batch of {dimension}: "
                "call reset() where the features change"
            )
        features = self.features.reshape(len(self.features), dimension)  # an empty one knows no D
        kept = (features, self.labels, self.modalities)
        return Batch(*(old.to(new) for old, new in zip(kept, batch, strict=True)))

    @override
    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        exact = self.features
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        if self.features.element_size() < 4:  # half precision has lost what the statistics are made of
            self.features = exact.to(self.features.device)
        return self

    @override
    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str, *others: Any) -> None:
        # A memory of another fill and type takes the place of this one, as far as it fits.
        for name in _BUFFERS:
            saved = state_dict.get(prefix + name)
            if isinstance(saved, Tensor):
                setattr(self, name, torch.empty_like(saved, device=getattr(self, name).device))
        super()._load_from_state_dict(state_dict, prefix, *others)
        for name in _BUFFERS:
            setattr(self, name, getattr(self, name)[-self.memory_size :])

    @override
    def extra_repr(self) -> str:
        return f"memory_size={self.memory_size}"


def _rows_of(statistics: Statistics) -> Batch:
    return Batch(statistics.features, statistics.labels.long(), statistics.modalities.long())


def _count(statistics: Statistics, modalities: Tensor) -> int:
    """Return how many modalities batch and memory have: a batch on the host is read, and the memory with it."""
    values = host_values(modalities)
    return max(statistics.membership.shape[1], 0 if values is None else 1 + int(values.max()))


def _check_loss(loss: object) -> None:
    if not isinstance(loss, Loss | WeightedLosses):
        raise TypeError(f"loss must be a loss of modinv, or modinv.WeightedLosses, got {type(loss).__name__}")
    if any(isinstance(part, CrossBatchMemory) for part in loss.modules()):
        raise ValueError("loss must have no memory of its own, got one with a CrossBatchMemory inside")

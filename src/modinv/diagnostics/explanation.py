"""What a loss makes of a batch, in words: which terms pull, which are zero or saturated and why, how margins fit."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from typing_extensions import override

from modinv._checks import check_batch, describe
from modinv.batches import Batch
from modinv.diagnostics.contents import BatchContents, contents_of
from modinv.diagnostics.remarks import WHY_ZERO, Measured, margin_remarks, remarks_on
from modinv.losses import Loss, WeightedLosses
from modinv.statistics import full_precision, statistics_of

__all__ = ["BatchExplanation", "TermExplanation", "explain_batch"]


class TermExplanation(NamedTuple):
    """One term of a loss in one batch."""

    name: str  # of the loss in its sum, and of the part behind a point
    weight: float  # of the loss in its sum; 1 without a sum
    value: float  # without the weight
    gradient: float  # length of its gradient by the features, without the weight
    pull: float  # weight times gradient, as a share of the sum over all losses
    rows: int  # how many rows get any of that gradient
    remarks: tuple[str, ...]  # what is special about it


class BatchExplanation(NamedTuple):
    """What a batch holds and what a loss makes of it; ``print`` shows it in words."""

    batch: BatchContents
    terms: tuple[TermExplanation, ...]
    remarks: tuple[str, ...]  # what to look at, one sentence each; none where all is well

    @override
    def __str__(self) -> str:
        wide = max(len(term.name) for term in self.terms)
        lines = [f"{'term':{wide}}  weight      value   pull  rows with a gradient"]
        lines += [
            f"{term.name:{wide}}  {term.weight:6.3g}  {term.value:9.3g}  {term.pull:5.0%}  {term.rows}"
            for term in self.terms
        ]
        remarks = [f"* {remark}" for remark in self.remarks] or ["nothing to remark"]
        return "\n".join([str(self.batch), "", *lines, "", *remarks])


def explain_batch(
    loss: Callable[..., Tensor], features: Tensor, labels: Tensor | None, modalities: Tensor
) -> BatchExplanation:
    """Say what a batch offers a loss: rows per cell, identities that meet, terms that pull or not, margins that fit.

    Each loss of a :class:`modinv.WeightedLosses` is explained by itself. Its pull is the length of weight times
    gradient by the features, beside those of the others. Only what a loss shows is asked for: its terms, `needs`, and
    ``margin`` attributes. So losses from elsewhere are explained too.

    Nothing changes: the loss is called in evaluation mode, and is in its own mode afterwards. A memory is read and
    gets no rows. A second call tries the scale, with features a thousand times smaller. A loss that does not notice has
    its margin in units of its own.

    Costs two calls of the loss and a gradient for each term, and waits for the device.

    Args:
        loss: any loss of ``(features, labels, modalities)``.
        features: (N, D), any floating type.
        labels: identity of each row, integers (N,); or None for a loss that does not read them.
        modalities: 0 visible, 1 infrared, …, integers (N,).

    Returns:
        A record, which ``print`` shows in words.

    Raises:
        TypeError, ValueError: on what is no loss, and one sentence when the batch breaks the data contract.

    Example:
        >>> import torch, modinv
        >>> features = 100 * torch.eye(8)
        >>> loss = modinv.HeteroCenterTripletLoss(margin=0.3)
        >>> explained = explain_batch(loss, features, torch.arange(8) // 2, torch.arange(8) // 4)
        >>> print(explained.remarks[0])
        no identity is in two modalities: let the sampler draw each in both, as PK sampling does
    """
    if not callable(loss) or isinstance(loss, type):
        raise TypeError(f"loss must be a loss of (features, labels, modalities), got {describe(loss)}")
    loss = getattr(loss, "_orig_mod", loss)  # of a compiled one
    count = getattr(loss, "num_modalities", None)
    numbers: Any = modalities if labels is None and not getattr(loss, "reads_labels", True) else labels
    check_batch(features, numbers, modalities, count)
    rows = features.detach().clone().requires_grad_()
    batch = contents_of(rows, labels, modalities, count)
    with _evaluated(loss), torch.enable_grad():
        found = [_explained(leaf, batch, Batch(rows, numbers, modalities), count) for leaf in _leaves(loss)]
    whole = sum(abs(total.weight) * total.gradient for total, *_ in found) or 1.0
    terms = [term._replace(pull=abs(term.weight) * term.gradient / whole) for leaf in found for term in leaf]
    said = [f"{term.name}: {remark}" for term in terms for remark in term.remarks]
    return BatchExplanation(batch, tuple(terms), (*batch.remarks, *said))


class _Leaf(NamedTuple):
    """A loss in a sum, or the loss itself."""

    name: str
    weight: float
    loss: Callable[..., Any]


def _leaves(loss: Callable[..., Any], name: str = "", weight: float = 1.0) -> Iterator[_Leaf]:
    if not isinstance(loss, WeightedLosses):
        yield _Leaf(name, weight, loss)
        return
    for inner, part in loss.losses.items():
        yield from _leaves(part, f"{name}.{inner}".strip("."), weight * float(loss.weights[inner]))


def _explained(leaf: _Leaf, batch: BatchContents, given: Batch, count: int | None) -> list[TermExplanation]:
    """Explain the total of one loss and, behind it, its parts."""
    values = _values(leaf.loss, given, count)
    (name, total), *parts = [(name, _measured(value, given.features)) for name, value in values.items()]
    scaled = _values(leaf.loss, given._replace(features=given.features.detach() * 1e-3), count)[name]
    free = math.isclose(total.value, float(scaled.detach()), rel_tol=1e-4, abs_tol=1e-12)
    remarks = (*remarks_on(leaf.loss, batch, total), *(() if free else margin_remarks(leaf.loss, batch)))
    terms = [TermExplanation(leaf.name or name, leaf.weight, *total[:2], 0.0, total.rows, remarks)]
    for name, part in parts:
        why = (f"0, {WHY_ZERO[name]}",) if part.value == 0 and name in WHY_ZERO and not remarks else ()
        terms.append(TermExplanation(f"{leaf.name}.{name}".strip("."), leaf.weight, *part[:2], 0.0, part.rows, why))
    return terms


def _values(loss: Callable[..., Any], given: Batch, count: int | None) -> dict[str, Tensor]:
    """Return the terms of a loss of this library, or the value of another one."""
    if isinstance(loss, Loss):
        with full_precision(given.features):
            return dict(loss.read(statistics_of(*given, count))._asdict())
    if hasattr(loss, "terms") and hasattr(getattr(loss, "loss", loss), "terms"):
        return dict(loss.terms(*given)._asdict())
    value = loss(*given)
    if not isinstance(value, Tensor) or value.ndim or not value.is_floating_point():
        raise TypeError(f"a loss must return a floating tensor of shape (), got {describe(value)}")
    return {"total": value}


def _measured(value: Tensor, features: Tensor) -> Measured:
    gradient = None
    if value.requires_grad:
        (gradient,) = torch.autograd.grad(value, features, retain_graph=True, allow_unused=True)
    number = float(value.detach().to(torch.promote_types(features.dtype, torch.float32)))
    if gradient is None or not len(gradient):
        return Measured(number, 0.0, 0)
    lengths = gradient.double().square().sum(1).sqrt()  # (N,)
    touched = lengths > 1e-9 * lengths.max()
    return Measured(number, float(lengths.square().sum().sqrt()), int(touched.sum()))


@contextmanager
def _evaluated(loss: Callable[..., Any]) -> Iterator[None]:
    """Put a loss into evaluation mode, and each of its modules back into its own."""
    modes = [(part, part.training) for part in loss.modules()] if isinstance(loss, nn.Module) else []
    try:
        for part, _ in modes:
            part.training = False
        yield
    finally:
        for part, training in modes:
            part.training = training

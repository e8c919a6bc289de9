"""Mutual learning: one classifier follows the predictions of another for the same images."""

import torch
from torch import Tensor, nn
from typing_extensions import override

from modinv._checks import check_floating, check_number, describe
from modinv.statistics import full_precision

__all__ = ["MutualLearningLoss", "mutual_learning"]


def mutual_learning(logits: Tensor, others: Tensor, *, temperature: float = 1.0) -> Tensor:
    """Draw the predictions of a classifier towards those of another, which receives no gradient.

    With p and q the softmax of ``logits`` / t and of ``others`` / t, the mean over the rows of t^2 KL(p || q). Rows
    belong together by position: both classifiers have seen the same features. Call it twice, with the arguments
    exchanged, where both are to learn.

    In MPANet ``logits`` come from the private classifier of a row's own modality and ``others`` from the moving
    average of the other modality's classifier. Distillation from a teacher usually takes KL(q || p) instead, which
    ``torch.nn.functional.kl_div`` has.

    Cost: N x C terms, in float32 at least.

    Args:
        logits: (N, C) floating.
        others: (N, C) floating, on the same device.
        temperature: t.

    Returns:
        The value (), float64 for float64 logits, float32 otherwise; 0 for no row.

    Raises:
        TypeError, ValueError: in one sentence, on logits that are not of one shape or a temperature of 0 or less.

    Example:
        >>> import torch
        >>> own, other = torch.tensor([[0.0, 0.0]]), torch.tensor([[0.0, 1.0]])
        >>> mutual_learning(own, other)  # log((1 + e) / 2) - 1 / 2
        tensor(0.1201)

    Reference: Wu, Dai, Chen, Lin, Wu, Huang, Zhong and Ji, "Discover cross-modality nuances for visible-infrared person
    re-identification", 2021, whose code has no temperature.
    """
    if not torch.compiler.is_compiling():  # a number that changes between steps is a symbol there
        check_number("temperature", temperature, least=0, open_least=True)
    check_floating("logits", logits, shape="(N, C)")
    check_floating("others", others, shape="(N, C)")
    if logits.ndim != 2 or logits.shape[1] == 0:
        raise ValueError(f"logits must have shape (N, C), got {describe(logits)}")
    if others.shape != logits.shape or others.device != logits.device:
        raise ValueError(f"others must be logits like the first, {describe(logits)}, got {describe(others)}")
    kind = torch.float64 if logits.dtype == torch.float64 else torch.float32
    with full_precision(logits):
        own = (logits.to(kind) / temperature).log_softmax(1)  # (N, C)
        other = (others.detach().to(kind) / temperature).log_softmax(1)
        rows = (own.exp() * (own - other)).sum(1)  # (N,)
        return temperature**2 * rows.sum() / max(len(rows), 1)


class MutualLearningLoss(nn.Module):
    """The loss of :func:`modinv.losses.mutual_learning`; it takes two sets of logits and no labels.

    Args:
        temperature: default 1.0.

    Raises:
        TypeError, ValueError: at construction on an impossible temperature, at call on malformed logits.
    """

    def __init__(self, *, temperature: float = 1.0) -> None:
        super().__init__()
        self.temperature = check_number("temperature", temperature, least=0, open_least=True)

    @override
    def forward(self, logits: Tensor, others: Tensor) -> Tensor:
        return mutual_learning(logits, others, temperature=self.temperature)

    @override
    def extra_repr(self) -> str:
        return f"temperature={self.temperature}"

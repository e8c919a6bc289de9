"""Class distributions of rows near their identity's mean distribution in the other modality, away from others."""

from typing import NamedTuple

import torch
from torch import Tensor
from typing_extensions import override

from modinv._checks import check_flag, check_number
from modinv.losses.hetero_center_contrast import contrast
from modinv.losses.loss import Loss
from modinv.statistics import Statistics

__all__ = ["HeteroCenterDivergenceLoss", "HeteroCenterDivergenceTerms", "hetero_center_divergence"]


class HeteroCenterDivergenceTerms(NamedTuple):
    """The sum of a pull and a push: ``total = pull + push``."""

    total: Tensor  # ()
    pull: Tensor  # (): rows to their identity's centers in other modalities
    push: Tensor  # (): what rows lack to the margin from the centers of other identities


def hetero_center_divergence(
    statistics: Statistics, *, margin: float, target_gradient: bool = True
) -> HeteroCenterDivergenceTerms:
    """Compare the class distributions of rows with the mean distributions of identities, across modalities.

    The features are logits (N, C). With p_i = softmax(x_i), q the mean of p over the rows of one identity in one
    modality, and the symmetric divergence d(p, q) = KL(p || q) + KL(q || p),

        pull = mean over the rows i of   the mean over their identity's q in other modalities of d(p_i, q)
        push = mean over all pairs of a row i and a q of another identity of max(0, margin - d(p_i, q)).

    A row whose identity is in one modality only has no pull. Every row and every q counts once. Logarithms are taken
    of logits, so that a confident row has a finite divergence; only the logarithm of a mean stops at about -708.

    Cost: three products of N x N x C in the type of the statistics; no Gram matrix.

    Args:
        statistics: of the batch, whose features are logits.
        margin: in nats. A row further than that from a mean distribution is not pushed by it.
        target_gradient: False: the first distribution of each KL, which weighs the logarithms, is a constant. The
            value is the same.

    Example:
        >>> import torch
        >>> from modinv.statistics import statistics_of
        >>> logits = torch.tensor([[0.75, 0.25], [0.25, 0.75], [0.5, 0.5]]).log()
        >>> labels, modalities = torch.tensor([0, 0, 1]), torch.tensor([0, 1, 0])
        >>> terms = hetero_center_divergence(statistics_of(logits, labels, modalities), margin=0.0)
        >>> bool(terms.pull.isclose(torch.tensor(3.0).log().double()))
        True

    Reference: Cui, Zhou and Peng, "DMA: dual modality-aware alignment for visible-infrared person re-identification",
    2024, as its code has it under the name ``hcc``, form ``kl``; the name here is ours.
    """
    pull, push = contrast(statistics, _divergences(statistics, target_gradient), margin)
    return HeteroCenterDivergenceTerms(pull + push + statistics.zero, pull, push)


class HeteroCenterDivergenceLoss(Loss[HeteroCenterDivergenceTerms]):
    """The loss of :func:`modinv.losses.hetero_center_divergence`, of logits in the place of features.

    Args:
        margin: in nats; default 6, that of DMA's code.
        target_gradient: whether the first distribution of each KL receives a gradient; default True, the gradient of
            the value. DMA's code has False.
        num_modalities: see :class:`modinv.losses.Loss`.

    Raises:
        TypeError, ValueError: at construction on an impossible option, at call on a malformed batch.
    """

    def __init__(self, *, margin: float = 6.0, target_gradient: bool = True, num_modalities: int | None = None) -> None:
        super().__init__(num_modalities=num_modalities)
        self.margin = check_number("margin", margin, least=0)
        self.target_gradient = check_flag("target_gradient", target_gradient)

    @override
    def read(self, statistics: Statistics) -> HeteroCenterDivergenceTerms:
        return hetero_center_divergence(statistics, margin=self.margin, target_gradient=self.target_gradient)

    @override
    def extra_repr(self) -> str:
        return f"margin={self.margin}, target_gradient={self.target_gradient}"


def _divergences(statistics: Statistics, target_gradient: bool) -> Tensor:
    """Return the symmetric divergence of all rows from the mean distributions of the cells of all rows, (N, N)."""
    logs = statistics.features.to(statistics.dtype).log_softmax(1)  # (N, C)
    rows = logs.exp()
    centers = statistics.cell_averaging @ rows  # (N, C)
    # A class that is impossible in all rows of a cell adds nothing to a mean, and has no logarithm.
    center_logs = centers.clamp(min=torch.finfo(statistics.dtype).tiny).log()
    negative_entropies = (rows * logs).sum(1)[:, None] + (centers * center_logs).sum(1)
    if not target_gradient:
        rows, centers, negative_entropies = rows.detach(), centers.detach(), negative_entropies.detach()
    # Equal distributions have the divergence 0 up to rounding, of either sign.
    return (negative_entropies - rows @ center_logs.T - logs @ centers.T).clamp(min=0)

"""Prediction consistency: the classifier says the same of an identity in each modality."""

import math
from typing import Literal, NamedTuple

import torch
from torch import Tensor
from typing_extensions import override

from modinv._checks import check_choice, check_number, check_target
from modinv.distances import diagonal
from modinv.groups import Comparisons, comparisons_of, pair_weights, pairs
from modinv.losses.loss import Loss
from modinv.statistics import Statistics

__all__ = ["PredictionConsistencyLoss", "PredictionConsistencyTerms", "prediction_consistency"]

Divergence = Literal["jeffreys", "jensen_shannon"]
Level = Literal["center", "row"]


class PredictionConsistencyTerms(NamedTuple):
    """The prediction consistency loss."""

    total: Tensor  # ()


def prediction_consistency(
    statistics: Statistics,
    *,
    divergence: Divergence = "jeffreys",
    level: Level = "center",
    temperature: float = 1.0,
    target: int | None = None,
) -> PredictionConsistencyTerms:
    """Compare the predictions for each identity in two modalities; the features are logits.

    With t the temperature, p and q the softmax of (logits / t) of one identity in two modalities, and m = (p + q) / 2,
    the mean over identities and pairs of modalities of t^2 times

        jeffreys:        (KL(p || q) + KL(q || p)) / 2,
        jensen_shannon:  (KL(p || m) + KL(q || m)) / 2.

    At level ``"center"`` the logits of the identity's rows in a modality are averaged first. At level ``"row"`` the
    divergence is averaged over all pairs of one row of each. No probability is formed before its logarithm, so no gap
    between logits is too large.

    Cost: N x C terms in the type of the statistics; at level ``"row"`` two N x N x C products.

    Args:
        statistics: of the batch, with C logits for features.
        divergence: see above. ``"jensen_shannon"`` is for centers only, since it does not come from N x N products.
        level: see above.
        temperature: t; the factor t^2 keeps the gradient from shrinking with it.
        target: modality whose predictions receive no gradient.

    Example:
        >>> import torch
        >>> from modinv.statistics import statistics_of
        >>> logits = torch.tensor([[0.0, 0.0], [torch.log(torch.tensor(3.0)), 0.0]])
        >>> statistics = statistics_of(logits, torch.tensor([0, 0]), torch.tensor([0, 1]))
        >>> prediction_consistency(statistics).total  # log(3) / 8
        tensor(0.1373, dtype=torch.float64)

    Reference: for rows that are aligned by position, Ren and Zhang, "Implicit discriminative knowledge learning for
    visible-infrared person re-identification", 2024, whose code adds both directions. The factor t^2: Hinton, Vinyals
    and Dean, "Distilling the knowledge in a neural network", 2015. Centers and pairs are our choice.
    """
    if target is not None:
        statistics = statistics.with_fixed(target)
    logits = statistics.features.to(statistics.dtype)  # (N, C)
    logits = (logits - logits.detach().amax(1, keepdim=True)) / temperature  # a softmax does not see the shift
    compared = comparisons_of(statistics, "identity")
    values = _of_rows(logits, compared) if level == "row" else _of_centers(logits, compared, divergence)  # (P, R)
    total = temperature**2 * (pair_weights(compared, 0) * values).sum()
    return PredictionConsistencyTerms(total + statistics.zero)


class PredictionConsistencyLoss(Loss[PredictionConsistencyTerms]):
    """The loss of :func:`modinv.losses.prediction_consistency`; call it with logits for features.

    Args:
        divergence: ``"jeffreys"`` (default), the mean of both Kullback-Leibler divergences, or ``"jensen_shannon"``.
        level: ``"center"`` (default) averages the logits of a cell first, ``"row"`` compares all pairs of rows.
        temperature: default 1.0.
        target: modality whose predictions receive no gradient, so that the others move towards it; default: none.
        num_modalities: see :class:`modinv.losses.Loss`.

    Raises:
        TypeError, ValueError: at construction on an impossible option, at call on a malformed batch.
    """

    needs = "identities"

    def __init__(
        self,
        *,
        divergence: Divergence = "jeffreys",
        level: Level = "center",
        temperature: float = 1.0,
        target: int | None = None,
        num_modalities: int | None = None,
    ) -> None:
        super().__init__(num_modalities=num_modalities)
        check_choice("divergence", divergence, ("jeffreys", "jensen_shannon"))
        check_choice("level", level, ("center", "row"))
        if (divergence, level) == ("jensen_shannon", "row"):
            raise ValueError("level must be 'center' with divergence 'jensen_shannon', got 'row': take 'jeffreys'")
        self.divergence: Divergence = divergence
        self.level: Level = level
        self.temperature = check_number("temperature", temperature, least=0, open_least=True)
        self.target = check_target(target, self.num_modalities)

    @override
    def read(self, statistics: Statistics) -> PredictionConsistencyTerms:
        return prediction_consistency(
            statistics,
            divergence=self.divergence,
            level=self.level,
            temperature=self.temperature,
            target=self.target,
        )

    @override
    def extra_repr(self) -> str:
        target = "" if self.target is None else f", target={self.target}"
        return f"divergence={self.divergence!r}, level={self.level!r}, temperature={self.temperature}{target}"


def _of_centers(logits: Tensor, compared: Comparisons, divergence: Divergence) -> Tensor:
    """Return the divergence between the mean logits of the cells, (P, R)."""
    assert compared.averaging is not None
    centers = compared.averaging.permute(1, 2, 0) @ logits  # (M, R, C)
    first, second = pairs(centers.log_softmax(-1))  # (P, R, C)
    if divergence == "jeffreys":
        return ((first.exp() - second.exp()) * (first - second)).sum(-1) / 2
    middle = torch.logaddexp(first, second) - math.log(2)
    return (first.exp() * (first - middle) + second.exp() * (second - middle)).sum(-1) / 2


def _of_rows(logits: Tensor, compared: Comparisons) -> Tensor:
    """Return the mean Jeffreys divergence over the pairs of rows of two cells, (P, R)."""
    assert compared.averaging is not None
    logs = logits.log_softmax(1)  # (N, C)
    products = logs.exp() @ logs.T  # (N, N): p_i . log p_j
    entropies = diagonal(products)  # (N,), with the sign reversed
    gaps = (entropies[:, None] + entropies - products - products.T) / 2  # (N, N)
    first, second = pairs(compared.averaging.transpose(0, 1))  # (P, N, R)
    return (first * (gaps @ second)).sum(1)

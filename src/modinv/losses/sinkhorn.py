"""Sinkhorn divergence: the least cost of moving the rows of one modality onto those of the other."""

from typing import Literal, NamedTuple

import torch
from torch import Tensor
from typing_extensions import override

from modinv._checks import check_choice, check_count, check_number
from modinv.groups import Comparisons, comparisons_of, pair_weights, pairs
from modinv.losses.loss import Loss
from modinv.losses.maximum_mean_discrepancy import mean_squares
from modinv.statistics import Statistics

__all__ = ["SinkhornLoss", "SinkhornTerms", "sinkhorn"]


class SinkhornTerms(NamedTuple):
    """The Sinkhorn divergence, divided by D."""

    total: Tensor  # ()


def sinkhorn(
    statistics: Statistics,
    *,
    level: Literal["modality", "identity"] = "modality",
    regularization: float = 0.05,
    iterations: int = 20,
) -> SinkhornTerms:
    """Move the rows of one modality onto those of the other at the least squared distance, blurred and debiased.

    With the plans T between two sets of rows a and b that give each row its share, d^2 the squared distances, h their
    mean over two different rows of a and b together, not differentiated, and e = regularization h,

        OT(a, b) = min_T sum_ij T_ij d^2_ij + e KL(T || shares of a x shares of b),
        value    = (OT(a, b) - OT(a, a) / 2 - OT(b, b) / 2) / D,

    averaged over the pairs of modalities, and at level ``"identity"`` over the identities. It is 0 for equal samples.
    With little regularization it is the squared 2-Wasserstein distance of the samples, for which
    :class:`modinv.GaussianDistributionConsistencyLoss` takes Gaussians; with much, the squared distance of the means.

    The potentials come from a fixed number of averaged steps on logarithms, with e halved from h on. Nothing waits for
    convergence. The gradient takes the potentials as constants, which is exact at the optimum; a second derivative
    would be wrong.

    Cost: the shared Gram matrix and ``iterations`` passes over 2 x N x N terms for each pair of modalities.

    Args:
        statistics: of the batch.
        level: ``"modality"`` compares all rows of two modalities, ``"identity"`` those of each identity.
        regularization: the share of the mean squared distance that the plan is blurred by.
        iterations: steps; fewer than 1 / regularization may be too few.

    Example:
        >>> import torch
        >>> from modinv.statistics import statistics_of
        >>> features = torch.tensor([[0.0], [4.0], [5.0], [1.0]])
        >>> statistics = statistics_of(features, torch.tensor([0, 1, 0, 1]), torch.tensor([0, 0, 1, 1]))
        >>> round(float(sinkhorn(statistics).total), 3)  # each row moves by 1
        1.0

    Reference: Feydy, Sejourne, Vialard, Amari, Trouve and Peyre, "Interpolating between optimal transport and MMD using
    Sinkhorn divergences", 2019, eq. 3 and section 3. Units of the regularization and the steps are our choice.
    """
    compared = comparisons_of(statistics, level)
    squares = statistics.squared_row_distances  # (N, N)
    spread = mean_squares(squares, statistics, compared)[:, None, :, None]  # (P, 1, R, 1): row i's own, or all rows'
    spread = spread.masked_fill(spread == 0, 1)
    shares = torch.add(*pairs(statistics.membership.T / compared.counts.clamp(min=1)))  # (P, N)
    logarithms = _logarithms(shares, statistics, compared)  # (P, 2, N, N)
    potentials = squares.new_zeros(logarithms.shape[:3])  # (P, 2, N), in units of the spread like the costs
    with torch.no_grad():
        costs = squares / spread  # (P, 1, N, N)
        for strength in _strengths(regularization, iterations):
            potentials = torch.add(potentials / 2, _moved(potentials, costs, logarithms, strength), alpha=0.5)
    # Both potentials of a plan see each cost, so each hands on half of its derivative.
    costs = (squares + squares.detach()) / (2 * spread)
    across, own = _moved(potentials, costs, logarithms, regularization).unbind(1)  # (P, N)
    gaps = shares * spread[:, 0, :, 0] * (across - own)
    values = gaps.sum(1, keepdim=True) if compared.belongs is None else gaps @ compared.belongs  # (P, R)
    total = (pair_weights(compared, 0) * values).sum() / statistics.features.shape[1]
    return SinkhornTerms(total + statistics.zero)


class SinkhornLoss(Loss[SinkhornTerms]):
    """The loss of :func:`modinv.losses.sinkhorn`.

    Args:
        level: ``"modality"`` (default) compares all rows of two modalities, ``"identity"`` those of each identity.
        regularization: the share of the mean squared distance that the plan is blurred by; default 0.05, our choice.
        iterations: default 20.
        num_modalities: see :class:`modinv.losses.Loss`.

    Raises:
        TypeError, ValueError: at construction on an impossible option, at call on a malformed batch.
    """

    def __init__(
        self,
        *,
        level: Literal["modality", "identity"] = "modality",
        regularization: float = 0.05,
        iterations: int = 20,
        num_modalities: int | None = None,
    ) -> None:
        super().__init__(num_modalities=num_modalities)
        self.level: Literal["modality", "identity"] = check_choice("level", level, ("modality", "identity"))
        self.needs = "modalities" if level == "modality" else "identities"
        self.reads_labels = level != "modality"
        self.regularization = check_number("regularization", regularization, least=1e-6)
        self.iterations = check_count("iterations", iterations)

    @override
    def read(self, statistics: Statistics) -> SinkhornTerms:
        return sinkhorn(statistics, level=self.level, regularization=self.regularization, iterations=self.iterations)

    @override
    def extra_repr(self) -> str:
        return f"level={self.level!r}, regularization={self.regularization}, iterations={self.iterations}"


def _moved(potentials: Tensor, costs: Tensor, logarithms: Tensor, strength: float) -> Tensor:
    """Return the potentials that answer the given ones, (P, 2, N)."""
    scores = torch.add(logarithms, potentials[:, :, None] - costs, alpha=1 / strength)
    return -strength * scores.logsumexp(3)


def _logarithms(shares: Tensor, statistics: Statistics, compared: Comparisons) -> Tensor:
    """Return the logarithms of the shares of the rows j that row i can move to, (P, 2, N, N).

    These are the rows of the other modality, and then those of its own. A row that has none moves to itself, at no
    cost: finite, and left out by the weights.
    """
    first, second = pairs(statistics.membership.T > 0)  # (P, N)
    across = first[:, :, None] & second[:, None]
    own = (first | second)[:, None] & statistics.same_modality
    kept = torch.stack([across | across.mT, own], 1)  # (P, 2, N, N)
    if compared.belongs is not None:
        kept = kept & statistics.same_identity
    alone = torch.eye(kept.shape[-1], dtype=torch.bool, device=kept.device) & ~kept.any(3, keepdim=True)
    logarithms = shares.masked_fill(shares == 0, 1).log()[:, None, None]
    return logarithms.masked_fill(~(kept | alone), -torch.inf)


def _strengths(regularization: float, iterations: int) -> list[float]:
    """Return the strength of each step in units of the spread: halved from 1 on, and then the one that is asked for."""
    return [max(regularization, 0.5**step) for step in range(iterations)]

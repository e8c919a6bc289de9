"""Maximum mean discrepancy: the samples of two modalities are compared by a kernel, not by their moments."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor
from typing_extensions import override

from modinv._checks import check_choice, check_flag, check_number
from modinv.groups import Comparisons, comparisons_of, pair_weights, pairs
from modinv.losses.loss import Loss
from modinv.statistics import Statistics, diagonal

__all__ = [
    "MaximumMeanDiscrepancyLoss",
    "MaximumMeanDiscrepancyTerms",
    "discrepancies",
    "maximum_mean_discrepancy",
    "mean_squares",
]

SCALES = (0.25, 0.5, 1.0, 2.0, 4.0)


class MaximumMeanDiscrepancyTerms(NamedTuple):
    """The maximum mean discrepancy."""

    total: Tensor  # ()


def maximum_mean_discrepancy(
    statistics: Statistics,
    *,
    level: Literal["modality", "identity"] = "modality",
    scales: Sequence[float] = SCALES,
    bandwidth: float | None = None,
    unbiased: bool = False,
    margin: float = 0.0,
) -> MaximumMeanDiscrepancyTerms:
    """Compare the rows of two modalities, or of one identity in two modalities, by a sum of Gaussian kernels.

    With rows a of one modality and b of the other, d^2 their squared distances and h the mean of d^2 over all pairs
    of two different rows of a and b together, which is not differentiated,

        k(x, y) = sum_s exp(-d^2 / (s h)),   MMD^2 = mean k(a, a') + mean k(b, b') - 2 mean k(a, b).

    The biased form counts a row with itself and is never negative. The unbiased form leaves that out, and is 0 on the
    average where both modalities are drawn from one distribution; it needs two rows on each side. A margin turns each
    MMD^2 into max(0, MMD^2 - margin). The value is the mean over identities and pairs of modalities.

    Cost: the shared Gram matrix and terms of N x N for each pair of modalities and each scale.

    Args:
        statistics: of the batch.
        level: ``"modality"`` compares all rows of two modalities, ``"identity"`` those of each identity.
        scales: s, one kernel for each.
        bandwidth: h; None takes it from the rows that are compared. Below the rounding of their distances they count
            as one point, and their MMD^2 is 0.
        unbiased: see above.
        margin: 0 takes MMD^2 as it is.

    Example:
        >>> import torch
        >>> from modinv.statistics import statistics_of
        >>> features, modalities = torch.tensor([[0.0], [1.0]]), torch.tensor([0, 1])
        >>> statistics = statistics_of(features, torch.tensor([0, 0]), modalities)
        >>> maximum_mean_discrepancy(statistics, scales=[1.0]).total  # 2 - 2 exp(-1)
        tensor(1.2642, dtype=torch.float64)

    Reference: Gretton, Borgwardt, Rasch, Schoelkopf and Smola, "A kernel two-sample test", 2012, eq. 3 and 5. Kernels,
    bandwidth and the use per identity: Jambigi, Rawal and Chakraborty, "MMD-ReID: a simple but effective solution for
    visible-thermal person ReID", 2021; its code adds MMD^2 itself where it exceeds the margin.
    """
    compared = comparisons_of(statistics, level)
    squares = statistics.row_distances.square()  # (N, N)
    widths = squares.new_full((1, 1), bandwidth or 0.0)
    if bandwidth is None:
        widths = mean_squares(squares, statistics, compared)
        widths = widths.masked_fill(widths == 0, torch.inf)  # the rows count as one point
    grid = widths * torch.tensor(scales, dtype=squares.dtype, device=squares.device)[:, None, None]  # (S, P, R)
    # k - 1: the weights add up to zero, and what is equal counts exactly 0. Row i stands for its comparison i.
    kernel = torch.expm1(-squares / grid[..., None]).sum(0)  # (P, N, N)
    values = discrepancies(kernel, statistics, compared, unbiased=unbiased)  # (P, R)
    if margin:
        values = torch.relu(values - margin)
    total = (pair_weights(compared, int(unbiased)) * values).sum()
    return MaximumMeanDiscrepancyTerms(total + statistics.zero)


class MaximumMeanDiscrepancyLoss(Loss):
    """The loss of :func:`modinv.losses.maximum_mean_discrepancy`.

    Args:
        level: ``"modality"`` (default) compares all rows of two modalities, ``"identity"`` those of each identity.
        scales: of the kernels in units of the bandwidth; default: the five of the reference, each twice the last.
        bandwidth: in units of squared features; default None, the mean squared distance of what is compared.
        unbiased: leave out what a row has with itself; default False, as in the reference. It can be negative.
        margin: default 0, MMD^2 as it is; the reference has 1.4 at level ``"identity"``.
        num_modalities: see :class:`modinv.losses.Loss`.

    Raises:
        TypeError, ValueError: at construction on an impossible option, at call on a malformed batch.
    """

    def __init__(
        self,
        *,
        level: Literal["modality", "identity"] = "modality",
        scales: Sequence[float] = SCALES,
        bandwidth: float | None = None,
        unbiased: bool = False,
        margin: float = 0.0,
        num_modalities: int | None = None,
    ) -> None:
        super().__init__(num_modalities=num_modalities)
        self.level: Literal["modality", "identity"] = check_choice("level", level, ("modality", "identity"))  # type: ignore[assignment]
        self.needs = "modalities" if level == "modality" else "identities"
        self.scales = _checked_scales(scales)
        self.bandwidth = None if bandwidth is None else check_number("bandwidth", bandwidth, least=0, open_least=True)
        self.unbiased = check_flag("unbiased", unbiased)
        self.margin = check_number("margin", margin, least=0)

    @override
    def read(self, statistics: Statistics) -> MaximumMeanDiscrepancyTerms:
        return maximum_mean_discrepancy(
            statistics,
            level=self.level,
            scales=self.scales,
            bandwidth=self.bandwidth,
            unbiased=self.unbiased,
            margin=self.margin,
        )

    @override
    def extra_repr(self) -> str:
        return (
            f"level={self.level!r}, scales={self.scales}, bandwidth={self.bandwidth}, unbiased={self.unbiased}, "
            f"margin={self.margin}"
        )


def discrepancies(kernel: Tensor, statistics: Statistics, compared: Comparisons, *, unbiased: bool) -> Tensor:
    """Return MMD^2 of each pair of modalities and each comparison, (P, R), for any kernel.

    Args:
        kernel: of all rows, (N, N) or (P, N, N).
        statistics: of the batch.
        compared: from :func:`modinv.groups.comparisons_of`, at level ``"modality"`` or ``"identity"``.
        unbiased: leave out the kernel of a row with itself.
    """
    counts = compared.counts.clamp(min=1)  # (M, R)
    shares = statistics.membership.T / counts  # (M, N): each row's share of the mean of its modality, R = 1 or N
    first, second = pairs(shares)  # (P, N)
    signed = first - second
    weights = signed[:, :, None] * signed[:, None]  # (P, N, N): w_i w_j, negative across modalities
    if unbiased:
        weights = weights * _without_selves(statistics, counts)
    return sums_over_rows(weights * kernel, compared)


def mean_squares(squares: Tensor, statistics: Statistics, compared: Comparisons) -> Tensor:
    """Return the mean squared distance of two different rows of each comparison, (P, R), detached.

    It is 0 below the rounding of the distances.

    Args:
        squares: |x_i - x_j|^2, (N, N).
        statistics: of the batch.
        compared: from :func:`modinv.groups.comparisons_of`, at level ``"modality"`` or ``"identity"``.
    """
    squares = squares.detach()
    inside = torch.add(*pairs(statistics.membership.T))  # (P, N): the rows of both modalities
    count = torch.add(*pairs(compared.counts))  # (P, R)
    sums = sums_over_rows(inside[:, :, None] * inside[:, None] * squares, compared)
    means = sums / (count * (count - 1)).clamp(min=1)
    lengths = diagonal(statistics.row_gram.detach()).sum() / max(len(squares), 1)
    return means.masked_fill(means <= 16 * statistics.eps * lengths, 0)


def sums_over_rows(values: Tensor, compared: Comparisons) -> Tensor:
    """Add up the values of two rows over both rows of each comparison, (P, N, N) -> (P, R)."""
    if compared.belongs is None:
        return values.sum((1, 2))[:, None]
    return (values * compared.belongs).sum(2) @ compared.belongs


def _without_selves(statistics: Statistics, counts: Tensor) -> Tensor:
    """Return the factors that take 1 / n^2 to 1 / (n (n - 1)) inside a modality, and a row with itself to 0, (N, N)."""
    own = (statistics.membership * counts.T).sum(1)  # (N,): n of each row's modality, or of its cell
    within = (own / (own - 1).clamp(min=1))[:, None] * (1 - torch.eye(len(own), dtype=own.dtype, device=own.device))
    return within.where(statistics.same_modality, 1)


def _checked_scales(scales: Sequence[float]) -> tuple[float, ...]:
    if isinstance(scales, str) or not isinstance(scales, Sequence) or not scales:
        raise TypeError(f"scales must be one or more numbers above 0, got {scales!r}")
    return tuple(check_number("each of scales", scale, least=0, open_least=True) for scale in scales)

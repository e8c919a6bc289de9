"""Maximum mean discrepancy: the samples of two modalities are compared by a kernel, not by their moments."""

from typing import Literal, NamedTuple

import torch
from torch import Tensor
from typing_extensions import override

from modinv._checks import check_choice, check_count, check_flag, check_number
from modinv.distances import diagonal
from modinv.groups import Comparisons, comparisons_of, pair_weights, pairs
from modinv.losses.loss import Loss
from modinv.statistics import Statistics

__all__ = [
    "MaximumMeanDiscrepancyLoss",
    "MaximumMeanDiscrepancyTerms",
    "discrepancies",
    "maximum_mean_discrepancy",
    "mean_squares",
]


class MaximumMeanDiscrepancyTerms(NamedTuple):
    """The maximum mean discrepancy."""

    total: Tensor  # ()


def maximum_mean_discrepancy(
    statistics: Statistics,
    *,
    level: Literal["modality", "identity"] = "modality",
    kernels: int = 5,
    bandwidth: float | None = None,
    unbiased: bool = False,
    margin: float = 0.0,
) -> MaximumMeanDiscrepancyTerms:
    """Compare the rows of two modalities, or of one identity in two modalities, by a sum of Gaussian kernels.

    With rows a of one modality and b of the other, d^2 their squared distances and h the mean of d^2 over all pairs
    of two different rows of a and b together, which is not differentiated,

        k(x, y) = sum_s exp(-d^2 / (s h)),   MMD^2 = mean k(a, a') + mean k(b, b') - 2 mean k(a, b),

    where each s is twice the last and the middle one is 1: 1/4, 1/2, 1, 2 and 4 for five kernels.

    The biased form counts a row with itself and is never negative. The unbiased form leaves that out, and is 0 on the
    average where both modalities are drawn from one distribution; it needs two rows on each side. A margin turns each
    MMD^2 into max(0, MMD^2 - margin). The value is the mean over identities and pairs of modalities.

    Cost: the shared Gram matrix, and N x N terms for each pair of modalities and each kernel; one exponential for all.

    Args:
        statistics: of the batch.
        level: ``"modality"`` compares all rows of two modalities, ``"identity"`` those of each identity.
        kernels: how many.
        bandwidth: h; None takes it from the rows that are compared. Below the rounding of their distances they count
            as one point, and their MMD^2 is 0.
        unbiased: see above.
        margin: 0 takes MMD^2 as it is.

    Example:
        >>> import torch
        >>> from modinv.statistics import statistics_of
        >>> features, modalities = torch.tensor([[0.0], [1.0]]), torch.tensor([0, 1])
        >>> statistics = statistics_of(features, torch.tensor([0, 0]), modalities)
        >>> maximum_mean_discrepancy(statistics, kernels=1).total  # 2 - 2 exp(-1)
        tensor(1.2642, dtype=torch.float64)

    Reference: Gretton, Borgwardt, Rasch, Schoelkopf and Smola, "A kernel two-sample test", 2012, eq. 3 and 5. Kernels,
    bandwidth and the use per identity: Jambigi, Rawal and Chakraborty, "MMD-ReID: a simple but effective solution for
    visible-thermal person ReID", 2021; its code adds MMD^2 itself where it exceeds the margin.
    """
    compared = comparisons_of(statistics, level)
    squares = statistics.squared_row_distances  # (N, N)
    widths = _widths(squares, statistics, compared) if bandwidth is None else squares.new_full((1, 1), bandwidth)
    # Row i stands for its comparison i.
    kernel = _kernel(squares * (-(0.5 ** (kernels - 1 - kernels // 2)) / widths)[:, :, None], kernels)  # (P, N, N)
    values = discrepancies(kernel, statistics, compared, unbiased=unbiased)  # (P, R)
    if margin:
        values = torch.relu(values - margin)
    return MaximumMeanDiscrepancyTerms((pair_weights(compared, int(unbiased)) * values).sum())


class MaximumMeanDiscrepancyLoss(Loss[MaximumMeanDiscrepancyTerms]):
    """The loss of :func:`modinv.losses.maximum_mean_discrepancy`.

    Args:
        level: ``"modality"`` (default) compares all rows of two modalities, ``"identity"`` those of each identity.
        kernels: how many, each twice as wide as the last; default 5, as in the reference.
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
        kernels: int = 5,
        bandwidth: float | None = None,
        unbiased: bool = False,
        margin: float = 0.0,
        num_modalities: int | None = None,
    ) -> None:
        super().__init__(num_modalities=num_modalities)
        self.level: Literal["modality", "identity"] = check_choice("level", level, ("modality", "identity"))
        self.needs = "modalities" if level == "modality" else "identities"
        self.reads_labels = level != "modality"
        self.kernels = check_count("kernels", kernels)
        self.bandwidth = None if bandwidth is None else check_number("bandwidth", bandwidth, least=0, open_least=True)
        self.unbiased = check_flag("unbiased", unbiased)
        self.margin = check_number("margin", margin, least=0)

    @override
    def read(self, statistics: Statistics) -> MaximumMeanDiscrepancyTerms:
        return maximum_mean_discrepancy(
            statistics,
            level=self.level,
            kernels=self.kernels,
            bandwidth=self.bandwidth,
            unbiased=self.unbiased,
            margin=self.margin,
        )

    @override
    def extra_repr(self) -> str:
        return (
            f"level={self.level!r}, kernels={self.kernels}, bandwidth={self.bandwidth}, unbiased={self.unbiased}, "
            f"margin={self.margin}"
        )


def discrepancies(kernel: Tensor, statistics: Statistics, compared: Comparisons, *, unbiased: bool) -> Tensor:
    """Return MMD^2 of each pair of modalities and each comparison, (P, R), for any kernel.

    Args:
        kernel: of all rows, (1, N, N) or (P, N, N).
        statistics: of the batch.
        compared: from :func:`modinv.groups.comparisons_of`, at level ``"modality"`` or ``"identity"``.
        unbiased: leave out the kernel of a row with itself.
    """
    counts = compared.counts
    products = counts[:, None] * counts  # (M, M, R): how many pairs of rows
    if unbiased:
        alone = torch.eye(max(kernel.shape[-1], len(counts)), dtype=kernel.dtype, device=kernel.device)
        kernel = kernel - kernel * alone[: kernel.shape[-1], : kernel.shape[-1]]
        products = products - alone[: len(counts), : len(counts), None] * counts
    means = _cell_sums(kernel, statistics, compared) / products.clamp(min=1)  # (P, M, M, R)
    return (compared.differences[:, :, None] * means.flatten(1, 2)).sum(1)


def mean_squares(squares: Tensor, statistics: Statistics, compared: Comparisons) -> Tensor:
    """Return the mean squared distance of two different rows of each comparison, (P, R), detached.

    It is 0 below the rounding of the distances.

    Args:
        squares: |x_i - x_j|^2, (N, N).
        statistics: of the batch.
        compared: from :func:`modinv.groups.comparisons_of`, at level ``"modality"`` or ``"identity"``.
    """
    count = torch.add(*pairs(compared.counts))  # (P, R)
    sums = compared.differences.abs() @ _cell_sums(squares.detach()[None], statistics, compared)[0].flatten(0, 1)
    means = sums / (count * (count - 1)).clamp(min=1)
    lengths = diagonal(statistics.row_gram.detach()).sum() / max(len(squares), 1)
    return means.masked_fill(means <= 16 * statistics.eps * lengths, 0)


def _cell_sums(values: Tensor, statistics: Statistics, compared: Comparisons) -> Tensor:
    """Add up the values of two rows over the rows of two modalities in each comparison, (P, N, N) -> (P, M, M, R)."""
    members, belongs = statistics.membership, compared.belongs
    if belongs is None:
        return (members.T @ values @ members)[..., None]
    sums = (values * belongs) @ members  # (P, N, M): row i with the rows of its identity in each modality
    outer = (members[:, :, None] * sums[:, :, None]).flatten(2)  # (P, N, M M)
    return (outer.mT @ belongs).unflatten(1, (members.shape[1], -1))


def _widths(squares: Tensor, statistics: Statistics, compared: Comparisons) -> Tensor:
    """Return the bandwidth of each comparison, (P, R), infinite where its rows count as one point."""
    widths = mean_squares(squares, statistics, compared)
    return widths.masked_fill(widths == 0, torch.inf)


def _kernel(exponents: Tensor, kernels: int) -> Tensor:
    """Return the sum of the kernels less their number, so that equal rows count exactly 0; each is the last squared."""
    kernel = total = exponents.exp()
    for _ in range(kernels - 1):
        kernel = kernel.square()
        total = total + kernel
    return total - kernels

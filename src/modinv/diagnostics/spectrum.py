"""In how many directions the rows of each modality spread."""

import torch
from torch import Tensor

from modinv.diagnostics.rows import or_one, rounding, statistics_of_modalities

__all__ = ["effective_rank", "rank_of"]

# Singular values below this share of the largest one count as 0: what squares in float64 can tell.
_LEAST = 1e-6


@torch.no_grad()
def effective_rank(features: Tensor, modalities: Tensor, *, num_modalities: int | None = None) -> Tensor:
    """Measure in how many directions the rows of each modality spread around their mean.

    With s_k the singular values of the centered rows of a modality::

        effective rank = exp(-sum_k p_k log p_k),   p_k = s_k / sum_l s_l

    It is between 1 and min(n - 1, D). It is 1 where all rows lie on a line, and D where they spread alike in all
    directions. A modality that collapses, or that a loss has flattened, shows here before retrieval suffers. The number
    of rows bounds it, so compare modalities at equal numbers of rows.

    Costs O(M N D min(N, D)), and waits for the device. A singular value below 1e-6 of the largest one counts as 0.

    Args:
        features: (N, D), any floating type.
        modalities: 0 visible, 1 infrared, …, integers (N,).
        num_modalities: M. Default: see `modality_gap`.

    Returns:
        The effective rank of each modality, (M,); 0 where its rows do not spread, or there are none. A feature that is
        not finite makes it NaN.

    Raises:
        TypeError, ValueError: one sentence, when features or modalities break the data contract.

    Example:
        >>> import torch
        >>> features = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0], [5.0, 5.0], [6.0, 6.0]])
        >>> [round(rank, 3) for rank in effective_rank(features, torch.tensor([0, 0, 0, 0, 1, 1])).tolist()]
        [2.0, 1.0]

    Reference:
        O. Roy and M. Vetterli, The effective rank: a measure of effective dimensionality, EUSIPCO 2007, definition 1.
        That rows are centered is our choice: the mean is no spread.
    """
    statistics = statistics_of_modalities(features, modalities, num_modalities)
    rows, membership = statistics.centered.rows, statistics.membership
    small = len(rows) < rows.shape[1]
    floor = len(rows) * rounding(features).square()
    parts = [rows * member[:, None] for member in membership.T]  # (N, D) each
    return torch.stack([rank_of(part @ part.T if small else part.T @ part, floor) for part in parts])


def rank_of(scatter: Tensor, floor: Tensor) -> Tensor:
    """Return the effective rank from the scatter or the Gram matrix of centered rows, ().

    Args:
        scatter: symmetric, (k, k).
        floor: squared singular values up to this are rounding, ().
    """
    if not scatter.isfinite().all():
        return torch.full_like(floor, torch.nan)
    squares = torch.linalg.eigvalsh(scatter)  # (k,)
    least = (_LEAST**2 * squares.amax()).maximum(floor) if len(squares) else floor
    values = squares.masked_fill(squares <= least, 0).sqrt()
    shares = values / or_one(values.sum())
    return torch.special.entr(shares).sum().exp() * (values.sum() > 0)

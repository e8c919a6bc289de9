"""How evenly the rows cover the unit sphere."""

import torch
from torch import Tensor

from modinv._checks import check_floating, describe
from modinv.diagnostics.rows import finite_rows, pair_chunks, unit_rows

__all__ = ["uniformity"]


@torch.no_grad()
def uniformity(features: Tensor) -> Tensor:
    """Measure how evenly the rows cover the unit sphere; the lower, the more evenly.

    The logarithm of the mean of exp(-2 |u_i - u_j|^2) over all pairs of rows, with u = x / |x|. It is 0 where all rows
    point in one direction. It is about -4 where many rows cover a sphere of many dimensions evenly. A gap between two
    modalities makes it look better than each of them is. Give it the rows of one modality to see that one. See
    `alignment` for its counterpart: features that coincide are well aligned, and useless.

    Costs O(N^2 D) in time. Memory is a float64 copy of the features and a constant. Waits for the device.

    Args:
        features: (N, D), any floating type.

    Returns:
        The uniformity, (), from -8 to 0; NaN for fewer than two rows.

    Raises:
        TypeError, ValueError: one sentence, when features are not floating rows, or not finite.

    Example:
        >>> import torch
        >>> float(uniformity(torch.tensor([[1.0, 0.0], [0.0, 3.0]])))
        -4.0

    Reference:
        T. Wang and P. Isola, Understanding Contrastive Representation Learning through Alignment and Uniformity on the
        Hypersphere, ICML 2020, section 4, with t = 2.
    """
    check_floating("features", features, shape="(N, D)")
    if features.ndim != 2 or features.shape[1] == 0:
        raise ValueError(f"features must have shape (N, D), got {describe(features)}")
    rows = unit_rows(finite_rows(features))
    total = rows.new_zeros(())
    for chunk in pair_chunks(rows):
        # |u_i - u_j|^2 = 2 (1 - u_i . u_j)
        total += (-4 * chunk.distances.clamp(min=0)).exp().masked_fill(~chunk.chosen, 0).sum()
    return (total / (len(rows) * (len(rows) - 1) / 2 or torch.nan)).log()

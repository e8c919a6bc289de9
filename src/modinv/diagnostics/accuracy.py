"""How well the modality of a row can be told from its features."""

from typing import Literal

import torch
from torch import Tensor

from modinv import groups
from modinv._checks import check_choice
from modinv.diagnostics.rows import mean_of, or_one, rounding, statistics_of_modalities
from modinv.statistics import Statistics

__all__ = ["modality_accuracy"]

Classifier = Literal["nearest_mean", "linear"]
# Of the mean squared distance of a row to its mean, added to the scatter: as much as one row of that length gives to
# each direction in a tenth of its square.
_RIDGE = 0.1


@torch.no_grad()
def modality_accuracy(
    features: Tensor,
    modalities: Tensor,
    *,
    classifier: Classifier = "nearest_mean",
    num_modalities: int | None = None,
) -> Tensor:
    """Measure how often a classifier, learned from all other rows, tells the modality of a row.

    ``"nearest_mean"`` takes the Euclidean distance to the mean of each modality. It sees a gap between the means where
    it is large beside the spread. ``"linear"`` is linear discriminant analysis. It takes the distance

        (x - mu_m)^T (S + lambda I)^-1 (x - mu_m),   S = sum_i z_i z_i^T,   z_i = x_i - mu_m(i).

    So it also finds a small gap in a direction of little spread. It is the linear probe of the field in closed form.
    The lambda is 0.1 of the mean |z_i|^2.

    Each row is left out of its own modality's mean, and of S. That is exact and needs no folds. The distance to the own
    mean is |z_i| n_m / (n_m - 1). The formula of Sherman and Morrison takes one rank of S off. Modalities count alike,
    whatever their sizes. A tie counts as a guess. Features that do not show their modality give 1 / M. A close copy of
    a row in the other modality makes it a little less.

    Costs O(N D M), and O(N D min(N, D)) more for ``"linear"``. Does not wait for the device.

    Args:
        features: (N, D), any floating type.
        modalities: 0 visible, 1 infrared, …, integers (N,).
        classifier: ``"nearest_mean"`` (default) or ``"linear"``.
        num_modalities: M. Default: see `modality_gap`.

    Returns:
        Share of the rows, (), the mean over the modalities with at least two rows. With fewer than two such
        modalities it is 0. A feature that is not finite makes it NaN.

    Raises:
        TypeError, ValueError: one sentence, when features or modalities break the data contract.

    Example:
        >>> import torch
        >>> features = torch.tensor([[0.0], [1.0], [9.0], [8.0]])
        >>> float(modality_accuracy(features, torch.tensor([0, 0, 1, 1])))
        1.0

    Reference:
        Nearest-mean classification, leaving one out. Discriminant analysis: R. Fisher, The use of multiple measurements
        in taxonomic problems, 1936; the ridge is our choice. A classifier's accuracy as the distance of two domains is
        the idea of the proxy A-distance: S. Ben-David et al., Analysis of Representations for Domain Adaptation, NIPS
        2006.
    """
    check_choice("classifier", classifier, ("nearest_mean", "linear"))
    statistics = statistics_of_modalities(features, modalities, num_modalities)
    counts = statistics.counts
    usable = counts > 1  # (M,)
    own = groups.membership(modalities, len(counts)) & usable  # (N, M)
    if classifier == "nearest_mean":
        distances, floor = _distances_to_means(statistics, *statistics.centered), rounding(features)  # (N, M), ()
    else:
        distances = _whitened_distances(statistics)
        floor = 16 * torch.finfo(distances.dtype).eps * torch.cat([distances.flatten(), counts.new_zeros(1)]).amax()
    distances = distances.masked_fill(~usable, torch.inf)
    nearest = distances - distances.amin(1, keepdim=True) <= floor  # (N, M)
    right = (own & nearest).sum(1) / nearest.sum(1).clamp(min=1).to(counts.dtype)  # (N,)
    shares = (own.to(right.dtype).T @ right) / counts.clamp(min=1)  # (M,)
    broken = 0 * statistics.centered.rows.sum() + 0 * counts.sum()
    return mean_of(shares, usable & (usable.sum() > 1)) + broken


def _distances_to_means(statistics: Statistics, rows: Tensor, means: Tensor) -> Tensor:
    """Return how far each row is from the mean of each modality, without itself in its own, (N, M)."""
    counts = statistics.counts
    positions = rows + statistics.membership @ means  # (N, D)
    others = torch.stack([(positions - mean).square().sum(1).sqrt() for mean in means], dim=1)  # (N, M)
    leaving_out = (counts / (counts - 1).clamp(min=1)) * statistics.membership  # (N, M)
    return others * leaving_out.where(statistics.membership > 0, 1)


def _whitened_distances(statistics: Statistics) -> Tensor:
    """Return the squared distances of discriminant analysis, each row left out, (N, M).

    With P = (S + lambda I)^-1 and c = n / (n - 1), the scatter without row i is S - c z z^T, and so for any v

        v^T P' v = v^T P v + c (v^T P z)^2 / (1 - c z^T P z).
    """
    rows, means = _whitened(statistics)
    counts, membership = statistics.counts, statistics.membership
    c = membership @ (counts / (counts - 1).clamp(min=1))  # (N,)
    squares = _distances_to_means(statistics, rows, means).square()  # (N, M): v^T P v
    steps = rows @ means.T  # (N, M): what v - z adds to v^T P z is z^T P (mu_own - mu_m)
    lengths = rows.square().sum(1)  # (N,): z^T P z
    products = lengths[:, None] + (steps * membership).sum(1, keepdim=True) - steps
    products = products.where(membership == 0, (c * lengths)[:, None])
    return squares + c[:, None] * products.square() / or_one(1 - c * lengths)[:, None]


def _whitened(statistics: Statistics) -> tuple[Tensor, Tensor]:
    """Return rows and means in coordinates in which S + lambda I is the identity, of min(N + M, D) dimensions."""
    stacked = torch.cat(statistics.centered)  # (N + M, D)
    if len(stacked) < stacked.shape[1]:
        stacked = torch.linalg.qr(stacked.T, mode="r").R.T  # (N + M, N + M): no inner product changes
    num_rows = len(statistics.features)
    rows = stacked[:num_rows]
    scatter = rows.T @ rows
    weight = or_one(_RIDGE * rows.square().sum() / max(1, num_rows))
    ridge = weight * torch.eye(len(scatter), dtype=scatter.dtype, device=scatter.device)
    triangle, _ = torch.linalg.cholesky_ex(scatter + ridge)
    whitened = torch.linalg.solve_triangular(triangle, stacked.T, upper=False).T
    return whitened[:num_rows], whitened[num_rows:]

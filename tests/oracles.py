"""The formulas as plain loops in float64: slow, obvious, and sharing nothing with the library."""

from itertools import combinations

import mpmath
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Array = NDArray[np.float64]


def modality_gaussians(
    features: Tensor, modalities: Tensor, shrinkage: float, covariance: str
) -> list[tuple[Array, Array]]:
    """Mean and shrunk covariance of each modality that has rows."""
    gaussians = []
    for modality in sorted(set(modalities.tolist())):
        rows = features[modalities == modality].double().detach().numpy()
        matrix = np.cov(rows, rowvar=False) if len(rows) > 1 else np.zeros(2 * rows.shape[1:])
        matrix = np.atleast_2d(matrix)
        if covariance == "diagonal":
            matrix = np.diag(np.diag(matrix))
        size = len(matrix)
        matrix = (1 - shrinkage) * matrix + shrinkage * np.trace(matrix) / size * np.eye(size)
        gaussians.append((rows.mean(0), matrix))
    return gaussians


def wasserstein(first: tuple[Array, Array], second: tuple[Array, Array]) -> float:
    (mean_a, cov_a), (mean_b, cov_b) = first, second
    root = np.sqrt(np.linalg.eigvals(cov_a @ cov_b).real.clip(min=0)).sum()
    return float(((mean_a - mean_b) ** 2).sum() + np.trace(cov_a) + np.trace(cov_b) - 2 * root)


def singular_wasserstein(first: Tensor, second: Tensor) -> float:
    """The squared 2-Wasserstein distance of two sets of rows in 50 digits.

    The covariances of few rows are singular, and the square root of an eigenvalue that is zero up to rounding keeps
    half of the digits: in float64 the D x D formula is right to 1e-8 only.
    """
    with mpmath.workdps(50):
        (mean_a, cov_a), (mean_b, cov_b) = (_exact_moments(rows) for rows in (first, second))
        values, vectors = mpmath.eigsy(cov_a)
        root = vectors * mpmath.diag([mpmath.sqrt(max(value, 0)) for value in values]) * vectors.T
        cross = root * cov_b * root
        roots = [mpmath.sqrt(max(value, 0)) for value in mpmath.eigsy((cross + cross.T) / 2, eigvals_only=True)]
        trace = sum(cov_a[i, i] + cov_b[i, i] for i in range(cov_a.rows))
        return float(mpmath.norm(mean_a - mean_b) ** 2 + trace - 2 * sum(roots))


def _exact_moments(rows: Tensor) -> tuple[mpmath.matrix, mpmath.matrix]:
    matrix = mpmath.matrix(rows.double().tolist())
    mean = matrix.T * mpmath.ones(matrix.rows, 1) / matrix.rows
    centered = matrix - mpmath.ones(matrix.rows, 1) * mean.T
    return mean, centered.T * centered / max(matrix.rows - 1, 1)


def kl(first: tuple[Array, Array], second: tuple[Array, Array]) -> float:
    normals = [
        torch.distributions.MultivariateNormal(torch.from_numpy(mean), torch.from_numpy(cov))
        for mean, cov in (first, second)
    ]
    return float(torch.distributions.kl_divergence(normals[0], normals[1]))


def jeffreys(first: tuple[Array, Array], second: tuple[Array, Array]) -> float:
    return kl(first, second) / 2 + kl(second, first) / 2


def moments(first: tuple[Array, Array], second: tuple[Array, Array]) -> float:
    return float(((first[0] - second[0]) ** 2).sum() + ((first[1] - second[1]) ** 2).sum())


DIVERGENCES = {"wasserstein": wasserstein, "jeffreys": jeffreys, "moments": moments}


def gaussian_consistency(
    features: Tensor, modalities: Tensor, divergence: str, covariance: str = "full", shrinkage: float = 0.0
) -> float:
    gaussians = modality_gaussians(features, modalities, shrinkage, covariance)
    if divergence == "wasserstein" and covariance == "full" and not shrinkage:
        groups = [features[modalities == modality] for modality in sorted(set(modalities.tolist()))]
        values = [singular_wasserstein(first, second) for first, second in combinations(groups, 2)]
    else:
        values = [DIVERGENCES[divergence](first, second) for first, second in combinations(gaussians, 2)]
    return float(np.mean(values)) / features.shape[1]


def centers(features: Tensor, labels: Tensor, modalities: Tensor) -> dict[tuple[int, int], Tensor]:
    cells = sorted(set(zip(labels.tolist(), modalities.tolist(), strict=True)))
    return {cell: features[(labels == cell[0]) & (modalities == cell[1])].mean(0) for cell in cells}


def hetero_center_triplet(features: Tensor, labels: Tensor, modalities: Tensor, margin: float) -> Tensor:
    means = centers(features, labels, modalities)
    losses = []
    for (label, modality), center in means.items():
        partners = [(center - c).norm() for (y, m), c in means.items() if y == label and m != modality]
        others = [(center - c).norm() for (y, _), c in means.items() if y != label]
        if partners and others:
            losses.append((margin + max(partners) - min(others)).clamp(min=0))
    return _mean(losses)


def weighted_regularized_triplet(features: Tensor, labels: Tensor) -> Tensor:
    losses = []
    for anchor, label in zip(features, labels.tolist(), strict=True):
        same = _safe_norms(features[labels == label] - anchor)
        other = _safe_norms(features[labels != label] - anchor)
        if len(other):
            positive = (same.softmax(0) * same).sum()
            negative = ((-other).softmax(0) * other).sum()
            losses.append((1 + (positive - negative).exp()).log())
    return _mean(losses)


def intra_modality(features: Tensor, labels: Tensor, modalities: Tensor, margin: float) -> Tensor:
    compactness, discrepancy = [], []
    means = centers(features, labels, modalities)
    for modality in sorted(set(modalities.tolist())):
        rows = features[modalities == modality]
        spread = (rows - rows.mean(0)).square().sum(1).mean()
        spread = torch.ones_like(spread) if spread == 0 else spread
        pulls = [
            (row - means[int(label), modality]).square().sum() / spread
            for row, label in zip(rows, labels[modalities == modality], strict=True)
        ]
        compactness.append(_mean(pulls))
        cells = {label: center for (label, m), center in means.items() if m == modality}
        pushes = [_push(label, cells, margin, spread) for label in cells]
        if len(cells) > 1:
            discrepancy.append(_mean(pushes))
    return _mean(compactness) + _mean(discrepancy)


def _push(label: int, cells: dict[int, Tensor], margin: float, spread: Tensor) -> Tensor:
    distances = [(cells[label] - center).norm() / spread.sqrt() for other, center in cells.items() if other != label]
    return (margin - min(distances)).clamp(min=0) if distances else torch.zeros(())


def _safe_norms(differences: Tensor) -> Tensor:
    return (
        torch.stack([row.norm() if row.any() else row.sum() for row in differences])
        if len(differences)
        else differences
    )


def _mean(values: list[Tensor]) -> Tensor:
    return torch.stack(values).mean() if values else torch.zeros(())

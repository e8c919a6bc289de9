"""The formulas as plain loops in float64: slow, obvious, and sharing nothing with the library."""

from itertools import combinations
from typing import Any, NamedTuple

import mpmath
import numpy as np
import sklearn.covariance
import torch
from numpy.typing import NDArray
from scipy.special import digamma
from torch import Tensor

Array = NDArray[np.float64]


Gaussian = tuple[Array, Array]  # mean (D,), covariance (D, D)


def modality_gaussians(features: Tensor, modalities: Tensor, shrinkage: float | str, covariance: str) -> list[Gaussian]:
    """Mean and shrunk covariance of each modality that has rows."""
    groups = [_rows(features[modalities == modality]) for modality in _distinct(modalities)]
    return [(rows.mean(0), _shape(_covariance(rows), rows, shrinkage, covariance)) for rows in groups]


def comparisons(
    features: Tensor,
    labels: Tensor,
    modalities: Tensor,
    level: str,
    covariance: str,
    shrinkage: float | str,
) -> list[dict[int, Gaussian]]:
    """What a level compares: one record for the modalities, or one for each identity, of the Gaussian of a modality."""
    if level == "modality":
        gaussians = modality_gaussians(features, modalities, shrinkage, covariance)
        return [dict(zip(_distinct(modalities), gaussians, strict=True))]
    records = []
    for label in _distinct(labels):
        record = {}
        for modality in _distinct(modalities[labels == label]):
            rows = _rows(features[(labels == label) & (modalities == modality)])
            if level == "within":
                matrix, samples = _pooled_covariance(features, labels, modalities, modality)
            else:
                matrix, samples = _covariance(rows), rows
            record[modality] = rows.mean(0), _shape(matrix, samples, shrinkage, covariance)
        records.append(record)
    return records


def _pooled_covariance(features: Tensor, labels: Tensor, modalities: Tensor, modality: int) -> tuple[Array, Array]:
    """Covariance of a modality's rows around their identities' means, denominator rows - identities."""
    residuals = []
    for label in _distinct(labels[modalities == modality]):
        rows = _rows(features[(labels == label) & (modalities == modality)])
        residuals.extend(rows - rows.mean(0))
    samples = np.stack(residuals)
    degrees = len(samples) - len(_distinct(labels[modalities == modality]))
    return samples.T @ samples / max(degrees, 1), samples


def _covariance(rows: Array) -> Array:
    return np.atleast_2d(np.cov(rows, rowvar=False)) if len(rows) > 1 else np.zeros(2 * rows.shape[1:])


def _shape(matrix: Array, samples: Array, shrinkage: float | str, covariance: str) -> Array:
    size = len(matrix)
    if isinstance(shrinkage, str) and len(samples) == 1:
        shrinkage = 1.0  # of a covariance of zero
    if isinstance(shrinkage, str):
        estimate = {"oas": sklearn.covariance.oas, "ledoit_wolf": sklearn.covariance.ledoit_wolf}[shrinkage]
        shrinkage = max(float(estimate(samples)[1]), 1e-6)
    if covariance == "diagonal":
        matrix = np.diag(np.diag(matrix))
    target = np.trace(matrix) / size * np.eye(size)
    shaped: Array = target if covariance == "isotropic" else (1 - shrinkage) * matrix + shrinkage * target
    return shaped


def _rows(features: Tensor) -> Array:
    return features.double().detach().numpy()


def _distinct(numbers: Tensor) -> list[int]:
    return sorted(set(numbers.tolist()))


def wasserstein(first: tuple[Array, Array], second: tuple[Array, Array]) -> float:
    (mean_a, cov_a), (mean_b, cov_b) = first, second
    root = np.sqrt(np.linalg.eigvals(cov_a @ cov_b).real.clip(min=0)).sum()
    return float(((mean_a - mean_b) ** 2).sum() + np.trace(cov_a) + np.trace(cov_b) - 2 * root)


def singular_wasserstein(first: tuple[Tensor, Tensor, int], second: tuple[Tensor, Tensor, int]) -> float:
    """The squared 2-Wasserstein distance of two (mean, residuals, degrees) in 50 digits.

    The covariances of few rows are singular, and the square root of an eigenvalue that is zero up to rounding keeps
    half of the digits: in float64 the D x D formula is right to 1e-8 only.
    """
    with mpmath.workdps(50):
        (mean_a, cov_a), (mean_b, cov_b) = (_exact_moments(*gaussian) for gaussian in (first, second))
        values, vectors = mpmath.eigsy(cov_a)
        root = vectors * mpmath.diag([mpmath.sqrt(max(value, 0)) for value in values]) * vectors.T
        cross = root * cov_b * root
        roots = [mpmath.sqrt(max(value, 0)) for value in mpmath.eigsy((cross + cross.T) / 2, eigvals_only=True)]
        trace = sum(cov_a[i, i] + cov_b[i, i] for i in range(cov_a.rows))
        return float(mpmath.norm(mean_a - mean_b) ** 2 + trace - 2 * sum(roots))


def _exact_moments(mean: Tensor, residuals: Tensor, degrees: int) -> tuple[mpmath.matrix, mpmath.matrix]:
    matrix = mpmath.matrix(residuals.double().tolist())
    return mpmath.matrix(mean.double().tolist()), matrix.T * matrix / max(degrees, 1)


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


def bhattacharyya(first: Gaussian, second: Gaussian) -> float:
    middle = (first[1] + second[1]) / 2
    delta = first[0] - second[0]
    ends = (_log_determinant(first[1]) + _log_determinant(second[1])) / 2
    return float(delta @ np.linalg.solve(middle, delta) / 8 + (_log_determinant(middle) - ends) / 2)


def jensen_shannon(gaussians: list[Gaussian], covariance: str) -> float:
    """The mean of KL(p_m || pooled), with the pooled Gaussian in the form of the covariances."""
    mean = np.mean([mean for mean, _ in gaussians], axis=0)
    pooled = np.mean([cov + np.outer(mu - mean, mu - mean) for mu, cov in gaussians], axis=0)
    if covariance == "diagonal":
        pooled = np.diag(np.diag(pooled))
    if covariance == "isotropic":
        pooled = np.trace(pooled) / len(pooled) * np.eye(len(pooled))
    return float(np.mean([kl(gaussian, (mean, pooled)) for gaussian in gaussians]))


def _log_determinant(matrix: Array) -> float:
    return float(np.linalg.slogdet(matrix)[1])


DIVERGENCES = {
    "wasserstein": wasserstein,
    "kl": kl,
    "jeffreys": jeffreys,
    "bhattacharyya": bhattacharyya,
    "moments": moments,
}


def gaussian_consistency(
    features: Tensor,
    labels: Tensor,
    modalities: Tensor,
    divergence: str,
    *,
    covariance: str = "full",
    level: str = "modality",
    shrinkage: float | str = 0.0,
) -> float:
    """The distribution consistency loss, D x D."""
    logarithmic = divergence not in ("wasserstein", "moments")
    records = comparisons(features, labels, modalities, level, covariance, shrinkage)
    if logarithmic:  # a covariance of zero is compared with nothing
        records = [{m: (mean, cov) for m, (mean, cov) in record.items() if cov.any()} for record in records]
    everywhere = _distinct(modalities)
    if divergence == "jensen_shannon":
        everywhere = sorted({modality for record in records for modality in record})
        values = [
            jensen_shannon(list(record.values()), covariance)
            for record in records
            if len(record) == len(everywhere) > 1
        ]
        return float(np.mean(values)) / features.shape[1] if values else 0.0
    averages = []
    for a, b in combinations(everywhere, 2):
        values = [DIVERGENCES[divergence](record[a], record[b]) for record in records if a in record and b in record]
        if values:
            averages.append(np.mean(values))
    return float(np.mean(averages)) / features.shape[1] if averages else 0.0


def singular_consistency(features: Tensor, labels: Tensor, modalities: Tensor, level: str) -> float:
    """The unshrunk Wasserstein loss with full covariance, right to the last digit for singular covariances too."""
    averages = []
    for a, b in combinations(_distinct(modalities), 2):
        keys = [None] if level == "modality" else _distinct(labels)
        sides = [[_samples(features, labels, modalities, level, key, modality) for modality in (a, b)] for key in keys]
        values = [singular_wasserstein(first, second) for first, second in sides if first and second]
        if values:
            averages.append(np.mean(values))
    return float(np.mean(averages)) / features.shape[1] if averages else 0.0


def _samples(
    features: Tensor, labels: Tensor, modalities: Tensor, level: str, label: int | None, modality: int
) -> tuple[Tensor, Tensor, int] | None:
    """Mean, residuals and degrees of a Gaussian of a level, None where there is no row."""
    own = modalities == modality if label is None else (modalities == modality) & (labels == label)
    if not own.any():
        return None
    mean = features[own].mean(0)
    if level != "within":
        return mean, features[own] - mean, int(own.sum()) - 1
    cells = [(modalities == modality) & (labels == y) for y in _distinct(labels[modalities == modality])]
    residuals = torch.cat([features[cell] - features[cell].mean(0) for cell in cells])
    return mean, residuals, len(residuals) - len(cells)


class Sampled(NamedTuple):
    """A Gaussian of a level, and the numbers that say how noisy it is."""

    mean: Array  # (D,)
    covariance: Array  # (D, D)
    rows: int  # of the mean
    degrees: int  # of the covariance


def debiased_consistency(
    features: Tensor, labels: Tensor, modalities: Tensor, divergence: str, *, covariance: str, level: str
) -> float:
    """The distribution consistency loss without what sampling adds on the average, identity by identity."""
    least = 3 if divergence in ("kl", "jeffreys") else 2 if (divergence, covariance) == ("moments", "full") else 1
    averages = []
    for a, b in combinations(_distinct(modalities), 2):
        values = []
        for label in [None] if level == "modality" else _distinct(labels):
            sides = [_samples(features, labels, modalities, level, label, modality) for modality in (a, b)]
            if all(side is not None and side[2] >= least for side in sides):
                counts = [
                    sum(m == modality and label in (None, y) for y, m in _cells(labels, modalities))
                    for modality in (a, b)
                ]
                values.append(_debiased(divergence, covariance, sides, counts))
        if values:
            averages.append(np.mean(values))
    return float(np.mean(averages)) / features.shape[1] if averages else 0.0


def _cells(labels: Tensor, modalities: Tensor) -> list[tuple[int, int]]:
    return list(zip(labels.tolist(), modalities.tolist(), strict=True))


def _debiased(divergence: str, covariance: str, sides: list[Any], counts: list[int]) -> float:
    shrinkage = 1e-6 if divergence in ("kl", "jeffreys") else 0.0
    first, second = (
        Sampled(
            _rows(mean),
            _shape(_rows(residuals).T @ _rows(residuals) / degrees, _rows(residuals), shrinkage, covariance),
            *(count, degrees),
        )
        for (mean, residuals, degrees), count in zip(sides, counts, strict=True)
    )
    if divergence == "kl":
        return _debiased_kl(first, second, covariance)
    if divergence == "jeffreys":
        return (_debiased_kl(first, second, covariance) + _debiased_kl(second, first, covariance)) / 2
    noise = np.trace(first.covariance) / first.rows + np.trace(second.covariance) / second.rows
    if divergence == "wasserstein":
        exact = singular_wasserstein(*sides) if covariance == "full" else wasserstein(first[:2], second[:2])
        return float(exact - noise)
    squares = _square_trace(first, covariance) + _square_trace(second, covariance)
    across = 2 * np.trace(first.covariance @ second.covariance)
    return float(((first.mean - second.mean) ** 2).sum() - noise + squares - across)


def _square_trace(gaussian: Sampled, covariance: str) -> float:
    """What is tr Sigma^2 on the average."""
    size, nu = len(gaussian.mean), gaussian.degrees
    if covariance == "full":
        square, trace = np.trace(gaussian.covariance @ gaussian.covariance), np.trace(gaussian.covariance)
        return float(nu**2 / (nu - 1) / (nu + 2) * (square - trace**2 / nu))
    nu = nu if covariance == "diagonal" else size * nu
    return sum(float(variance) ** 2 * nu / (nu + 2) for variance in np.diag(gaussian.covariance))


def _debiased_kl(first: Sampled, second: Sampled, covariance: str) -> float:
    repeats = 1 if covariance == "diagonal" else len(first.mean)
    nu_a, nu_b = repeats * first.degrees, repeats * second.degrees
    total = 0.0
    for delta, v_a, v_b in zip(
        first.mean - second.mean, np.diag(first.covariance), np.diag(second.covariance), strict=True
    ):
        inverse = (nu_b - 2) / nu_b / v_b  # on the average 1 / variance
        mean = (delta**2 - v_a / first.rows) * inverse - 1 / second.rows
        logarithms = [np.log(v) - digamma(nu / 2) + np.log(nu / 2) for v, nu in ((v_a, nu_a), (v_b, nu_b))]
        total += (mean + v_a * inverse - 1 + logarithms[1] - logarithms[0]) / 2
    return float(total)


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

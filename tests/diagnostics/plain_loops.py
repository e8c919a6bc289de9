"""The diagnostics as plain loops over rows and pairs, in float64."""

import math

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

__all__ = [
    "Rows",
    "accuracy_of",
    "cosine_distance",
    "linear_accuracy_of",
    "mean_of",
    "pair_gap",
    "pairs_of",
    "rows_of",
    "scatter_of",
]

Rows = list[list[float]]


def rows_of(features: Tensor, modalities: Tensor) -> dict[int, Rows]:
    return {
        m: [row for row, n in zip(features.double().tolist(), modalities.tolist(), strict=True) if n == m]
        for m in sorted(set(modalities.tolist()))
    }


def mean_of(rows: Rows) -> list[float]:
    return [math.fsum(column) / len(rows) for column in zip(*rows, strict=True)]


def pair_gap(first: Rows, second: Rows) -> tuple[float, float, float, float]:
    means = mean_of(first), mean_of(second)
    scatter = math.fsum(math.dist(row, means[0]) ** 2 for row in first)
    scatter += math.fsum(math.dist(row, means[1]) ** 2 for row in second)
    spread = math.sqrt(scatter / (len(first) + len(second) - 2))
    distance = math.dist(*means)
    return distance / spread, distance, spread, math.sqrt(1 / len(first) + 1 / len(second))


def accuracy_of(features: Tensor, modalities: Tensor) -> float:
    streams = rows_of(features, modalities)
    shares = []
    for m, rows in streams.items():
        right = 0
        for i, row in enumerate(rows):
            means = {n: mean_of(rows[:i] + rows[i + 1 :] if n == m else others) for n, others in streams.items()}
            right += min(means, key=lambda n: math.dist(row, means[n])) == m
        shares.append(right / len(rows))
    return sum(shares) / len(shares)


def scatter_of(rows: Rows) -> NDArray[np.float64]:
    around = np.array(rows) - np.mean(rows, axis=0)
    return np.asarray(around.T @ around)


def linear_accuracy_of(features: Tensor, modalities: Tensor) -> float:
    """Discriminant analysis that learns again without each row; the ridge stays that of all rows."""
    streams = rows_of(features, modalities)
    total = sum(scatter_of(rows) for rows in streams.values())
    ridge = 0.1 * np.trace(total) / len(features) * np.eye(features.shape[1])
    shares = []
    for m, rows in streams.items():
        right = 0
        for i, row in enumerate(rows):
            known = {n: rows[:i] + rows[i + 1 :] if n == m else others for n, others in streams.items()}
            inverse = np.linalg.inv(sum(scatter_of(others) for others in known.values()) + ridge)
            steps = {n: np.array(row) - mean_of(others) for n, others in known.items()}
            right += min(steps, key=lambda n: float(steps[n] @ inverse @ steps[n])) == m
        shares.append(right / len(rows))
    return sum(shares) / len(shares)


def cosine_distance(first: list[float], second: list[float]) -> float:
    dot = math.fsum(a * b for a, b in zip(first, second, strict=True))
    return 1 - dot / (math.hypot(*first) * math.hypot(*second))


def pairs_of(features: Tensor, labels: Tensor, modalities: Tensor, bins: int) -> dict[str, list[int]]:
    counts = {f"{kind}_{other}": [0] * bins for kind in ("intra", "cross") for other in ("same", "different")}
    rows = features.double().tolist()
    for i in range(len(rows)):
        for j in range(i):
            distance = cosine_distance(rows[i], rows[j])
            kind = "intra" if modalities[i] == modalities[j] else "cross"
            other = "same" if labels[i] == labels[j] else "different"
            counts[f"{kind}_{other}"][min(int(distance * bins / 2), bins - 1)] += 1
    return counts

"""Samples to mean and covariance, chunk by chunk, with a factor of the covariance that keeps all digits.

The centered rows so far are kept as a triangle R whose R^T R is their scatter. A chunk of k rows, Z around its own
mean, joins the n rows before it by one QR decomposition,

    R <- triangle of [R; Z + sqrt(n / (n + k)) 1 delta^T],    delta = mean of the chunk - mean of the rows before,

the pairwise update of Chan, Golub and LeVeque ("Algorithms for computing the sample variance", 1983, eq. 2.1) for
factors. The rows of Z sum to zero. What is added to each of them adds n k / (n + k) delta delta^T to the scatter.
The singular values of R are standard deviations, right to eps of the largest one; from the eigenvalues of the
covariance the same deviations would be right to sqrt(eps) only.
"""

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from modinv._checks import check_count, check_floating

__all__ = ["Moments", "Rows", "centered_factor", "check_rows", "double", "moments_of"]

Rows: TypeAlias = Tensor | NDArray[Any]


class Moments(NamedTuple):
    """A mean and a covariance. A factor of the covariance, if there is one, is read in its place."""

    mean: Tensor  # (D,)
    covariance: Tensor  # (D, D), denominator n - 1
    factor: Tensor | None = None  # (k, D): covariance = factor^T factor
    num_rows: int | None = None  # that it was made of; None: unknown


def moments_of(samples: Rows | Iterable[Rows], *, chunk_rows: int = 4096) -> Moments:
    """Return the mean and the covariance of samples in float64, reading a chunk at a time.

    Costs about 2 n D^2 (1 + D / chunk_rows) operations. Memory does not grow with n: it is one chunk in float64 and a
    few (D, D) matrices. Not differentiable. One row has the covariance zero.

    Args:
        samples: (n, D), a tensor or an array (also a memory-mapped one), of any floating type; or an iterable of such
            chunks, of any lengths, read once.
        chunk_rows: rows that are decomposed at once, default 4096; the result does not depend on it beyond rounding.

    Returns:
        Moments with an upper triangular factor of min(n, D) rows.

    Raises:
        TypeError, ValueError: one sentence, for what is not floating rows of one width, finite, and at least one.

    Example:
        >>> moments_of(torch.tensor([[1.0, 0.0], [3.0, 5.0]])).mean
        tensor([2.0000, 2.5000], dtype=torch.float64)

    Reference: Chan, Golub and LeVeque, "Algorithms for computing the sample variance", 1983, eq. 2.1; in factors
    (a sequential TSQR) our choice.
    """
    check_count("chunk_rows", chunk_rows)
    running = None
    for chunk in _chunks(samples, chunk_rows):
        rows = double("samples", chunk)
        if rows.requires_grad and torch.is_grad_enabled():
            raise ValueError("moments_of is not differentiable: detach the samples, or give them to divergence_between")
        running = _join(running or _nothing(rows), rows)
    if running is None:
        raise ValueError("samples must have at least one row (n, D), got none")
    factor = _without_rounding(running.factor / max(running.total - 1, 1) ** 0.5, running.mean)
    return Moments(running.mean, factor.T @ factor, factor, running.total)


def centered_factor(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean (D,) of rows (n, D) and the rows around it over sqrt(n - 1), a factor of their covariance."""
    mean = rows.mean(0)
    return mean, _without_rounding((rows - mean) / max(len(rows) - 1, 1) ** 0.5, mean)


def check_rows(name: str, rows: Rows) -> None:
    """Check that rows are floating and of shape (n, D)."""
    if not isinstance(rows, Tensor | np.ndarray):
        raise TypeError(f"{name} must be floating rows of shape (n, D), got {type(rows).__name__}")
    floating = rows.is_floating_point() if isinstance(rows, Tensor) else np.issubdtype(rows.dtype, np.floating)
    if not floating:
        raise TypeError(f"{name} must be floating rows of shape (n, D), got {rows.dtype}")
    if isinstance(rows, Tensor):
        check_floating(name, rows, shape="(n, D)")
    if rows.ndim != 2 or rows.shape[1] == 0:
        raise ValueError(f"{name} must be floating rows of shape (n, D), got shape {tuple(rows.shape)}")


def double(name: str, values: Rows) -> Tensor:
    """Return floating values in float64, on the CPU where the device has no float64; refuse what is not finite."""
    if isinstance(values, np.ndarray):
        values = torch.from_numpy(values.astype(np.float64))
    values = values.to("cpu" if values.device.type == "mps" else values.device, torch.float64)
    if not values.isfinite().all():
        raise ValueError(f"{name} must be finite, got NaN or infinity")
    return values


class _Running(NamedTuple):
    total: int  # rows so far
    mean: Tensor  # (D,)
    factor: Tensor  # (k, D): factor^T factor is the scatter around the mean


def _nothing(rows: Tensor) -> _Running:
    return _Running(0, rows.new_zeros(rows.shape[1]), rows[:0])


def _join(running: _Running, rows: Tensor) -> _Running:
    if rows.shape[1] != len(running.mean):
        raise ValueError(f"the chunks must have one width, got {len(running.mean)} and {rows.shape[1]} features")
    total, mean = running.total + len(rows), rows.mean(0)
    difference = mean - running.mean
    rows = rows - mean + (running.total / total) ** 0.5 * difference
    factor = torch.linalg.qr(torch.cat([running.factor, rows]), mode="r").R
    return _Running(total, running.mean + len(rows) / total * difference, factor)


def _chunks(samples: Rows | Iterable[Rows], chunk_rows: int) -> Iterator[Rows]:
    """Yield what is at most ``chunk_rows`` long and not empty."""
    parts = samples if isinstance(samples, Iterable) and not isinstance(samples, Tensor | np.ndarray) else [samples]
    for part in parts:
        check_rows("samples", part)
        for start in range(0, len(part), chunk_rows):
            yield part[start : start + chunk_rows]


def _without_rounding(factor: Tensor, mean: Tensor) -> Tensor:
    """Return the factor (k, D) with zero for each feature whose deviation is no more than the rounding of its mean.

    A constant feature, such as a dead unit, often leaves such a deviation, and a logarithm would take it for data.
    """
    rounding = 16 * torch.finfo(factor.dtype).eps * mean.detach().abs()  # (D,)
    deviations = torch.linalg.vector_norm(factor, dim=0)
    return factor * (deviations > rounding)

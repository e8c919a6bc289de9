"""What a user has, samples or moments, to a mean and a factor of the covariance, or to a mean and variances."""

from typing import NamedTuple

import torch
from torch import Tensor

from modinv.divergences.two_samples.factors import dependence
from modinv.divergences.two_samples.sample_moments import Moments, centered_factor, check_rows, double, moments_of

__all__ = ["Side", "Variances", "check_side", "side_of", "variances_of"]


class Side(NamedTuple):
    """A Gaussian with full covariance S = factor^T factor + ridge I."""

    mean: Tensor  # (D,)
    factor: Tensor  # (k, D)
    ridge: Tensor  # ()
    rank: int  # how many rows of the factor can be independent of each other


class Variances(NamedTuple):
    """A Gaussian with diagonal covariance."""

    mean: Tensor  # (D,)
    variances: Tensor  # (D,)


def check_side(name: str, side: Moments | Tensor) -> int:
    """Check the types and shapes of samples (n, D) or Moments, and return D."""
    if isinstance(side, Moments):
        return _check_moments(name, side)
    if not isinstance(side, Tensor):
        raise TypeError(
            f"{name} must be samples, a floating tensor (n, D), or Moments, got {type(side).__name__}: "
            "modinv.divergences.moments_of makes Moments of arrays and of chunks"
        )
    check_rows(name, side)
    if not len(side):
        raise ValueError(f"{name} must have at least one row (n, D), got none")
    return side.shape[1]


def side_of(name: str, side: Moments | Tensor, shrinkage: float) -> Side:
    """Return the Gaussian with full covariance after shrinkage."""
    if isinstance(side, Moments) and side.factor is None:
        return _side_of_covariance(name, side, shrinkage)
    mean, factor, num_rows = _mean_and_factor(name, side)
    ridge = shrinkage * factor.square().sum() / len(mean)
    rank = len(factor) if num_rows is None else min(len(factor), num_rows - 1)  # rows around their mean sum to zero
    return Side(mean, (1 - shrinkage) ** 0.5 * factor, ridge, rank)


def variances_of(name: str, side: Moments | Tensor, shrinkage: float) -> Variances:
    """Return the Gaussian with diagonal covariance after shrinkage."""
    if isinstance(side, Moments):
        mean, variances = double(name, side.mean), double(name, side.covariance).diagonal()
        if (variances < 0).any():
            raise ValueError(f"the covariance of {name} must have no negative variance, got {float(variances.min()):g}")
    else:
        variances, mean = torch.var_mean(double(name, side), 0, correction=min(1, len(side) - 1))
    return Variances(mean, variances + shrinkage * (variances.mean() - variances))


def _mean_and_factor(name: str, side: Moments | Tensor) -> tuple[Tensor, Tensor, int | None]:
    if not isinstance(side, Moments):
        few = len(side) <= side.shape[1]
        if few or (side.requires_grad and torch.is_grad_enabled()):
            return *centered_factor(double(name, side)), len(side)
        side = moments_of(side)
    assert side.factor is not None
    return double(name, side.mean), double(name, side.factor), side.num_rows


def _side_of_covariance(name: str, moments: Moments, shrinkage: float) -> Side:
    """Factor a covariance: by Cholesky where it has full rank, else by its eigenvalues."""
    resolution = len(moments.mean) * torch.finfo(moments.covariance.dtype).eps
    mean, covariance = double(name, moments.mean), double(name, moments.covariance)
    if (covariance - covariance.T).abs().max() > resolution**0.5 * covariance.abs().max():
        raise ValueError(f"the covariance of {name} must be symmetric, got one that is not")
    identity = torch.eye(len(mean), dtype=covariance.dtype, device=covariance.device)
    symmetric = (covariance + covariance.T) / 2
    shrunk = (1 - shrinkage) * symmetric + shrinkage * symmetric.trace() / len(mean) * identity
    factor, failed = torch.linalg.cholesky_ex(shrunk, upper=True)
    if failed or not dependence(factor) ** 2 * resolution < 1:
        factor = _root(name, shrunk, resolution)
    return Side(mean, factor, covariance.new_zeros(()), len(factor))


def _root(name: str, covariance: Tensor, resolution: float) -> Tensor:
    """Return a factor of a singular covariance, a row for each eigenvalue that is not rounding, (rank, D)."""
    if covariance.requires_grad and torch.is_grad_enabled():
        raise ValueError(f"no gradient reaches the singular covariance of {name}: set shrinkage above 0, or detach it")
    values, vectors = torch.linalg.eigh(covariance)
    largest = float(values.abs().max())
    if float(values[0]) < -(resolution**0.5) * largest:
        raise ValueError(
            f"the covariance of {name} must have no negative eigenvalue, got {float(values[0]):g} beside {largest:g}"
        )
    kept = values > resolution * largest
    return values[kept].sqrt()[:, None] * vectors.T[kept]


def _check_moments(name: str, moments: Moments) -> int:
    mean, covariance, factor, _ = moments
    parts = [mean, covariance] if factor is None else [mean, covariance, factor]
    if not all(isinstance(part, Tensor) and part.is_floating_point() for part in parts):
        raise TypeError(
            f"the Moments of {name} must be floating tensors, got {[type(part).__name__ for part in parts]}"
        )
    width = mean.numel()
    fits = mean.ndim == 1 and covariance.shape == (width, width) and (factor is None or factor.shape[1:] == (width,))
    if not fits or not width:
        shapes = [tuple(part.shape) for part in parts]
        raise ValueError(f"the Moments of {name} must be a mean (D,) and a covariance (D, D), got shapes {shapes}")
    return width

"""Two Gaussians that are known, and batches and memories drawn from them."""

from typing import NamedTuple

import torch
from torch import Tensor

import modinv
from modinv.divergences import Moments

__all__ = ["DIMENSION", "DRIFT", "MEMORIES", "Case", "Draws", "cases"]

DIMENSION, SEED = 64, 0
MEMORIES = (256, 1024)  # rows of a memory, of both modalities together
DRIFT = 0.01  # of a standard deviation, by which the modalities come closer from batch to batch
_STEP, _TURN, _SCALE = 0.5, 0.2, 1.5  # how the second of two different Gaussians differs from the first


class Case(NamedTuple):
    """Two Gaussians, and factors that draw from them."""

    name: str
    gaussians: tuple[Moments, Moments]
    factors: Tensor  # (2, D, D): covariance = factor^T factor


class Draws:
    """The drawn batches of one size, each with rows of its past.

    Args:
        case: what is drawn from.
        rows: of each of the two modalities in a batch.
        number: of batches.
    """

    def __init__(self, case: Case, rows: int, number: int) -> None:
        self._generator = torch.Generator().manual_seed(SEED + rows)
        self._case = case
        self.batches = [self._draw(2 * rows) for _ in range(number)]
        self.pasts = [self._draw(MEMORIES[-1]) for _ in range(number)]
        # The newest row is the last; how many batches ago a row was new.
        self._ages = torch.arange(MEMORIES[-1]).flip(0) // (2 * rows) + 1

    def drifted(self, past: modinv.Batch) -> modinv.Batch:
        """Return rows of the past whose second modality was farther away, the more so the older they are."""
        return past._replace(features=past.features + (DRIFT * self._ages * past.modalities)[:, None])

    def _draw(self, number: int) -> modinv.Batch:
        modalities = torch.arange(number) % 2
        normal = torch.randn(number, DIMENSION, generator=self._generator, dtype=torch.float64)
        means = torch.stack([gaussian.mean for gaussian in self._case.gaussians])[modalities]
        features = torch.einsum("nd,nde->ne", normal, self._case.factors[modalities]) + means
        return modinv.Batch(features.float(), torch.zeros_like(modalities), modalities)


def cases() -> list[Case]:
    """Return two equal Gaussians, and two with other means, scales and axes.

    The variances along the axes are proportional to 1 / rank and 1 on the average; no axis is that of a feature.
    """
    generator = torch.Generator().manual_seed(SEED)
    spectrum = 1 / torch.arange(1, DIMENSION + 1, dtype=torch.float64)
    deviations = (spectrum / spectrum.mean()).sqrt()[:, None]
    axes, step = _axes(generator), torch.randn(DIMENSION, generator=generator, dtype=torch.float64)
    first = torch.zeros_like(step), deviations * axes
    second = _STEP * DIMENSION**0.5 * step / step.norm(), _SCALE**0.5 * deviations * (axes @ _turn(generator))
    return [_case("equal", first, first), _case("different", first, second)]


def _axes(generator: torch.Generator) -> Tensor:
    axes: Tensor = torch.linalg.qr(torch.randn(DIMENSION, DIMENSION, generator=generator, dtype=torch.float64)).Q
    return axes


def _turn(generator: torch.Generator) -> Tensor:
    """Return a rotation by a moderate angle in all planes, by the transform of Cayley."""
    normal = torch.randn(DIMENSION, DIMENSION, generator=generator, dtype=torch.float64)
    skew = _TURN * (normal - normal.T) / DIMENSION**0.5
    identity = torch.eye(DIMENSION, dtype=torch.float64)
    rotation: Tensor = torch.linalg.solve(identity + skew, identity - skew)
    return rotation


def _case(name: str, *sides: tuple[Tensor, Tensor]) -> Case:
    first, second = (Moments(mean, factor.T @ factor) for mean, factor in sides)
    return Case(name, (first, second), torch.stack([factor for _, factor in sides]))

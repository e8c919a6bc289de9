"""Gaussians to one number: their forms, the formulas, and the two-sample functions for outside of training."""

from modinv.divergences.dense import DenseGaussians
from modinv.divergences.diagonal import DiagonalGaussians, diagonal_gaussians
from modinv.divergences.formulas import DIVERGENCES, Covariance, Divergence, DivergenceName
from modinv.divergences.full import full_gaussians
from modinv.divergences.gaussians import Gaussians
from modinv.divergences.shrinkage import INTENSITIES, LEAST_SHRINKAGE, ledoit_wolf, oas
from modinv.divergences.two_samples import Moments, divergence_between, moments_of

__all__ = [
    "DIVERGENCES",
    "INTENSITIES",
    "LEAST_SHRINKAGE",
    "Covariance",
    "DenseGaussians",
    "DiagonalGaussians",
    "Divergence",
    "DivergenceName",
    "Gaussians",
    "Moments",
    "diagonal_gaussians",
    "divergence_between",
    "full_gaussians",
    "ledoit_wolf",
    "moments_of",
    "oas",
]

"""Two sample sets, or two means and covariances, to one divergence: for comparing features outside of a training loop.

Each side becomes a mean and a factor of its covariance, S = F^T F + rho I. Let both factors together have N <= D rows.
An orthonormal basis of these rows and of the difference of the means takes everything to N + 1 coordinates. In the
other dimensions the covariances are rho I and the means agree.
"""

from typing import Any

import torch
from torch import Tensor

from modinv._checks import check_choice, check_number
from modinv.divergences.diagonal import DiagonalGaussians
from modinv.divergences.formulas import DIVERGENCES, Covariance, DivergenceName
from modinv.divergences.gaussians import Gaussians
from modinv.divergences.two_samples.factors import FactorGaussians, singular
from modinv.divergences.two_samples.sample_moments import Moments
from modinv.divergences.two_samples.sides import Side, Variances, check_side, side_of, variances_of

__all__ = ["divergence_between"]


def divergence_between(
    first: Moments | Tensor,
    second: Moments | Tensor,
    *,
    divergence: DivergenceName = "wasserstein",
    covariance: Covariance = "full",
    shrinkage: float = 0.0,
) -> Tensor:
    """Return the divergence between two Gaussians, in float64.

    This is the plain divergence, *not* divided by D as the losses are. ``"wasserstein"`` is the Fréchet distance of FID
    code, without its 1e-6 on the diagonal. FID code takes the root of a matrix product, which loses half of the digits.

    Cost with full covariance: O(D N^2) for samples with N = n_first + n_second <= D, where nothing of size D x D is
    made; beyond that O(n D^2 + D^3) in little memory, see :func:`moments_of`. O(n D) for the other covariances.

    Accuracy: some D eps of the traces, for singular covariances too if they come as samples or with a factor. Without a
    factor, a singular covariance is eigendecomposed, and eigenvalues below D * eps * largest are set to zero. The error
    is at most twice the sum of their square roots' contributions. A value that rounding made negative becomes 0.

    Gradients are exact; where two covariances of low rank meet they are the least subgradient. A second derivative
    works with ``"diagonal"`` and ``"isotropic"``, and raises where it would be wrong. A singular covariance without a
    factor gets no gradient: that is refused. The CPU waits for the device here, so this is no training loss.

    Args:
        first: samples (n, D) of any floating type, at least one row, or :class:`Moments`; covariances of samples have
            denominator n - 1, and one row has the covariance zero. For what does not fit in memory see
            :func:`moments_of`.
        second: samples or Moments of the same D, of any number of rows.
        divergence: ``"wasserstein"`` (squared, default), ``"kl"`` (KL(first || second)),
            ``"jeffreys"`` (mean of both directions), ``"bhattacharyya"``, ``"jensen_shannon"`` (moment-matched, equal
            weights) or ``"moments"``. All but the first and the last need covariances of full rank.
        covariance: ``"full"`` (default), ``"diagonal"`` or ``"isotropic"`` (mean variance times the identity).
        shrinkage: alpha in [0, 1], default 0: S = (1 - alpha) Sigma + alpha (tr Sigma / D) I.

    Returns:
        The divergence, (), in float64.

    Raises:
        TypeError, ValueError: one sentence, for what is not a Gaussian, and for a logarithmic divergence of a singular
            covariance.

    Example:
        >>> visible = Moments(torch.zeros(2), torch.eye(2))
        >>> infrared = Moments(torch.ones(2), 4 * torch.eye(2))
        >>> divergence_between(visible, infrared)
        tensor(4., dtype=torch.float64)

    Reference: see the formulas in :mod:`modinv.divergences.formulas`.
    """
    check_choice("divergence", divergence, tuple(DIVERGENCES))
    check_choice("covariance", covariance, ["full", "diagonal", "isotropic"])
    check_number("shrinkage", shrinkage, least=0, most=1)
    widths = [check_side("first", first), check_side("second", second)]
    if widths[0] != widths[1]:
        raise ValueError(f"first and second must have the same number of features, got {widths[0]} and {widths[1]}")
    if covariance == "full":
        forms = _full_forms(side_of("first", first, shrinkage), side_of("second", second, shrinkage))
    else:
        sides = [variances_of(name, side, shrinkage) for name, side in (("first", first), ("second", second))]
        forms = [_diagonal_form(*sides, isotropic=covariance == "isotropic")]
    if DIVERGENCES[divergence].inverts:
        _refuse_zero_variances(forms)
    # Independent dimensions: the divergences add.
    parts = [DIVERGENCES[divergence].of(form) for form in forms]
    value = torch.stack([(part.mean + part.covariance).sum() for part in parts]).sum()
    return value - value.clamp(max=0).detach()


def _full_forms(first: Side, second: Side) -> list[Gaussians]:
    """Return the pair in the dimensions that the factors and means reach, and in the others, if there are any."""
    difference = first.mean - second.mean
    rows, dimension = [first.factor, second.factor, difference[None]], len(difference)
    if len(first.factor) + len(second.factor) <= dimension:
        # Householder's Q holds every row of a matrix of any rank, so a constant feature or a repeated row does no harm.
        basis = torch.linalg.qr(torch.cat(rows).detach().T).Q  # (D, K), K = N + 1 or D
        rows = [_Coordinates.apply(part, basis) for part in rows]
    coordinates, sides = rows[2].shape[1], (first, second)
    factors = [_with_ridge(factor, side.ridge) for factor, side in zip(rows, sides, strict=False)]
    ranks = [side.rank + len(factor) - len(side.factor) for factor, side in zip(factors, sides, strict=True)]
    inside = FactorGaussians(rows[2][0], (factors[0], factors[1]), (ranks[0], ranks[1]))
    outside = dimension - coordinates
    if not outside:
        return [inside]
    variances = torch.stack([side.ridge.expand(outside) for side in sides])
    return [inside, DiagonalGaussians(torch.zeros_like(variances)[:, None], variances[:, None])]


def _with_ridge(factor: Tensor, ridge: Tensor) -> Tensor:
    """Return a factor of factor^T factor + ridge I."""
    if not ridge > 0:
        return factor
    identity = torch.eye(factor.shape[1], dtype=factor.dtype, device=factor.device)
    return torch.cat([factor, ridge.sqrt() * identity])


def _diagonal_form(first: Variances, second: Variances, *, isotropic: bool) -> DiagonalGaussians:
    means, variances = (torch.stack(parts)[:, None] for parts in zip(first, second, strict=True))  # (2, 1, D)
    return DiagonalGaussians(means, variances.mean(2, keepdim=True) if isotropic else variances)


def _refuse_zero_variances(forms: list[Gaussians]) -> None:
    for form in forms:
        if isinstance(form, DiagonalGaussians):
            for name, variances in zip(("first", "second"), form.raw, strict=True):
                if not (variances > 0).all():
                    raise singular(name)


class _Coordinates(torch.autograd.Function):
    """Coordinates of rows in an orthonormal basis that holds them.

    Everything asked of them depends on their inner products alone, whose first derivative does not see that the basis
    moves with the rows. The second derivative does, and is refused.
    """

    @staticmethod
    def forward(rows: Tensor, basis: Tensor) -> Tensor:
        return rows @ basis

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        rows, basis = ctx.saved_tensors
        return _FromCoordinates.apply(gradients[0], basis, rows), None


class _FromCoordinates(torch.autograd.Function):
    """The gradient of coordinates as one of the rows, which it depends on too."""

    @staticmethod
    def forward(gradient: Tensor, basis: Tensor, rows: Tensor) -> Tensor:
        return gradient @ basis.T

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        raise RuntimeError(
            "the second derivative of divergence_between with full covariance is not implemented for fewer samples "
            "than dimensions: take covariance 'diagonal', or a loss of modinv.losses"
        )

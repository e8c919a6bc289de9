"""How strongly a covariance is drawn to a multiple of the identity, from its samples' Gram matrix alone.

Both estimates minimise the expected squared Frobenius error. Of the covariance C = X^T X / n they need the trace and
the norm. The Gram matrix G = X X^T / n has the same: tr C = tr G and |C|_F = |G|_F. They are not differentiated.
"""

from collections.abc import Callable, Mapping

from torch import Tensor

from modinv.groups import Comparisons

__all__ = ["INTENSITIES", "LEAST_SHRINKAGE", "estimate", "ledoit_wolf", "oas", "ridge"]

# Where float64 algebra still keeps five digits.
LEAST_SHRINKAGE = 1e-6


def ledoit_wolf(squares: Tensor, fourths: Tensor, trace: Tensor, count: Tensor, dimension: int) -> Tensor:
    """Return the intensity of Ledoit and Wolf, in [0, 1].

    min(beta, delta) / delta with beta = sum_i G_ii^2 - |G|^2 / n and delta = |G|^2 - (tr G)^2 / D.

    Args:
        squares: |G|_F^2.
        fourths: sum_i G_ii^2.
        trace: tr G.
        count: n.
        dimension: D.

    Reference: Ledoit and Wolf, "A well-conditioned estimator for large-dimensional covariance matrices", 2004.
    """
    delta = (squares - trace.square() / dimension).clamp(min=0)
    beta = (fourths - squares / count).clamp(min=0).minimum(delta)
    return (beta / delta.masked_fill(delta <= 0, 1)).masked_fill(delta <= 0, 1)


def oas(squares: Tensor, fourths: Tensor, trace: Tensor, count: Tensor, dimension: int) -> Tensor:
    """Return the oracle approximating intensity, in [0, 1].

    min(1, (|G|^2 + (tr G)^2) / ((n + 1) (|G|^2 - (tr G)^2 / D))), as scikit-learn computes it; the arguments are
    those of :func:`ledoit_wolf`.

    Reference: Chen, Wiesel, Eldar and Hero, "Shrinkage algorithms for MMSE covariance estimation", 2010, eq. 23.
    """
    spread = (count + 1) * (squares - trace.square() / dimension)
    intensity = (squares + trace.square()) / spread.masked_fill(spread <= 0, 1)
    return intensity.clamp(max=1).masked_fill(spread <= 0, 1)


INTENSITIES: Mapping[str, Callable[[Tensor, Tensor, Tensor, Tensor, int], Tensor]] = {
    "oas": oas,
    "ledoit_wolf": ledoit_wolf,
}


def estimate(
    name: str, compared: Comparisons, squares: Tensor, squared_rows: Tensor, traces: Tensor, dimension: int
) -> Tensor:
    """Return one of :data:`INTENSITIES` for each covariance, (M, Q), at least :data:`LEAST_SHRINKAGE`.

    Of two samples the estimate of Ledoit and Wolf is always 0.

    Args:
        name: of the estimate.
        compared: which Gaussians.
        squares: |Sigma|_F^2 of each, (M, Q).
        squared_rows: |z|^2 of each row around the mean of its covariance, (N,).
        traces: tr Sigma, (M, Q).
        dimension: D.
    """
    members = compared.weights.sign().T  # (M, N): a covariance of one row has no samples
    counts = compared.sums(members).clamp(min=1)  # (M, Q)
    ratio = compared.degrees / counts  # from the denominator of the covariance to n
    fourths = compared.sums(members * squared_rows.square()) / counts.square()
    values = INTENSITIES[name](squares * ratio.square(), fourths, traces * ratio, counts, dimension)
    return values.clamp(min=LEAST_SHRINKAGE)


def ridge(traces: Tensor, squared_means: Tensor, alpha: Tensor | float, eps: float, dimension: int) -> Tensor:
    """Return what shrinkage adds to the diagonal of each covariance, alpha tr Sigma / D, with a floor.

    The floor is the variance that rounding the features leaves. Rows that are all equal keep a positive definite
    covariance that way, and any other is as the formula says.

    Args:
        traces: tr Sigma of each Gaussian, (M, Q).
        squared_means: |mu|^2 around a common origin or as large, any shape; only its mean is used.
        alpha: shrinkage, a number or (M, Q).
        eps: relative rounding error of the features.
        dimension: D.
    """
    floor = (traces.detach().mean() + squared_means.detach().mean()) * (eps**2 / dimension) + 1e-30
    return (alpha / dimension * traces).clamp(min=floor)

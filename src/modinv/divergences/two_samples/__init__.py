"""Two sample sets, or two means and covariances, to one divergence: for comparing features outside of training."""

from modinv.divergences.two_samples.between import divergence_between
from modinv.divergences.two_samples.sample_moments import Moments, moments_of

__all__ = ["Moments", "divergence_between", "moments_of"]

"""What is measured: the batches and the library's losses."""

import torch
from torch import nn

import modinv
from modinv import Batch

__all__ = ["DIVERGENCES", "batch_of", "five_losses", "gaussian", "in_streams"]

# Shrinkage is what the inverse of a batch's covariance needs; the other two divergences need none.
_SHRINKAGE = {"moments": 0.0, "wasserstein": 0.0, "jeffreys": 0.1, "kl": 0.1}
DIVERGENCES = tuple(_SHRINKAGE)


def batch_of(rows: int, dimension: int) -> Batch:
    """Draw shuffled features of identities with four images in each modality, which are a step apart.

    Args:
        rows: of each of the two modalities.
        dimension: D.
    """
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(rows).repeat(2) // 4
    modalities = torch.arange(2).repeat_interleave(rows)
    centers = torch.randn(rows, dimension, generator=generator)
    step = torch.randn(2, dimension, generator=generator)
    features = centers[labels] + torch.randn(2 * rows, dimension, generator=generator) + step[modalities]
    order = torch.randperm(2 * rows, generator=generator)
    return Batch(features[order], labels[order], modalities[order])


def in_streams(identities: int, images: int, dimension: int, *, streams: int = 2) -> Batch:
    """Draw a batch in the layout of published code: one stream after another, the identities in the same order."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(identities).repeat_interleave(images).repeat(streams)
    modalities = torch.arange(streams).repeat_interleave(identities * images)
    centers = torch.randn(identities, dimension, generator=generator)
    step = torch.randn(streams, dimension, generator=generator)
    features = centers[labels] + torch.randn(len(labels), dimension, generator=generator) + step[modalities]
    return Batch(features, labels, modalities)


def gaussian(divergence: str) -> nn.Module:
    """Return the distribution consistency loss of a divergence, with full covariance."""
    return modinv.GaussianDistributionConsistencyLoss(
        divergence=divergence,  # type: ignore[arg-type]
        shrinkage=_SHRINKAGE.get(divergence, 0.1),
    )


def five_losses() -> dict[str, nn.Module]:
    """Return five losses that one Gram matrix can serve."""
    return {
        "wasserstein": gaussian("wasserstein"),
        "moments": gaussian("moments"),
        "center": modinv.HeteroCenterTripletLoss(),
        "weighted": modinv.WeightedRegularizedTripletLoss(),
        "intra": modinv.IntraModalityLoss(),
    }

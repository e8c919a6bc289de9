"""Averages the features of an image and of its mirror image, an option of the field that is off by default."""

from typing import NamedTuple

from torch import Tensor, nn

__all__ = ["Averaged", "FlipAveraged"]


class Averaged(NamedTuple):
    """What evaluation reads of the outputs of a network."""

    embedding: Tensor
    """``(N, D)``"""


class FlipAveraged(nn.Module):
    """A network whose embedding is the mean over each image and its mirror image.

    The mean is taken before the features are normalised, as CAJ and DEEN do. It costs a second pass, and lifts the
    scores: whoever uses it says so.

    Args:
        network: gives outputs with an ``embedding`` for images (N, C, H, W) and modalities (N,).
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.train(network.training)

    def forward(self, images: Tensor, modalities: Tensor) -> Averaged:
        """Return the mean embedding of both passes."""
        embedding = self.network(images, modalities).embedding
        mirrored = self.network(images.flip(-1), modalities).embedding
        return Averaged((embedding + mirrored) / 2)

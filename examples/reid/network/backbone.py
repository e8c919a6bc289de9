"""A small residual two-stream backbone: a private stem per modality, then a shared trunk of four stages.

Made for images of 64 x 32 on a CPU. Only the stem is private, as in the AGW baseline (Ye et al., TPAMI 2021).
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from modinv.modules import PerModality

__all__ = ["SmallBackbone"]


class SmallBackbone(nn.Module):
    """Map images (N, 3, H, W) and modalities (N,) to feature maps (N, 128, H / 8, W / 8).

    The stem and the stages have stride 2, 1, 2, 2 and 1; the last stage keeps its resolution, as usual in
    re-identification ("last stride 1", Luo et al. 2019). Maps are in the channels-last layout, in which the
    convolutions of a CPU are about a quarter faster.

    Args:
        private_stages: Number of the four stages that each modality has for itself, beside the stem. Default 0.
    """

    out_channels = 128

    def __init__(self, *, private_stages: int = 0) -> None:
        super().__init__()
        if not 0 <= private_stages <= len(_STAGES):
            raise ValueError(f"private_stages must be 0 to {len(_STAGES)}, got {private_stages}")
        self.stem = PerModality(
            lambda: nn.Sequential(
                *_convolution(3, 16, stride=2), nn.ReLU(inplace=True), *_blocks(_STAGES[:private_stages])
            )
        )
        self.trunk = nn.Sequential(*_blocks(_STAGES[private_stages:]))

    def forward(self, images: Tensor, modalities: Tensor) -> Tensor:
        """Return the feature maps."""
        images = images.contiguous(memory_format=torch.channels_last)
        maps: Tensor = self.trunk(self.stem(images, modalities))
        return maps


class ResidualBlock(nn.Module):
    """Two 3 x 3 convolutions and a shortcut (He et al., CVPR 2016, basic block)."""

    def __init__(self, in_channels: int, out_channels: int, *, stride: int = 1) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            *_convolution(in_channels, out_channels, stride=stride),
            nn.ReLU(inplace=True),
            *_convolution(out_channels, out_channels),
        )
        same = in_channels == out_channels and stride == 1
        self.shortcut: nn.Module = (
            nn.Identity() if same else nn.Sequential(*_convolution(in_channels, out_channels, 1, stride=stride))
        )

    def forward(self, maps: Tensor) -> Tensor:
        """Return the block's maps, (N, out_channels, H / stride, W / stride)."""
        return torch.relu(self.residual(maps) + self.shortcut(maps))


# Channels in, channels out, stride.
_STAGES = ((16, 16, 1), (16, 32, 2), (32, 64, 2), (64, SmallBackbone.out_channels, 1))


def _blocks(stages: Sequence[tuple[int, int, int]]) -> list[ResidualBlock]:
    return [ResidualBlock(before, after, stride=stride) for before, after, stride in stages]


def _convolution(
    in_channels: int, out_channels: int, size: int = 3, *, stride: int = 1
) -> tuple[nn.Conv2d, nn.BatchNorm2d]:
    convolution = nn.Conv2d(in_channels, out_channels, size, stride, size // 2, bias=False)
    nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")
    return convolution, nn.BatchNorm2d(out_channels)

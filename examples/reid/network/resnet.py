"""ResNet-50 in two streams: private first layers per modality, up to a chosen stage, then shared ones.

The keys of the shared stages, and of each private stream, are those of torchvision's and timm's ResNet-50, so
that a weight file of either loads.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

import torch
from torch import Tensor, nn

from modinv.modules import PerModality

__all__ = ["TwoStreamResNet50"]


class TwoStreamResNet50(nn.Module):
    """Map images (N, 3, H, W) and modalities (N,) to feature maps (N, 2048, H / 16, W / 16).

    The last stage has stride 1 instead of 2 (Luo et al., CVPR Workshops 2019). The stride of a bottleneck is
    in its 3 x 3 convolution, where the published weights have it. Shared maps are in the channels-last layout,
    which half precision on a GPU is made for.

    Args:
        private_stages: Number of the four stages that each modality has for itself, beside the first
            convolution. Default 0, as in AGW; the hetero-center triplet of Liu et al. has 1 or 2.

    Raises:
        ValueError: If the number is not 0 to 4.

    Reference:
        He, Zhang, Ren, Sun: Deep residual learning for image recognition, CVPR 2016. Private stem: Ye et al.,
        Deep learning for person re-identification: a survey and outlook, TPAMI 2021. Deeper private streams:
        Liu, Tan, Zhou: Parameter sharing exploration and hetero-center triplet loss, TMM 2020.
    """

    out_channels = 2048

    def __init__(self, *, private_stages: int = 0) -> None:
        super().__init__()
        if not 0 <= private_stages <= len(_STAGES):
            raise ValueError(f"private_stages must be 0 to {len(_STAGES)}, got {private_stages}")
        names = tuple(_STAGES)
        self.stem = PerModality(lambda: _Stem(names[:private_stages]))
        self.shared = names[private_stages:]
        for name in self.shared:
            self.add_module(name, _STAGES[name]())

    def forward(self, images: Tensor, modalities: Tensor) -> Tensor:
        """Return the feature maps."""
        maps: Tensor = self.stem(images, modalities).contiguous(memory_format=torch.channels_last)
        for name in self.shared:
            maps = self.get_submodule(name)(maps)
        return maps


class _Stem(nn.Module):
    def __init__(self, stages: tuple[str, ...]) -> None:
        super().__init__()
        self.conv1 = _convolution(3, 64, 7, stride=2)
        self.bn1 = nn.BatchNorm2d(64)
        self.pool = nn.MaxPool2d(3, stride=2, padding=1)
        self.stages = stages
        for name in stages:
            self.add_module(name, _STAGES[name]())

    def forward(self, images: Tensor) -> Tensor:
        maps: Tensor = self.pool(torch.relu(self.bn1(self.conv1(images))))
        for name in self.stages:
            maps = self.get_submodule(name)(maps)
        return maps


class _Bottleneck(nn.Module):
    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = _convolution(in_channels, channels, 1)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = _convolution(channels, channels, 3, stride=stride)
        self.bn2 = nn.BatchNorm2d(channels)
        self.conv3 = _convolution(channels, 4 * channels, 1)
        self.bn3 = nn.BatchNorm2d(4 * channels)
        self.downsample: nn.Sequential | None = None
        if stride != 1 or in_channels != 4 * channels:
            projection = _convolution(in_channels, 4 * channels, 1, stride=stride)
            self.downsample = nn.Sequential(projection, nn.BatchNorm2d(4 * channels))

    def forward(self, maps: Tensor) -> Tensor:
        residual = torch.relu(self.bn1(self.conv1(maps)))
        residual = torch.relu(self.bn2(self.conv2(residual)))
        residual = self.bn3(self.conv3(residual))
        shortcut = maps if self.downsample is None else self.downsample(maps)
        return torch.relu(residual + shortcut)


def _stage(in_channels: int, channels: int, *, blocks: int, stride: int) -> nn.Sequential:
    first = _Bottleneck(in_channels, channels, stride)
    return nn.Sequential(first, *(_Bottleneck(4 * channels, channels, 1) for _ in range(blocks - 1)))


def _convolution(in_channels: int, out_channels: int, size: int, *, stride: int = 1) -> nn.Conv2d:
    convolution = nn.Conv2d(in_channels, out_channels, size, stride, size // 2, bias=False)
    nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")
    return convolution


_STAGES: Final[Mapping[str, Callable[[], nn.Module]]] = {
    "layer1": partial(_stage, 64, 64, blocks=3, stride=1),
    "layer2": partial(_stage, 256, 128, blocks=4, stride=2),
    "layer3": partial(_stage, 512, 256, blocks=6, stride=2),
    "layer4": partial(_stage, 1024, 512, blocks=3, stride=1),
}

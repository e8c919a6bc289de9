"""ResNet-50 in two streams: a private first convolution per modality, then the shared four stages.

The keys of the trunk are those of torchvision's and timm's ResNet-50, so that a weight file of either loads.
"""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from modinv.modules import PerModality

__all__ = ["TwoStreamResNet50", "load_imagenet_weights"]

STEM_KEYS = ("conv1.", "bn1.")


class TwoStreamResNet50(nn.Module):
    """Map images (N, 3, H, W) and modalities (N,) to feature maps (N, 2048, H / 16, W / 16).

    The last stage has stride 1 instead of 2 (Luo et al., CVPR Workshops 2019). The stride of a bottleneck is
    in its 3 x 3 convolution, where the published weights have it.

    Reference:
        He, Zhang, Ren, Sun: Deep residual learning for image recognition, CVPR 2016. Private stem: Ye et al.,
        Deep learning for person re-identification: a survey and outlook, TPAMI 2021.
    """

    out_channels = 2048

    def __init__(self) -> None:
        super().__init__()
        self.stem = PerModality(_Stem)
        self.layer1 = _stage(64, 64, blocks=3, stride=1)
        self.layer2 = _stage(256, 128, blocks=4, stride=2)
        self.layer3 = _stage(512, 256, blocks=6, stride=2)
        self.layer4 = _stage(1024, 512, blocks=3, stride=1)

    def forward(self, images: Tensor, modalities: Tensor) -> Tensor:
        """Return the feature maps."""
        maps: Tensor = self.stem(images, modalities)
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            maps = stage(maps)
        return maps


def load_imagenet_weights(network: TwoStreamResNet50, path: Path) -> None:
    """Fill ``network`` from a weight file of an ordinary ResNet-50; each stem gets the file's first layer.

    Args:
        network: The network, changed in place.
        path: A state dict saved by ``torch.save``, with torchvision's keys; ``fc.*`` is not used.

    Raises:
        ValueError: If keys are missing or left over, or shapes differ.
    """
    weights: Mapping[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    state = {key: value for key, value in weights.items() if not key.startswith(("fc.", *STEM_KEYS))}
    for stream in range(network.stem.num_modalities):
        first = {key: value for key, value in weights.items() if key.startswith(STEM_KEYS)}
        state |= {f"stem.branches.{stream}.{key}": value for key, value in first.items()}
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise ValueError(f"{path} must hold the state dict of a ResNet-50: {error}") from error


class _Stem(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1 = _convolution(3, 64, 7, stride=2)
        self.bn1 = nn.BatchNorm2d(64)
        self.pool = nn.MaxPool2d(3, stride=2, padding=1)

    def forward(self, images: Tensor) -> Tensor:
        maps: Tensor = self.pool(torch.relu(self.bn1(self.conv1(images))))
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

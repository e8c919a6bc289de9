"""A gate for each channel between a map and its instance normalisation, to take the modality's style off."""

import torch
from torch import Tensor, nn

from modinv._checks import check_count, check_eps, check_inputs

__all__ = ["InstanceNormGate"]


class InstanceNormGate(nn.Module):
    """Mix each channel of (N, C, H, W) with its instance normalisation, as a learned gate says.

    The gate is ``m = sigmoid(W2 relu(W1 mean(x)))``, one number per image and channel, and the output
    ``m x + (1 - m) (x - mean(x)) / sqrt(var(x) + eps)``, with mean and variance over the positions of the channel.
    MPANet calls it the modality alleviation module and puts it behind the last two stages of ResNet-50.

    Each row is on its own, in training too. So there is nothing to synchronise between processes, and what is not
    finite stays in its row. A map of one position has no variance: its normalisation is 0, where PyTorch's layer raises
    in training. Vectors are refused for that reason. Mean and variance are computed in float32 at least. Untrained,
    the gate is about a half: this module does not start as the identity.

    Args:
        in_features: Channels C.
        hidden_features: Width of the gate. Default None: a 16th of C, as published.
        eps: Added to the variance, from 1e-25 to 1e38. Default 1e-5, as in PyTorch.

    Raises:
        TypeError: For an option of another type, or maps that are not floating point.
        ValueError: For an option out of range, or maps of another shape.

    Example:
        >>> gate = InstanceNormGate(32)
        >>> gate(torch.randn(2, 32, 6, 3)).shape
        torch.Size([2, 32, 6, 3])

    Reference:
        Wu, Dai, Chen, Lin, Wu, Huang, Zhong, Ji: Discover cross-modality nuances for visible-infrared person
        re-identification, CVPR 2021, section 3.2. Formula as in its public code; ours are the names.
    """

    def __init__(self, in_features: int, *, hidden_features: int | None = None, eps: float = 1e-5) -> None:
        super().__init__()
        self.in_features = check_count("in_features", in_features)
        width = max(1, self.in_features // 16)
        self.hidden_features = width if hidden_features is None else check_count("hidden_features", hidden_features)
        self.eps = check_eps(eps)
        self.reduce = nn.Linear(self.in_features, self.hidden_features, bias=False)
        self.expand = nn.Linear(self.hidden_features, self.in_features, bias=False)

    def forward(self, maps: Tensor) -> Tensor:
        """Return the mixed maps, (N, C, H, W), in their type."""
        check_inputs("maps", maps, (4,), self.in_features)
        # float32 at least: a square leaves the range of float16 at 256
        values = maps.to(torch.promote_types(maps.dtype, torch.float32))
        mean = values.mean((2, 3), keepdim=True)  # (N, C, 1, 1)
        centered = values - mean
        normalized = centered * (centered.square().mean((2, 3), keepdim=True) + self.eps).rsqrt()
        pooled = mean.flatten(1).to(self.reduce.weight.dtype)
        gate = self.expand(self.reduce(pooled).relu()).sigmoid()[:, :, None, None]
        return torch.lerp(normalized, values, gate.to(values.dtype)).to(maps.dtype)

    def extra_repr(self) -> str:
        """Show the options."""
        return f"{self.in_features}, hidden_features={self.hidden_features}, eps={self.eps}"

"""The non-local block: every position of a map sees all others, added to the map as a residual."""

from typing import Literal

from torch import Tensor, nn
from torch.nn import functional

from modinv._checks import check_choice, check_count, check_inputs

__all__ = ["NonLocal"]

Similarity = Literal["dot_product", "embedded_gaussian"]


class NonLocal(nn.Module):
    """Add to each position of (N, C, H, W) what the whole map says about it.

    Let theta, phi and g be three 1 x 1 convolutions from C to H' channels, and W one back with a batch normalisation.
    Position i becomes ``x_i + W(sum_j w_ij g_j)``, over all P positions j of the same map. The weights are

    * ``"dot_product"``: ``w_ij = theta_i . phi_j / P``, which is what the field's code does;
    * ``"embedded_gaussian"``: the softmax over j of ``theta_i . phi_j``, which sums to one.

    The scale of the batch normalisation starts at zero, so an untrained block changes nothing.

    The code of AGW divides the ratio by itself, so it reduces to one channel whatever C is. The paper and this block
    reduce to C/2. ``hidden_features=1`` is what was published.

    The dot product costs 4 P H' min(P, H') products per map, the softmax 4 P^2 H'. Training needs two values per
    channel or more, like any ``BatchNorm2d``, and mixes all rows. So one row that is not finite spoils the batch.
    In evaluation a row is on its own. ``SyncBatchNorm.convert_sync_batchnorm`` converts that layer.

    Args:
        in_features: Channels C.
        hidden_features: Channels H' of the reduction. Default None: half of C.
        similarity: ``"dot_product"``, the default, or ``"embedded_gaussian"``.

    Raises:
        TypeError: For an option of another type, or maps that are not floating point.
        ValueError: For an option out of range, or maps of another shape.

    Example:
        >>> import torch
        >>> block, maps = NonLocal(8), torch.randn(2, 8, 6, 3)
        >>> torch.equal(block(maps), maps)
        True

    Reference:
        Wang, Girshick, Gupta, He: Non-local neural networks, CVPR 2018, equations 3, 4 and 6. AGW's use of it: Ye,
        Shen, Lin, Xiang, Shao, Hoi: Deep learning for person re-identification, TPAMI 2022.
    """

    def __init__(
        self, in_features: int, *, hidden_features: int | None = None, similarity: Similarity = "dot_product"
    ) -> None:
        super().__init__()
        self.in_features = check_count("in_features", in_features)
        half = max(1, self.in_features // 2)
        self.hidden_features = half if hidden_features is None else check_count("hidden_features", hidden_features)
        self.similarity = check_choice("similarity", similarity, ("dot_product", "embedded_gaussian"))
        self.theta, self.phi, self.g = (nn.Conv2d(self.in_features, self.hidden_features, 1) for _ in range(3))
        # no shift here and in the convolution: the batch normalisation takes it off
        self.expand = nn.Conv2d(self.hidden_features, self.in_features, 1, bias=False)
        self.norm = nn.BatchNorm2d(self.in_features)
        nn.init.zeros_(self.norm.weight)

    def forward(self, maps: Tensor) -> Tensor:
        """Return the maps with the block's correction, (N, C, H, W), in their type."""
        check_inputs("maps", maps, (4,), self.in_features)
        # half precision outside of autocast meets parameters in float32; under autocast this changes nothing
        values = maps.to(self.theta.weight.dtype)
        theta, phi, g = (layer(values).flatten(2).mT for layer in (self.theta, self.phi, self.g))  # (N, P, H')
        seen = _dot_product(theta, phi, g) if self.similarity == "dot_product" else _softmax(theta, phi, g)
        seen = seen.mT.unflatten(2, maps.shape[2:])  # (N, H', H, W)
        return maps + self.norm(self.expand(seen)).to(maps.dtype)

    def extra_repr(self) -> str:
        """Show the options."""
        return f"{self.in_features}, hidden_features={self.hidden_features}, similarity={self.similarity!r}"


def _dot_product(theta: Tensor, phi: Tensor, g: Tensor) -> Tensor:
    positions, hidden = theta.shape[1:]
    theta = theta / positions  # before the products: float16 ends at 65504
    # the same product, by the smaller of the two squares in its middle
    return theta @ (phi.mT @ g) if hidden < positions else (theta @ phi.mT) @ g


def _softmax(theta: Tensor, phi: Tensor, g: Tensor) -> Tensor:
    # one head, said by a dimension of its own: the fused kernels take no other form
    return functional.scaled_dot_product_attention(theta[:, None], phi[:, None], g[:, None], scale=1.0).squeeze(1)

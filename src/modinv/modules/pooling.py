"""Generalised-mean pooling of feature maps into vectors, of the whole map or of horizontal stripes."""

import torch
from torch import Tensor, nn

from modinv._checks import check_count, check_number
from modinv.modules._inputs import check_inputs

__all__ = ["GeM", "generalized_mean"]


class GeM(nn.Module):
    """Pool (N, C, H, W) to vectors by the generalised mean, ``(mean x^p)^(1/p)`` over positions.

    ``p=1`` is average pooling, large ``p`` approaches the maximum. Meant for maps after a ReLU: values under
    ``eps`` count as ``eps`` and receive no gradient. Computed in float32 at least and relative to the
    largest value, so that no power overflows or vanishes; the output has the input's type.

    With ``stripes`` the map is cut into as many horizontal stripes, as part-based re-identification does,
    and their vectors are concatenated from the top: columns ``s*C`` to ``(s+1)*C`` are stripe ``s``. Where
    the height is not divisible, stripe ``s`` of ``S`` spans rows floor(sH/S) to ceil((s+1)H/S), so
    neighbours share a row (PyTorch's adaptive pooling).

    Args:
        p: The exponent, positive. Default 3, usual in re-identification.
        stripes: Number of horizontal stripes. Default 1, the whole map.
        learnable: Whether ``p`` is a parameter. Default false.
        eps: The smallest value. Default 1e-6.

    Raises:
        TypeError: For an option or maps of another type.
        ValueError: For an option out of range, for maps of another shape or fewer rows than stripes.

    Example:
        >>> GeM(stripes=3)(torch.rand(2, 8, 9, 4)).shape
        torch.Size([2, 24])

    Reference:
        Radenović, Tolias, Chum: Fine-tuning CNN image retrieval with no human annotation, TPAMI 2019, eq. 2
        (who learn one p per channel or one for all). The abstract does not speak of pooling; our choice.
    """

    p: float | nn.Parameter

    def __init__(self, p: float = 3.0, *, stripes: int = 1, learnable: bool = False, eps: float = 1e-6) -> None:
        super().__init__()
        self.initial_p = check_number("p", p, least=0.0, open_least=True)
        self.p = nn.Parameter(torch.tensor([self.initial_p])) if learnable else self.initial_p
        self.stripes = check_count("stripes", stripes)
        self.eps = check_number("eps", eps, least=0.0, open_least=True)

    def forward(self, maps: Tensor) -> Tensor:
        """Return (N, C * stripes) for (N, C, H, W)."""
        check_inputs("maps", maps, None, (4,))
        height = maps.shape[2]
        if height < self.stripes:
            raise ValueError(f"{self.stripes} stripes need as many rows, got a map of height {height}")
        # float32 at least: a cube leaves the range of float16 at 40
        values = maps.to(torch.promote_types(maps.dtype, torch.float32)).clamp(min=self.eps)
        parts = [
            generalized_mean(values[:, :, start:stop].flatten(2), self.p)
            for start, stop in _stripe_bounds(height, self.stripes)
        ]
        return torch.cat(parts, dim=1).to(maps.dtype)

    def extra_repr(self) -> str:
        """Show the options."""
        learnable = isinstance(self.p, nn.Parameter)
        return f"p={self.initial_p:g}, stripes={self.stripes}, learnable={learnable}, eps={self.eps:g}"


def generalized_mean(values: Tensor, p: float | Tensor) -> Tensor:
    """Return ``(mean x^p)^(1/p)`` over the last dimension of positive ``values``.

    The generalised mean is homogeneous, GeM(x) = s GeM(x / s): with the largest value as s the mean of the
    powers stays between 1/n and 1 for every p, and s, which cancels, needs no gradient.

    Args:
        values: (..., n), positive.
        p: The exponent, positive; a number or a tensor of one element.

    Returns:
        (...).
    """
    largest = values.detach().amax(-1, keepdim=True)
    mean = (values / largest).pow(p).mean(-1)
    root = mean.pow(1 / p)
    return root * largest.squeeze(-1)


def _stripe_bounds(height: int, stripes: int) -> list[tuple[int, int]]:
    return [(s * height // stripes, -((s + 1) * -height // stripes)) for s in range(stripes)]

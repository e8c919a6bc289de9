"""Generalised-mean pooling of feature maps into vectors, of the whole map or of horizontal stripes."""

import torch
from torch import Tensor, nn

from modinv._checks import check_count, check_eps, check_flag, check_inputs, check_number

__all__ = ["GeM", "generalized_mean"]


class GeM(nn.Module):
    """Pool (N, C, H, W) to vectors by the generalised mean, ``(mean x^p)^(1/p)`` over positions.

    ``p = 1`` is the average. Large ``p`` approaches the maximum, and ``p`` near 0 the geometric mean. Meant for
    maps after a ReLU: values below ``eps`` count as ``eps`` and receive no gradient. Computed in float32 at least
    and relative to the largest value, so no power overflows or vanishes. The output has the input's type.

    ``stripes`` cuts the map into that many horizontal stripes, as part-based re-identification does. Columns
    ``s * C`` to ``(s + 1) * C`` of the output are stripe ``s``, counted from the top. Stripe ``s`` of ``S`` spans
    rows floor(sH/S) to ceil((s+1)H/S), as in PyTorch's adaptive pooling. Neighbours share a row where S does not
    divide H.

    A learned ``p`` may go anywhere: at 0 and below, value and gradients are still those of the formula and its
    limit. It costs up to twice as much as a fixed one, since the form near 0 is always computed as well.

    Args:
        p: The exponent, above 0. Default 3, usual in re-identification.
        stripes: Number of horizontal stripes. Default 1, the whole map.
        learnable: Whether ``p`` is a parameter that starts at the given value. Default false.
        eps: The smallest value, from 1e-25 to 1e38, which float32 holds. Default 1e-6.

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
        self.initial_p = check_number("p", p, least=0.0, most=torch.finfo(torch.float32).max, open_least=True)
        self.p = nn.Parameter(torch.tensor([self.initial_p])) if check_flag("learnable", learnable) else self.initial_p
        self.stripes = check_count("stripes", stripes)
        self.eps = check_eps(eps)

    def forward(self, maps: Tensor) -> Tensor:
        """Return (N, C * stripes) for (N, C, H, W)."""
        check_inputs("maps", maps, (4,))
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
    """Return ``(mean x^p)^(1/p)`` over the last dimension of positive ``values``, and its limit at p = 0.

    GeM(x) = s GeM(x / s) for every s > 0. The value that dominates the mean is taken as s, so the mean of the
    powers stays between 1/n and 1. The factor s cancels and needs no gradient.

    Args:
        values: (..., n), positive.
        p: The exponent; a positive number, or a tensor of one element and any sign.

    Returns:
        (...).
    """
    low, high = values.detach().aminmax(dim=-1, keepdim=True)
    # where the errors of the two forms meet, for values that spread over a factor of 1e6
    least_p = 0.01 if values.dtype == torch.float32 else 0.001
    if not isinstance(p, Tensor):
        form = _root_of_mean if p > least_p else _near_zero
        return form(values / high, p) * high.squeeze(-1)
    p = p.to(values.dtype)  # a module in half precision would round 1 / p
    near = p.abs() <= least_p
    scale = torch.where(p < 0, low, high)
    ratios = values / scale
    # each form gets an exponent at which it is finite: the one that is not taken has the gradient 0 times its own
    small, large = _near_zero(ratios, torch.where(near, p, 0)), _root_of_mean(ratios, torch.where(near, 1, p))
    return torch.where(near, small, large) * scale.squeeze(-1)


def _root_of_mean(ratios: Tensor, p: float | Tensor) -> Tensor:
    return ratios.pow(p).mean(-1).pow(1 / p)


def _near_zero(ratios: Tensor, p: float | Tensor) -> Tensor:
    """Return the generalised mean for small p, where the root divides the rounding of the mean by p.

    Let K(p) = log mean x^p. Then log GeM = K(p) / p is the mean of K' between 0 and p. K'(q) is the mean of log x with
    weights x^q. The Gauss rule of two points gives it to O(p^4). At p = 0 it is the geometric mean.
    """
    logs = ratios.clamp(min=torch.finfo(ratios.dtype).tiny).log()
    points = [p * (1 + side / 3**0.5) / 2 for side in (-1, 1)]
    first, second = (((logs * q).softmax(-1) * logs).sum(-1) for q in points)
    return ((first + second) / 2).exp()


def _stripe_bounds(height: int, stripes: int) -> list[tuple[int, int]]:
    return [(s * height // stripes, -((s + 1) * -height // stripes)) for s in range(stripes)]

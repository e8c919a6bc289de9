"""What differs between the versions of torch, from 2.4 on; each part says with which oldest version it can go."""

from collections.abc import Callable
from typing import ParamSpec, TypeVar

import torch
from torch import Tensor
from torch import distributed as dist

__all__ = ["HAS_FP32_PRECISION", "WITHOUT_AUTOCAST", "all_gather_single", "check_compiler", "rounds_products"]

P = ParamSpec("P")
T = TypeVar("T")


def all_gather_single(joined: Tensor, tensor: Tensor, group: dist.ProcessGroup | None) -> None:
    """Fill ``joined`` with the tensors of all ranks.

    Goes when 2.13 is the oldest, which named it so; the name before that warns from 2.14 on.
    """
    gather = getattr(dist, "all_gather_single", None) or dist.all_gather_into_tensor
    gather(joined, tensor, group=group)


# torch.backends.….matmul.fp32_precision, of which 2.9 is the first. Goes when 2.9 is the oldest.
HAS_FP32_PRECISION = hasattr(torch.backends.mkldnn, "matmul")


def _called(function: Callable[P, T]) -> Callable[P, T]:
    """Let Dynamo call a function and not trace it; what ``torch.compiler`` has for that imports all of Dynamo."""
    vars(function)["_dynamo_marked_constant"] = True
    return function


@_called  # Dynamo does not trace the newer setting
def rounds_products(is_cuda: bool) -> bool:
    """Tell whether the user lets float32 products be rounded on this kind of device.

    From 2.9 on the older name raises where the newer one was set.
    """
    if not HAS_FP32_PRECISION:
        return torch.backends.cuda.matmul.allow_tf32
    backend = torch.backends.cuda.matmul if is_cuda else torch.backends.mkldnn.matmul  # type: ignore[attr-defined]
    return backend.fp32_precision not in ("none", "ieee")


# Asked here, since Dynamo cannot ask up to 2.6. "mps" goes when 2.5 is the oldest, which gave it an autocast.
WITHOUT_AUTOCAST = frozenset(device for device in ("meta", "mps") if not torch.amp.is_autocast_available(device))


@_called  # so the error is raised; traced, it is a graph break
def check_compiler(device_type: str) -> None:
    """Say in one sentence that this torch cannot compile a loss, while it does. Goes when 2.8 is the oldest.

    Up to 2.5 Dynamo cannot trace one. Inductor of 2.6 and 2.7 makes CPU code that adds rows up wrongly, as in the
    gradient of ``table[rows]``: the loss of discriminative centers was 1.106 where it is 0.912, on torch 2.7.1.
    """
    oldest = "2.8" if device_type == "cpu" else "2.6"
    if torch.__version__ < oldest:
        raise RuntimeError(
            f"torch.compile of a modinv loss on {device_type!r} needs torch {oldest} or newer, "
            f"got {torch.__version__}: upgrade it, or keep the loss out of the graph with torch.compiler.disable(loss)"
        )

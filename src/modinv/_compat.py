"""What differs between the versions of torch, from 2.4 on; each part says with which oldest version it can go."""

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor
from torch import distributed as dist

__all__ = ["all_gather_single", "check_compiler", "float32_products_are_rounded", "without_autocast"]


def all_gather_single(joined: Tensor, tensor: Tensor, group: dist.ProcessGroup | None) -> None:
    """Fill ``joined`` with the tensors of all ranks.

    Goes when 2.13 is the oldest, which named it so; the name before that warns from 2.14 on.
    """
    gather = getattr(dist, "all_gather_single", None) or dist.all_gather_into_tensor
    gather(joined, tensor, group=group)


def float32_products_are_rounded(tensor: Tensor) -> bool:
    """Say whether float32 matrix products on the device of ``tensor`` may be rounded, as the user has set it."""
    # The look for mkldnn.matmul goes when 2.9 is the oldest, which made it. is_compiling stays: this setting is the one
    # that Dynamo reads and guards, and in all versions torch.set_float32_matmul_precision moves it.
    if torch.compiler.is_compiling() or not hasattr(torch.backends.mkldnn, "matmul"):
        return bool(torch.backends.cuda.matmul.allow_tf32)
    backend = torch.backends.cuda.matmul if tensor.is_cuda else torch.backends.mkldnn.matmul
    return backend.fp32_precision not in ("none", "ieee")


# Asked here, since Dynamo cannot ask up to 2.6. "mps" goes when 2.5 is the oldest, which gave it an autocast.
_WITHOUT_AUTOCAST = [device for device in ("meta", "mps") if not torch.amp.is_autocast_available(device)]


def without_autocast(device_type: str) -> AbstractContextManager[object]:
    """Switch autocast off for a type of device, which need not have one."""
    return nullcontext() if device_type in _WITHOUT_AUTOCAST else torch.autocast(device_type, enabled=False)


def check_compiler() -> None:
    """Say in one sentence that this torch cannot compile a loss. Goes when 2.6 is the oldest."""
    if torch.compiler.is_compiling():
        _refuse_old_dynamo()


def _refuse_old_dynamo() -> None:
    if torch.__version__ < "2.6":
        raise RuntimeError(
            f"torch.compile of a modinv loss needs torch 2.6 or newer, got {torch.__version__}: upgrade it, "
            "or keep the loss out of the graph with torch.compiler.disable(loss)"
        )


# Dynamo calls a function with this mark instead of tracing it: so the error is raised. Traced, it is a graph break.
_refuse_old_dynamo._dynamo_marked_constant = True  # type: ignore[attr-defined]

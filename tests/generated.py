"""Compile a loss and count what the generated code launches, forward and backward.

A kernel is what the code calls: a fused loop that the compiler wrote, or a routine of the backend that it kept, a
matrix product or a decomposition. Views and allocations are none. So the number can be read beside the calls of
``recording.py``, and it is the same on every CPU.
"""

import re
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch._inductor.utils import run_and_get_code

from benchmarks.timing import forward_backward
from modinv import Batch

__all__ = ["Generated", "generate"]

_KERNEL = re.compile(r"^\s+(?:\w+ = )?(?:cpp_fused_\w*|extern_kernels\.\w+|torch\.ops\.aten\.[\w.]+)\(", re.MULTILINE)


class Generated(NamedTuple):
    """What a compiled loss computes, and with how many kernels."""

    value: Tensor  # ()
    gradient: Tensor  # (N, D)
    kernels: int  # forward and backward


def generate(loss: nn.Module, batch: Batch) -> Generated:
    """Compile ``loss`` for the shapes of ``batch``, in one graph, and run it once."""
    torch.compiler.reset()
    found, codes = run_and_get_code(forward_backward(torch.compile(loss, fullgraph=True), batch))
    return Generated(found.value, found.gradient, sum(len(_KERNEL.findall(code)) for code in codes))

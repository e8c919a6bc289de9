"""Record what a loss asks of the backend, forward and backward: figures that no other process on the machine blurs.

A call is an operation that reaches a kernel, hence a launch on a GPU. Views are no calls, which the schema of an
operation tells, nor are the allocations listed here, which write nothing.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from modinv import Batch

__all__ = ["ALLOCATIONS", "SOLVERS_THAT_WAIT", "WAITING", "Record", "record"]

ALLOCATIONS = frozenset({"empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided", "_unsafe_view"})

# The host must know the result, or a shape depends on it: the host waits for the device. So does a mask as an index.
WAITING = frozenset(
    {
        *("_local_scalar_dense", "item", "is_nonzero", "equal", "allclose", "nonzero", "masked_select", "bincount"),
        *("unique_dim", "unique_consecutive", "unique_dim_consecutive", "_unique", "_unique2", "repeat_interleave"),
    }
)

# Solvers that read back from a GPU whether they have converged, by the documentation of torch.linalg.
SOLVERS_THAT_WAIT = frozenset(
    {
        *("_linalg_svd", "_linalg_eigh", "linalg_eig", "linalg_eigvals", "_linalg_eigvals", "linalg_lstsq"),
        "cholesky_inverse",
        "_linalg_check_errors",  # what `inv`, `cholesky` and `solve` add to the form whose name ends in `_ex`
    }
)


class Record(NamedTuple):
    """What one forward and one backward pass asked for."""

    calls: list[str]  # the operations that reached a kernel, in order
    waits: list[str]  # those of them for which the host would wait
    solver_waits: list[str]  # those that are solvers which report back
    largest: int  # elements of the largest tensor that was made


def record(loss: Callable[..., Tensor], batch: Batch) -> Record:
    """Return what one forward and one backward pass asks of the backend."""
    features = batch.features.detach().requires_grad_()
    recorder = _Recorder()
    with recorder:
        torch.autograd.grad(loss(features, batch.labels, batch.modalities), features)
    return recorder.record


class _Recorder(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.record = Record([], [], [], 0)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if not _is_view(func):
            sizes = [leaf.numel() for leaf in tree_leaves(result) if isinstance(leaf, Tensor)]
            self.record = self.record._replace(largest=max(self.record.largest, *sizes, 0))
            self._note(func, args, kwargs or {})
        return result

    def _note(self, func: Any, args: Any, kwargs: Any) -> None:
        name = func.overloadpacket.__name__
        if name not in ALLOCATIONS:
            self.record.calls.append(name)
        if name in WAITING or _indexes_by_mask(name, args):
            self.record.waits.append(name)
        if name in SOLVERS_THAT_WAIT or _checks_errors(func, args, kwargs):
            self.record.solver_waits.append(name)


def _is_view(func: Any) -> bool:
    """Say whether a result shares memory with an argument that is not written to."""
    aliases = [returned.alias_info for returned in func._schema.returns]
    return any(alias is not None and not alias.is_write for alias in aliases)


def _checks_errors(func: Any, args: Any, kwargs: Any) -> bool:
    """Say whether a solver that can keep its status on the device was asked to read it back."""
    names = [argument.name for argument in func._schema.arguments]
    return bool({**dict(zip(names, args, strict=False)), **kwargs}.get("check_errors"))


def _indexes_by_mask(name: str, args: Any) -> bool:
    """Say whether an index is a mask, whose number of true entries decides the shape."""
    if name.removesuffix("_") not in ("index", "index_put", "_index_put_impl"):
        return False
    return any(isinstance(leaf, Tensor) and leaf.dtype in (torch.bool, torch.uint8) for leaf in tree_leaves(args[1]))

"""An independent branch for each modality, made of the user's own modules."""

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor, nn

from modinv._checks import check_count, check_module_inputs, is_traced
from modinv.groups import membership

__all__ = ["PerModality", "own_rows", "select_rows"]


class PerModality(nn.Module):
    """Send each row through the branch of its modality and put the results back in order.

    In eager mode the rows are split, and a branch sees the rows of its modality only. So it may hold a batch
    normalisation or anything else that looks across rows. Splitting needs the number of rows of each modality: the
    CPU waits for the device once per call. The branch of an absent modality is not called, and its parameters get
    no gradient. ``DistributedDataParallel`` then needs ``find_unused_parameters=True``. Do not convert such branches
    to ``SyncBatchNorm``: a rank without the modality would not join, and the others would wait for ever.

    Under ``torch.compile``, ``torch.export`` and ``torch.jit.trace`` no shape may depend on the data. Every branch
    runs on all rows, and each row's own result is selected. This costs ``num_modalities`` times as much. In the rows
    of other modalities what is not finite counts as 0, so it cannot reach the gradients of the branch. The result is
    the same for branches that treat rows one by one. A branch whose batch normalisation uses the batch's statistics
    is refused.

    A row of a modality that does not exist raises in eager mode, on any device. In a graph it becomes NaN.

    "Independent branches for each modality" (abstract). The paper's formulas are not public; only the abstract is.
    That the branches are arbitrary modules and share nothing is our reading.

    Args:
        branches: A function without arguments that builds one branch, called once for each modality, or a sequence
            of modules, one for each modality. A branch maps (n, ...) to (n, ...). All return the same shape.
        num_modalities: How many modalities there are, numbered from 0. Default 2.

    Raises:
        TypeError: If ``branches`` is a single module, or what it holds or builds is not a module.
        ValueError: If there is not one branch for each modality, or two branches share a parameter or a buffer.
            On a call, if the branches disagree on the shape of a row.

    Example:
        >>> stem = PerModality(lambda: nn.Conv2d(3, 8, 3))
        >>> stem(torch.randn(4, 3, 16, 16), torch.tensor([1, 0, 0, 1])).shape
        torch.Size([4, 8, 14, 14])
    """

    def __init__(self, branches: Sequence[nn.Module] | Callable[[], nn.Module], *, num_modalities: int = 2) -> None:
        super().__init__()
        self.num_modalities = check_count("num_modalities", num_modalities)
        self.branches = nn.ModuleList(_check_branches(_build(branches, self.num_modalities), self.num_modalities))

    def forward(self, inputs: Tensor, modalities: Tensor) -> Tensor:
        """Return the branches' results for (N, ...), row i of the output from row i of ``inputs``."""
        check_module_inputs(inputs, modalities, self.num_modalities)
        if torch.compiler.is_compiling() or is_traced():  # asked here: a helper would be compiled alone
            return self._run_all(inputs, modalities)
        return self._run_split(inputs, modalities)

    def _run_split(self, inputs: Tensor, modalities: Tensor) -> Tensor:
        counts = membership(modalities, self.num_modalities).sum(0).tolist()  # the one wait for the device
        if sum(counts) != len(modalities):
            raise ValueError(f"modalities must be from 0 to {self.num_modalities - 1}, got others")
        # an empty batch goes through the first branch, which alone knows the shape of its output
        present = [number for number, count in enumerate(counts) if count > 0] or [0]
        order = modalities.argsort(stable=True)
        rows = torch.split(order, counts)
        # a copy of its own for each branch, which may begin in place
        outputs = [self.branches[number](inputs.index_select(0, rows[number])) for number in present]
        _check_outputs(outputs, present, [counts[number] for number in present])
        return torch.cat(outputs).index_select(0, order.argsort())

    def _run_all(self, inputs: Tensor, modalities: Tensor) -> Tensor:
        for module in self.branches.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm) and _uses_batch_statistics(module):
                raise RuntimeError(
                    "PerModality cannot compile a branch with a batch normalisation in training mode, "
                    "which would see the rows of all modalities: use PerModalityBatchNorm, call .eval(), "
                    "or leave this module out of the graph with torch.compiler.disable"
                )
        # a copy for each branch, which may begin in place; in rows of others inf would be NaN in its gradients
        numbers, owned = range(self.num_modalities), own_rows(modalities, inputs, self.num_modalities)
        rows = [torch.where(own | inputs.isfinite(), inputs, 0) for own in owned]
        outputs = [self.branches[number](rows[number]) for number in numbers]
        _check_outputs(outputs, numbers, [inputs.shape[0]] * self.num_modalities)  # len() would fix it in an export
        return select_rows(outputs, modalities)

    def extra_repr(self) -> str:
        """Show the options."""
        return f"num_modalities={self.num_modalities}"


def select_rows(candidates: Sequence[Tensor], modalities: Tensor) -> Tensor:
    """Take row i from the candidate of its modality, without a shape or a branch that depends on the data.

    Rows that are not taken get a zero gradient, and what is not finite in them does not leak. A row of a modality
    without a candidate is NaN.

    Args:
        candidates: One (N, ...) tensor for each modality, all of one shape.
        modalities: (N,) integer.

    Returns:
        (N, ...).
    """
    selected = torch.full_like(candidates[0], torch.nan)
    for own, candidate in zip(own_rows(modalities, selected, len(candidates)), candidates, strict=True):
        selected = torch.where(own, candidate, selected)
    return selected


def own_rows(modalities: Tensor, like: Tensor, num_modalities: int) -> tuple[Tensor, ...]:
    """Return for each modality which rows are its own, bool (N, 1, ...) with as many dimensions as ``like``."""
    member = membership(modalities, num_modalities)  # (N, M)
    return member.reshape(*member.shape, *(1,) * (like.ndim - 1)).unbind(1)


def _build(branches: object, num_modalities: int) -> list[object]:
    if isinstance(branches, nn.ModuleList) or (
        isinstance(branches, Sequence) and not isinstance(branches, (str, bytes))
    ):
        return list(branches)
    if isinstance(branches, nn.Module):
        raise TypeError(
            f"branches is one {type(branches).__name__}, which all modalities would share: pass a function "
            "that builds one, such as lambda: nn.Linear(8, 8), or a list with one module per modality"
        )
    if callable(branches):
        return [branches() for _ in range(num_modalities)]
    raise TypeError(f"branches must be a function that builds a module, or a list of modules, got {branches!r}")


def _check_branches(branches: Sequence[object], num_modalities: int) -> list[nn.Module]:
    if len(branches) != num_modalities:
        raise ValueError(
            f"branches must hold one module for each of {num_modalities} modalities, got {len(branches)}: "
            "say num_modalities if there are more than two"
        )
    modules = [branch for branch in branches if isinstance(branch, nn.Module)]
    if len(modules) != len(branches):
        kinds = [type(branch).__name__ for branch in branches]
        raise TypeError(f"each branch must be a torch.nn.Module, got {kinds}")
    owners: dict[int, int] = {}
    for number, branch in enumerate(modules):
        for name, tensor in _named_tensors(branch):
            if owners.setdefault(id(tensor), number) != number:
                raise ValueError(
                    f"branches {owners[id(tensor)]} and {number} share {name!r}: independent branches need "
                    "a module each, so build a new one on every call"
                )
    return modules


def _named_tensors(module: nn.Module) -> Iterable[tuple[str, Tensor]]:
    yield from module.named_parameters()
    yield from module.named_buffers()


def _check_outputs(outputs: Sequence[Tensor], present: Sequence[int], counts: Sequence[int]) -> None:
    for number, output, count in zip(present, outputs, counts, strict=True):
        if not isinstance(output, Tensor):
            raise TypeError(f"branch {number} must return a tensor, got {type(output).__name__}")
        if output.shape != (count, *outputs[0].shape[1:]):
            raise ValueError(
                f"branch {number} returned {tuple(output.shape)} for {count} rows where "
                f"{(count, *outputs[0].shape[1:])} was expected: a branch keeps the number of rows, and all "
                "branches return the same shape"
            )


def _uses_batch_statistics(module: nn.modules.batchnorm._BatchNorm) -> bool:
    return module.training or not module.track_running_stats

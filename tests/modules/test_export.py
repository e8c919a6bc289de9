"""Tests of the modules exported and traced: any number of rows, and NaN for a modality that does not exist."""

import warnings
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from modinv.modules import GeM, IntraModalityEnhancer, ModalityInvariantHead, PerModality, PerModalityBatchNorm

MODALITIES = torch.tensor([0, 1, 1, 0, 1, 0, 0, 1, 1])


class Pool(nn.Module):
    """Pooling that is called like the others."""

    def __init__(self) -> None:
        super().__init__()
        self.pool = GeM(stripes=2, learnable=True)

    def forward(self, maps: Tensor, modalities: Tensor) -> Tensor:
        pooled: Tensor = self.pool(maps)
        return pooled


PRIVATE: dict[str, Callable[[], nn.Module]] = {
    "branches": lambda: PerModality(lambda: nn.Conv2d(6, 4, 1)),
    "normalization": lambda: PerModalityBatchNorm(6),
    "enhancer": lambda: IntraModalityEnhancer(6, num_classes=3, hidden_features=2),
    "enhancer of own branches": lambda: IntraModalityEnhancer(6, num_classes=3, branch=lambda: nn.Conv2d(6, 6, 1)),
}
MODULES = {**PRIVATE, "head": lambda: ModalityInvariantHead(6, 3), "pooling": Pool}

# Exporting takes about a second each.
SLOW_BUT_ONE = [pytest.param(name, marks=() if name == "normalization" else pytest.mark.slow) for name in PRIVATE]


def make_inputs(name: str, rows: int) -> Tensor:
    generator = torch.Generator().manual_seed(rows)
    return torch.randn((rows, 6) if name == "head" else (rows, 6, 4, 2), generator=generator)


def export(name: str) -> tuple[nn.Module, nn.Module]:
    """A module in evaluation, and its export from nine rows for any number of them."""
    torch.manual_seed(0)
    module = MODULES[name]().eval()
    rows = {0: torch.export.Dim("rows", min=2, max=64)}
    exported = torch.export.export(module, (make_inputs(name, 9), MODALITIES), dynamic_shapes=(rows, rows))
    return module, exported.module()


def trace(name: str) -> tuple[nn.Module, nn.Module]:
    """The same, by torch.jit.trace, which warns of every check."""
    torch.manual_seed(0)
    module = MODULES[name]().eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        traced = torch.jit.trace(module, (make_inputs(name, 9), MODALITIES))
    return module, traced


def parts(output: Tensor | tuple[Tensor | None, ...]) -> list[Tensor]:
    return [part for part in (output if isinstance(output, tuple) else (output,)) if part is not None]


@pytest.mark.parametrize("name", MODULES)
@pytest.mark.parametrize("leave", [pytest.param(export, marks=pytest.mark.slow), trace])
def test_module_out_of_python_gives_the_same_for_another_batch(
    name: str, leave: Callable[[str], tuple[nn.Module, nn.Module]]
) -> None:
    module, other = leave(name)
    inputs, modalities = make_inputs(name, 5), torch.tensor([1, 0, 0, 0, 1])
    torch.testing.assert_close(parts(other(inputs, modalities)), parts(module(inputs, modalities)))


@pytest.mark.parametrize("name", SLOW_BUT_ONE)
def test_row_of_a_modality_that_does_not_exist_is_nan_and_the_others_are_not(name: str) -> None:
    module, exported = export(name)
    for wrong in (-1, 2, 200):
        inputs, modalities = make_inputs(name, 5), torch.tensor([1, 0, wrong, 0, 1])
        expected = parts(module(inputs, modalities.clamp(0, 1)))
        for found, right in zip(parts(exported(inputs, modalities)), expected, strict=True):
            assert found[2].isnan().all()
            torch.testing.assert_close(found[[0, 1, 3, 4]], right[[0, 1, 3, 4]])

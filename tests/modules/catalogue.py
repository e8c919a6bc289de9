"""Every module of the library, with what it takes, for the tests that ask the same of all."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from modinv import modules

__all__ = ["MODULES", "NORMALIZED", "Entry", "make_module", "make_rows", "tensors_of"]

NORMALIZED = {"neck", "head", "non-local", "non-local, softmax"}
"""Those with a batch normalisation of PyTorch: their statistics mix the rows in training."""


class Entry(NamedTuple):
    """How a module of 6 features is made, the number of dimensions of its rows, and whether it reads modalities."""

    make: Callable[[], nn.Module]
    dimensions: int
    private: bool


MODULES = {
    "neck": Entry(lambda: modules.BNNeck(6), 2, False),
    "head": Entry(lambda: modules.ModalityInvariantHead(6, 3, embedding_features=4), 2, False),
    "non-local": Entry(lambda: modules.NonLocal(6), 4, False),
    "non-local, softmax": Entry(lambda: modules.NonLocal(6, similarity="embedded_gaussian"), 4, False),
    "gate": Entry(lambda: modules.InstanceNormGate(6, hidden_features=2), 4, False),
    "reversal": Entry(modules.GradientReversal, 4, False),
    "discriminator": Entry(lambda: modules.ModalityDiscriminator(6), 2, False),
    "discriminator, maps": Entry(lambda: modules.ModalityDiscriminator(6), 4, False),
    "pooling": Entry(lambda: modules.GeM(stripes=2, learnable=True), 4, False),
    "enhancer": Entry(lambda: modules.IntraModalityEnhancer(6, num_classes=3, hidden_features=2), 2, True),
    "enhancer, maps": Entry(lambda: modules.IntraModalityEnhancer(6, num_classes=3, hidden_features=2), 4, True),
    "enhancer without a branch": Entry(lambda: modules.IntraModalityEnhancer(6, num_classes=3), 2, True),
    "branches": Entry(lambda: modules.PerModality(lambda: nn.Conv2d(6, 4, 1)), 4, True),
    "private normalization": Entry(lambda: modules.PerModalityBatchNorm(6), 4, True),
}


def make_module(name: str) -> nn.Module:
    """The module with parameters that do something: a scale that starts at zero is drawn too."""
    torch.manual_seed(0)
    module = MODULES[name].make()
    for parameter in module.parameters():
        if parameter.requires_grad and not parameter.any():
            nn.init.normal_(parameter)
    return module


def make_rows(name: str, rows: int = 7) -> tuple[Tensor, ...]:
    """What the module is called with."""
    entry, generator = MODULES[name], torch.Generator().manual_seed(rows)
    inputs = torch.randn((rows, 6, 4, 3)[: entry.dimensions], generator=generator) + 0.5
    return (inputs, torch.arange(rows) % 2) if entry.private else (inputs,)


def tensors_of(outputs: Tensor | tuple[Tensor | None, ...]) -> list[Tensor]:
    """The tensors of an output, which is one or a record of some."""
    return [part for part in (outputs if isinstance(outputs, tuple) else (outputs,)) if part is not None]

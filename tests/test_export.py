"""What leaves Python or is called without its own state: the table of docs/contract.md, row by row."""

import copy
import warnings
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor, nn

import modinv
import needs
from batches import make_batch
from losses.catalogue import LOSSES


def trained(block: modinv.NonLocal) -> modinv.NonLocal:
    nn.init.ones_(block.norm.weight)  # zero at the start, so that the block does nothing
    return block


MODULES: dict[str, nn.Module] = {
    "head": modinv.ModalityInvariantHead(24, 5),
    "neck": modinv.BNNeck(24),
    "discriminator": modinv.ModalityDiscriminator(24),
    "non-local block": trained(modinv.NonLocal(2)),
    "non-local block, softmax": trained(modinv.NonLocal(2, similarity="embedded_gaussian")),
    "instance norm gate": modinv.InstanceNormGate(2),
    "enhancer": modinv.IntraModalityEnhancer(24, num_classes=5),
    "batch normalisation": modinv.PerModalityBatchNorm(24),
    "a branch per modality": modinv.PerModality(lambda: nn.Linear(24, 3)),
    "pooling": modinv.GeM(),
}
every_module = pytest.mark.parametrize("name", MODULES)
LOSS_NAMES = ["wasserstein full modality 0.0", "jeffreys full modality 0.1", "hetero-center triplet", "weighted losses"]


def inputs(name: str, rows: int) -> tuple[Tensor, ...]:
    """What a module takes, with this many rows."""
    features, _, modalities = make_batch((rows - 3, 3), seed=rows, dtype=torch.float32)
    if name in ("pooling", "non-local block", "non-local block, softmax", "instance norm gate"):
        return (features.relu().view(rows, 2, 3, 4),)
    return (features,) if name in ("head", "neck", "discriminator") else (features, modalities)


def tensors(outputs: Tensor | Sequence[Tensor | None]) -> list[Tensor]:
    return [outputs] if isinstance(outputs, Tensor) else [output for output in outputs if output is not None]


@pytest.mark.slow
@every_module
def test_exported_module_takes_any_number_of_rows(name: str) -> None:
    module, given, other = MODULES[name].eval(), inputs(name, 9), inputs(name, 14)
    rows = torch.export.Dim("rows", min=2, max=512)
    exported = torch.export.export(module, given, dynamic_shapes=tuple({0: rows} for _ in given))
    torch.testing.assert_close(tensors(exported.module()(*other)), tensors(module(*other)))


@pytest.mark.parametrize("name", [name for name in MODULES if name != "a branch per modality"])
def test_traced_module_takes_any_number_of_rows(name: str) -> None:
    module, other = MODULES[name].eval(), inputs(name, 14)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that tracing is on its way out
        traced = torch.jit.trace(module, inputs(name, 9), strict=False)
    torch.testing.assert_close(tensors(traced(*other)), tensors(module(*other)))


@every_module
def test_module_can_be_called_with_other_parameters(name: str) -> None:
    module, given = MODULES[name].eval(), inputs(name, 9)
    doubled = {key: 2 * parameter for key, parameter in module.named_parameters()}
    outputs = torch.func.functional_call(module, doubled, given)
    other = copy.deepcopy(module)
    other.load_state_dict(doubled, strict=False)
    torch.testing.assert_close(tensors(outputs), tensors(other(*given)))


@pytest.mark.slow
@needs.compiled_loss
@pytest.mark.parametrize("name", LOSS_NAMES)
def test_exported_loss_has_the_value_of_the_eager_one_at_its_number_of_rows(name: str) -> None:
    loss, given, other = LOSSES[name], *(make_batch(seed=seed, dtype=torch.float32) for seed in range(2))
    exported = torch.export.export(loss, tuple(given)).module()
    torch.testing.assert_close(exported(*other), loss(*other), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", LOSS_NAMES)
def test_traced_loss_has_the_value_of_the_eager_one_at_its_number_of_rows(name: str) -> None:
    loss, given, other = LOSSES[name], *(make_batch(seed=seed, dtype=torch.float32) for seed in range(2))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        traced = torch.jit.trace(loss, tuple(given), check_trace=False)
    torch.testing.assert_close(traced(*other), loss(*other), rtol=1e-5, atol=1e-6)


def test_sum_can_be_called_with_other_parameters_of_a_loss_from_elsewhere() -> None:
    losses = modinv.WeightedLosses({"foreign": (2.0, Scaled()), "center": (0.0, modinv.HeteroCenterTripletLoss())})
    batch = make_batch()
    value = torch.func.functional_call(losses, {"losses.foreign.scale": torch.tensor(3.0)}, tuple(batch))
    torch.testing.assert_close(value, 6 * batch.features.sum())


class Scaled(nn.Module):
    """A loss from elsewhere, with a parameter."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, features: Tensor, labels: Tensor, modalities: Tensor) -> Tensor:
        return self.scale * features.sum()

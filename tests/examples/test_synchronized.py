"""Tests of synchronized: layers that see the rows of all processes equal those of one process on all rows."""

import pytest
import torch
from torch import Tensor, nn

from distributed_processes import in_processes
from modinv.modules import PerModalityBatchNorm
from reid.network.synchronized import synchronize_normalization

KINDS = ("maps", "vectors")
MODALITIES = torch.tensor([0, 1, 1, 0, 1, 0, 0])
SHARES = (slice(0, 5), slice(5, 7), slice(7, 7))
"""Rows of three processes; the last one has none."""


def make_inputs(kind: str) -> Tensor:
    shape = (7, 4, 3, 2) if kind == "maps" else (7, 4)
    return 3 + torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def make_layers(kind: str) -> nn.ModuleDict:
    torch.manual_seed(1)
    layers = nn.ModuleDict(
        {
            "shared": nn.BatchNorm2d(4) if kind == "maps" else nn.BatchNorm1d(4),
            "private": PerModalityBatchNorm(4),
        }
    ).double()
    for parameter in layers.parameters():
        nn.init.normal_(parameter)
    return layers


def learn(layers: nn.ModuleDict, inputs: Tensor, modalities: Tensor, rows: slice) -> dict[str, Tensor]:
    """Return what comes out of both layers, and what a weighted sum of it sends back."""
    inputs = inputs.clone().requires_grad_()
    weights = torch.linspace(-1, 1, 7, dtype=torch.float64).reshape(-1, *(1,) * (inputs.ndim - 1))
    outputs = layers["private"](layers["shared"](inputs), modalities)
    torch.autograd.backward((outputs.pow(3) * weights[rows]).sum())
    gradients = {f"gradient of {name}": torch.as_tensor(value.grad) for name, value in layers.named_parameters()}
    return {"outputs": outputs.detach(), "inputs": torch.as_tensor(inputs.grad), **gradients, **layers.state_dict()}


def learn_part(rank: int) -> dict[str, dict[str, Tensor]]:
    """Learn from the rows of one process."""
    rows, learned = SHARES[rank], {}
    for kind in KINDS:
        layers = make_layers(kind)
        synchronize_normalization(layers)
        learned[kind] = learn(layers, make_inputs(kind)[rows], MODALITIES[rows], rows)
        values = layers.eval()["private"](layers["shared"](make_inputs(kind)[rows]), MODALITIES[rows])
        learned[kind]["evaluated"] = values.detach()
    return learned


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, dict[str, Tensor]]]:
    """What three processes learn together."""
    found: list[dict[str, dict[str, Tensor]]] = in_processes(learn_part, 3, tmp_path_factory.mktemp("ranks"))
    return found


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_processes_with_unequal_rows_equal_one_with_all_rows(
    parts: list[dict[str, dict[str, Tensor]]], kind: str
) -> None:
    layers = make_layers(kind)
    expected = learn(layers, make_inputs(kind), MODALITIES, slice(0, 7))
    expected["evaluated"] = layers.eval()["private"](layers["shared"](make_inputs(kind)), MODALITIES).detach()
    for name, value in expected.items():
        pieces = [part[kind][name] for part in parts]
        if name in ("outputs", "inputs", "evaluated"):
            found = torch.cat(pieces)
        elif name.startswith("gradient"):  # each process has the part that its rows send
            found = torch.stack(pieces).sum(0)
        else:
            found = pieces[0]
            assert all(torch.equal(piece, found) for piece in pieces)
        torch.testing.assert_close(found, value, rtol=1e-10, atol=1e-10)


def test_layers_keep_their_parameters_and_their_names() -> None:
    layers = make_layers("maps")
    before = dict(layers.named_parameters())
    synchronize_normalization(layers)
    after = dict(layers.named_parameters())
    assert after.keys() == before.keys()
    assert all(after[name] is parameter for name, parameter in before.items())

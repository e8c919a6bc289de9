"""Each difference between the versions of torch, played on the torch that is here."""

import re
from typing import Any

import pytest
import torch
from torch import Tensor
from torch import distributed as dist
from torch.torch_version import TorchVersion

import modinv
from modinv import _compat
from modinv._checks import host_values
from modinv.statistics import statistics_of


def filled(joined: Tensor, tensor: Tensor, group: object = None) -> None:
    joined.copy_(tensor)


def refused(*_: Any, **__: Any) -> None:
    raise AssertionError("this name warns where the other is there")


@pytest.mark.parametrize(
    "names",
    [{"all_gather_single": filled, "all_gather_into_tensor": refused}, {"all_gather_into_tensor": filled}],
    ids=["from 2.13 on", "before 2.13"],
)
def test_gathering_takes_the_newest_name_that_torch_has(names: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(dist, "all_gather_single", raising=False)
    for name, collective in names.items():
        monkeypatch.setattr(dist, name, collective, raising=False)
    joined = torch.zeros(3)
    _compat.all_gather_single(joined, torch.ones(3), None)
    torch.testing.assert_close(joined, torch.ones(3))


@pytest.mark.parametrize(("precision", "rounded"), [("highest", False), ("high", True), ("medium", True)])
@pytest.mark.parametrize(
    "has_own_setting",
    [
        pytest.param(
            True,
            marks=pytest.mark.skipif(not _compat.HAS_FP32_PRECISION, reason="the setting is of torch 2.9"),
            id="from 2.9 on",
        ),
        pytest.param(False, id="before 2.9"),
    ],
)
def test_products_are_rounded_where_the_user_allows_it(
    precision: str, rounded: bool, has_own_setting: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_compat, "HAS_FP32_PRECISION", has_own_setting)
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(precision)
    try:
        statistics = statistics_of(torch.ones(2, 3), torch.zeros(2).long(), torch.arange(2))
        assert (statistics.centered.rows.dtype == torch.float64) == rounded
    finally:
        torch.set_float32_matmul_precision(before)


@pytest.mark.slow
@pytest.mark.skipif(not _compat.HAS_FP32_PRECISION, reason="the setting is of torch 2.9")
@pytest.mark.parametrize(("backend", "kind"), [("mkldnn", torch.float64), ("cuda", torch.float32)])
def test_the_newer_setting_of_rounding_counts_in_a_compiled_graph_too(backend: str, kind: torch.dtype) -> None:
    setting: Any = getattr(torch.backends, backend).matmul  # of a GPU, it says nothing about a CPU
    precision, before = torch.get_float32_matmul_precision(), setting.fp32_precision

    def centered(features: Tensor) -> Tensor:
        return statistics_of(features, torch.zeros(2).long(), torch.arange(2)).centered.rows

    torch.compiler.reset()
    setting.fp32_precision = "tf32"
    try:
        assert torch.compile(centered, fullgraph=True, backend="eager")(torch.ones(2, 3)).dtype == kind
    finally:
        setting.fp32_precision = before
        torch.set_float32_matmul_precision(precision)  # the older name can be read again


@pytest.mark.parametrize("loss", [modinv.HeteroCenterTripletLoss(), modinv.GaussianDistributionConsistencyLoss()])
def test_a_loss_takes_a_device_without_autocast(loss: torch.nn.Module) -> None:
    features = torch.empty(8, 4, device="meta", requires_grad=True)
    numbers = torch.zeros(8, dtype=torch.long, device="meta")
    value: Tensor = loss(features, numbers, numbers)
    (gradient,) = torch.autograd.grad(value, features)
    assert (value.shape, gradient.shape) == ((), (8, 4))


@pytest.mark.parametrize("version", ["2.5.1", "2.7.1+cu126"])
@pytest.mark.parametrize("fullgraph", [True, False])
def test_compiling_a_loss_with_an_old_torch_ends_in_one_sentence(
    fullgraph: bool, version: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "__version__", TorchVersion(version))
    torch.compiler.reset()
    compiled = torch.compile(modinv.HeteroCenterTripletLoss(), fullgraph=fullgraph, backend="eager")
    numbers = torch.arange(8) // 4
    sentence = rf"on 'cpu' needs torch 2\.8 or newer, got {re.escape(version)}: upgrade it, or"
    with pytest.raises(RuntimeError, match=sentence):
        compiled(torch.rand(8, 4), numbers, 1 - numbers)


@pytest.mark.parametrize(("version", "works"), [("2.5.1", False), ("2.6.0", True), ("2.7.1+cu126", True)])
def test_off_the_cpu_a_loss_compiles_from_torch_2_6_on(
    version: str, works: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "__version__", TorchVersion(version))
    if works:
        _compat.check_compiler("cuda")
    else:
        with pytest.raises(RuntimeError, match=r"on 'cuda' needs torch 2\.6 or newer"):
            _compat.check_compiler("cuda")


def test_a_numpy_that_torch_was_not_built_for_is_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    def numpy(_: Tensor) -> None:
        raise RuntimeError("Numpy is not available")  # torch 2.2 beside numpy 2

    monkeypatch.setattr(Tensor, "numpy", numpy)
    with pytest.raises(RuntimeError, match="Numpy is not available"):
        host_values(torch.arange(3))


def test_values_inside_a_transform_are_not_read() -> None:
    seen: list[object] = []
    captured = torch.arange(3)

    def total(features: Tensor) -> Tensor:
        seen.extend(host_values(numbers) for numbers in (features.detach().long(), captured))
        return features.sum()

    torch.func.grad(total)(torch.ones(3))
    assert seen == [None, None]

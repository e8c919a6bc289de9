"""Tests of reid.network.weights: any file of an ordinary ResNet-50 loads, and what was in it is told."""

import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import Tensor

from reid.network.resnet import TwoStreamResNet50
from reid.network.weights import load_imagenet_weights, read_weights


def torchvision_resnet50_keys() -> dict[str, tuple[int, ...]]:
    """Names and shapes of the 320 tensors of the usual ResNet-50, from its description in the paper."""
    norm = ("weight", "bias", "running_mean", "running_var")
    keys: dict[str, tuple[int, ...]] = {"conv1.weight": (64, 3, 7, 7), "bn1.num_batches_tracked": ()}
    keys |= {f"bn1.{name}": (64,) for name in norm}
    width = 64
    for stage, blocks in enumerate((3, 4, 6, 3), start=1):
        narrow, wide = 32 * 2**stage, 128 * 2**stage
        for block in range(blocks):
            layers = {
                "conv1": (narrow, width, 1, 1),
                "conv2": (narrow, narrow, 3, 3),
                "conv3": (wide, narrow, 1, 1),
            } | ({"downsample.0": (wide, width, 1, 1)} if block == 0 else {})
            for layer, shape in layers.items():
                normal = layer.replace("conv", "bn").replace("downsample.0", "downsample.1")
                keys[f"layer{stage}.{block}.{layer}.weight"] = shape
                keys[f"layer{stage}.{block}.{normal}.num_batches_tracked"] = ()
                keys |= {f"layer{stage}.{block}.{normal}.{name}": (shape[0],) for name in norm}
            width = wide
    return keys | {"fc.weight": (1000, 2048), "fc.bias": (1000,)}


def imagenet_weights() -> dict[str, Tensor]:
    """Every tensor is filled with a number of its own."""
    return {
        name: torch.full(shape, float(index), dtype=torch.int64 if shape == () else torch.float32)
        for index, (name, shape) in enumerate(torchvision_resnet50_keys().items())
    }


def save(weights: Mapping[str, Tensor], path: Path) -> Path:
    if path.suffix == ".safetensors":
        safetensors.torch.save_file(dict(weights), path)
    else:
        torch.save(weights, path)
    return path


@pytest.mark.parametrize(("name", "private_stages"), [("a.pth", 0), ("a.safetensors", 0), ("a.pth", 2)])
def test_every_layer_gets_the_tensor_of_its_name_in_every_stream(
    tmp_path: Path, name: str, private_stages: int
) -> None:
    weights = imagenet_weights()
    assert len(weights) == 320
    network = TwoStreamResNet50(private_stages=private_stages)
    report = load_imagenet_weights(network, save(weights, tmp_path / name))
    private = ("conv1", "bn1", *(f"layer{stage}" for stage in range(1, 1 + private_stages)))
    expected = {
        place + name: value
        for name, value in weights.items()
        if not name.startswith("fc.")
        for place in (("stem.branches.0.", "stem.branches.1.") if name.split(".")[0] in private else ("",))
    }
    state = network.state_dict()
    assert state.keys() == expected.keys()
    assert all(torch.equal(state[key], value) for key, value in expected.items())
    assert (len(report.loaded), report.missing) == (318, ())
    assert set(report.unexpected) == {"fc.weight", "fc.bias"}
    assert report.text().startswith("318 loaded; 0 missing; 2 unexpected (fc.")


@pytest.mark.parametrize("wrapped", ["state_dict", "model"])
def test_wrappers_and_their_prefixes_are_taken_off(tmp_path: Path, wrapped: str) -> None:
    weights = {f"module.{name}": value for name, value in imagenet_weights().items()}
    path = tmp_path / "checkpoint.pth"
    torch.save({"epoch": 90, wrapped: weights}, path)
    assert read_weights(path).keys() == imagenet_weights().keys()


def test_counters_that_older_files_lack_are_told_and_kept(tmp_path: Path) -> None:
    weights = {name: value for name, value in imagenet_weights().items() if "num_batches" not in name}
    network = TwoStreamResNet50()
    report = load_imagenet_weights(network, save(weights, tmp_path / "old.pth"))
    assert len(report.missing) == 53
    assert report.text().startswith("265 loaded; 53 missing (bn1.num_batches_tracked, ")
    assert "and 45 more" in report.text()
    assert network.state_dict()["layer1.0.bn1.num_batches_tracked"] == 0


def test_weights_of_another_network_are_refused_and_change_nothing(tmp_path: Path) -> None:
    network = TwoStreamResNet50()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    few = save({"conv1.weight": torch.ones(64, 3, 7, 7)}, tmp_path / "few.pth")
    with pytest.raises(
        ValueError, match=r"few.pth must hold the state dict of a ResNet-50, but lacks 264 .*bn1.weight"
    ):
        load_imagenet_weights(network, few)
    weights = imagenet_weights() | {"conv1.weight": torch.ones(64, 1, 7, 7)}
    with pytest.raises(ValueError, match=r"has \(64, 1, 7, 7\) for stem.branches.0.conv1.weight"):
        load_imagenet_weights(network, save(weights, tmp_path / "gray.pth"))
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


@pytest.mark.parametrize("name", ["damaged.pth", "damaged.safetensors"])
def test_damaged_files_are_refused_in_a_sentence(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"nothing of the kind")
    with pytest.raises(ValueError, match=name):
        read_weights(tmp_path / name)


@pytest.mark.parametrize("content", [torch.ones(3), {"epoch": 3}])
def test_files_without_named_tensors_are_refused(tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / "strange.pth")
    with pytest.raises(ValueError, match=r"strange.pth must hold .*state dict"):
        read_weights(tmp_path / "strange.pth")


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ({"encoder.conv1.weight": torch.ones(1), "backbone.conv1.weight": torch.zeros(1)}, "conv1.weight"),
        ({"conv1.weight": torch.ones(1), "module.model.conv1.weight": torch.zeros(1)}, "conv1.weight"),
        ({"model": {"conv1.weight": torch.ones(1)}, "model_ema": {"conv1.weight": torch.ones(1)}}, "model, model_ema"),
        ({"state_dict": {"a": torch.ones(1)}, "model": {"a": torch.ones(1)}}, "state_dict, model"),
    ],
)
def test_two_networks_in_one_file_are_refused(tmp_path: Path, content: object, named: str) -> None:
    torch.save(content, tmp_path / "two.pth")
    with pytest.raises(ValueError, match=rf"two\.pth holds .*{named}.* save the state dict of one alone"):
        read_weights(tmp_path / "two.pth")


def test_what_a_training_keeps_beside_the_network_is_no_other_network(tmp_path: Path) -> None:
    weights, optimizer = {"conv1.weight": torch.ones(1)}, {"state": {0: {"step": torch.ones(1)}}, "param_groups": []}
    torch.save({"epoch": torch.tensor(3), "optimizer": optimizer, "state_dict": weights}, tmp_path / "one.pth")
    assert read_weights(tmp_path / "one.pth") == weights


def test_missing_file_is_refused_and_nothing_is_downloaded(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no.pth is not a file: give the state dict .* on disk"):
        read_weights(tmp_path / "no.pth")


def test_missing_package_is_told_in_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.safetensors").touch()
    monkeypatch.setitem(sys.modules, "safetensors.torch", None)
    with pytest.raises(ValueError, match=r"needs the package safetensors .* or give a .pth file"):
        read_weights(tmp_path / "a.safetensors")

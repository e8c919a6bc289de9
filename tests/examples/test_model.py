"""Tests of the example's network and its two backbones."""

from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from reid.backbone import SmallBackbone
from reid.model import TwoStreamNetwork
from reid.resnet import TwoStreamResNet50, load_imagenet_weights

MODALITIES = torch.tensor([0, 1, 1, 0, 1])


def make_images(rows: int = 5) -> Tensor:
    return torch.randn(rows, 3, 64, 32, generator=torch.Generator().manual_seed(rows))


def make_network(*, enhance: bool = True) -> TwoStreamNetwork:
    torch.manual_seed(0)
    return TwoStreamNetwork(7, enhance=enhance)


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


def test_small_network_gives_every_output_in_its_shape() -> None:
    outputs = make_network()(make_images(), MODALITIES)
    assert outputs.features.shape == outputs.embedding.shape == (5, 384)
    assert outputs.logits.shape == (5, 7)
    assert outputs.enhanced.features.shape == (5, 384)
    assert outputs.enhanced.logits.shape == (5, 7)


def test_without_enhancing_there_are_no_branches() -> None:
    network = make_network(enhance=False)
    assert network(make_images(), MODALITIES).enhanced is None
    assert not [name for name in network.state_dict() if name.startswith("enhancer")]


def test_stripes_set_the_width_of_the_features() -> None:
    assert TwoStreamNetwork(7, stripes=2)(make_images(), MODALITIES).features.shape == (5, 256)


def test_every_parameter_that_learns_gets_a_gradient() -> None:
    network = make_network()
    outputs = network(make_images(), MODALITIES)
    labels = torch.tensor([0, 0, 1, 1, 2])
    loss = functional.cross_entropy(outputs.logits, labels) + outputs.features.square().mean()
    loss = loss + functional.cross_entropy(outputs.enhanced.logits, labels)
    torch.autograd.backward(loss + outputs.enhanced.features.square().mean())
    # behind a scale that starts at zero
    silent = {"enhancer.branch.reduce.weight", "enhancer.branch.expand.weight"} | {
        f"enhancer.branch.reduce_norm.{name}" for name in ("weight", "bias")
    }
    for name, parameter in network.named_parameters():
        if parameter.requires_grad and name not in silent:
            assert parameter.grad is not None, name
            assert parameter.grad.any(), name


def test_the_stem_is_private_and_the_trunk_is_shared() -> None:
    backbone = SmallBackbone()
    torch.autograd.backward(backbone(make_images(2), torch.tensor([1, 1])).square().sum())
    used = {name for name, parameter in backbone.named_parameters() if parameter.grad is not None}
    unused = {name for name, _ in backbone.named_parameters()} - used
    assert unused
    assert all(name.startswith("stem.branches.0.") for name in unused)


def test_the_private_branches_do_not_touch_the_shared_outputs() -> None:
    network = make_network().eval()
    images = make_images()
    before = network(images, MODALITIES)
    assert network.enhancer is not None
    with torch.no_grad():
        for parameter in network.enhancer.parameters():
            parameter.add_(1.0)
    after = network(images, MODALITIES)
    assert torch.equal(after.embedding, before.embedding)
    assert torch.equal(after.logits, before.logits)
    assert not torch.equal(after.enhanced.logits, before.enhanced.logits)


@pytest.mark.parametrize("training", [True, False])
def test_row_order_does_not_matter(training: bool) -> None:
    network = make_network().double().train(training)
    images, order = make_images().double(), torch.tensor([3, 1, 4, 0, 2])
    expected = network(images, MODALITIES)
    found = network(images[order], MODALITIES[order])
    for name in ("features", "embedding", "logits"):
        torch.testing.assert_close(getattr(found, name), getattr(expected, name)[order], rtol=1e-10, atol=1e-10)


def test_one_image_in_evaluation_equals_its_row_of_the_batch() -> None:
    network = make_network().double().eval()
    images = make_images().double()
    alone = network(images[2:3], MODALITIES[2:3])
    mixed = network(images, MODALITIES)
    torch.testing.assert_close(alone.embedding, mixed.embedding[2:3], rtol=1e-10, atol=1e-10)


def test_a_checkpoint_resumes_to_the_bit(tmp_path: Path) -> None:
    network = make_network()
    network(make_images(), MODALITIES)
    torch.save(network.state_dict(), tmp_path / "network.pt")
    torch.manual_seed(1)
    other = TwoStreamNetwork(7)
    other.load_state_dict(torch.load(tmp_path / "network.pt", weights_only=True))
    expected = network(make_images(4), MODALITIES[:4])
    assert torch.equal(other(make_images(4), MODALITIES[:4]).logits, expected.logits)


def test_resnet_takes_the_weights_of_an_ordinary_one_into_both_stems(tmp_path: Path) -> None:
    shapes = torchvision_resnet50_keys()
    assert len(shapes) == 320
    weights = {
        name: torch.full(shape, float(index), dtype=torch.int64 if shape == () else torch.float32)
        for index, (name, shape) in enumerate(shapes.items())
    }
    torch.save(weights, tmp_path / "resnet50.pth")
    network = TwoStreamResNet50()
    load_imagenet_weights(network, tmp_path / "resnet50.pth")
    state = network.state_dict()
    for name, value in weights.items():
        if name.startswith(("conv1", "bn1")):
            assert torch.equal(state[f"stem.branches.0.{name}"], value)
            assert torch.equal(state[f"stem.branches.1.{name}"], value)
        elif not name.startswith("fc"):
            assert torch.equal(state[name], value)


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    torch.save({"conv1.weight": torch.ones(64, 3, 7, 7)}, tmp_path / "other.pth")
    with pytest.raises(ValueError, match=r"other.pth must hold the state dict of a ResNet-50: "):
        load_imagenet_weights(TwoStreamResNet50(), tmp_path / "other.pth")


def test_resnet_keeps_the_resolution_of_its_last_stage() -> None:
    network = TwoStreamNetwork(7, backbone="resnet50").eval()
    with torch.no_grad():
        images, modalities = make_images(2), torch.tensor([1, 0])
        assert network.backbone(images, modalities).shape == (2, 2048, 4, 2)
        assert network(images, modalities).embedding.shape == (2, 2048)


def test_an_unknown_backbone_is_refused() -> None:
    with pytest.raises(ValueError, match="backbone must be one of small, resnet50, got 'resnet18'"):
        TwoStreamNetwork(7, backbone="resnet18")  # type: ignore[arg-type]

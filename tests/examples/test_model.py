"""Tests of the example's network and its two backbones."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from reid.network.backbone import SmallBackbone
from reid.network.model import BackboneName, TwoStreamNetwork

MODALITIES = torch.tensor([0, 1, 1, 0, 1])


def make_images(rows: int = 5) -> Tensor:
    return torch.randn(rows, 3, 64, 32, generator=torch.Generator().manual_seed(rows))


def make_network(*, enhance: bool = True) -> TwoStreamNetwork:
    torch.manual_seed(0)
    return TwoStreamNetwork(7, enhance=enhance)


def test_small_network_gives_every_output_in_its_shape() -> None:
    outputs = make_network()(make_images(), MODALITIES)
    assert outputs.features.shape == outputs.embedding.shape == (5, 384)
    assert outputs.logits.shape == (5, 7)
    assert outputs.private_logits.shape == outputs.cross_logits.shape == (5, 7)


def test_without_enhancing_there_are_no_private_classifiers() -> None:
    network = make_network(enhance=False)
    assert network(make_images(), MODALITIES)[3:] == (None, None)
    assert not [name for name in network.state_dict() if name.startswith("enhancer")]


def test_stripes_set_the_width_of_the_features() -> None:
    assert TwoStreamNetwork(7, stripes=2)(make_images(), MODALITIES).features.shape == (5, 256)


def test_every_parameter_that_learns_gets_a_gradient() -> None:
    network = make_network()
    outputs = network(make_images(), MODALITIES)
    labels = torch.tensor([0, 0, 1, 1, 2])
    loss = functional.cross_entropy(outputs.logits, labels) + outputs.features.square().mean()
    torch.autograd.backward(loss + functional.cross_entropy(outputs.private_logits, labels))
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None, name
            assert parameter.grad.any(), name


def test_the_stem_is_private_and_the_trunk_is_shared() -> None:
    backbone = SmallBackbone()
    torch.autograd.backward(backbone(make_images(2), torch.tensor([1, 1])).square().sum())
    used = {name for name, parameter in backbone.named_parameters() if parameter.grad is not None}
    unused = {name for name, _ in backbone.named_parameters()} - used
    assert unused
    assert all(name.startswith("stem.branches.0.") for name in unused)


def test_the_classifier_of_the_other_modality_scores_and_does_not_learn() -> None:
    network = make_network()
    weight = dict(network.named_parameters())["enhancer.classifier.weight"]
    nn.init.normal_(weight)
    outputs = network(make_images(), MODALITIES)
    expected = torch.stack([weight[1 - m] @ row for row, m in zip(outputs.embedding, MODALITIES, strict=True)])
    torch.testing.assert_close(outputs.cross_logits, expected)
    torch.autograd.backward(outputs.cross_logits.square().sum())
    learning = {name for name, parameter in network.named_parameters() if parameter.grad is not None}
    assert "enhancer.classifier.weight" not in learning
    assert "backbone.trunk.3.residual.0.weight" in learning


def test_the_private_classifiers_do_not_touch_the_shared_outputs() -> None:
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
    assert not torch.equal(after.private_logits, before.private_logits)


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


@pytest.mark.parametrize("backbone", ["small", "resnet50"])
@pytest.mark.parametrize("private_stages", [0, 2, 4])
def test_private_stages_learn_from_their_modality_alone(backbone: BackboneName, private_stages: int) -> None:
    network = TwoStreamNetwork(7, backbone=backbone, enhance=False, private_stages=private_stages).backbone
    images = torch.randn(2, 3, 32, 16, generator=torch.Generator().manual_seed(0))
    torch.autograd.backward(network(images, torch.tensor([1, 1])).square().sum())
    unused = {name for name, parameter in network.named_parameters() if parameter.grad is None}
    other = {name for name, _ in network.named_parameters() if name.startswith("stem.branches.0.")}
    assert unused == other
    shared = [name for name, _ in network.named_parameters() if not name.startswith("stem.")]
    stages = {".".join(name.split(".")[: 2 if backbone == "small" else 1]) for name in shared}
    assert len(stages) == 4 - private_stages


def test_more_private_stages_than_there_are_are_refused() -> None:
    with pytest.raises(ValueError, match="private_stages must be 0 to 4, got 5"):
        TwoStreamNetwork(7, private_stages=5)
    with pytest.raises(ValueError, match="private_stages must be 0 to 4, got 5"):
        TwoStreamNetwork(7, backbone="resnet50", private_stages=5)


def test_resnet_keeps_the_resolution_of_its_last_stage() -> None:
    network = TwoStreamNetwork(7, backbone="resnet50").eval()
    with torch.no_grad():
        images, modalities = make_images(2), torch.tensor([1, 0])
        assert network.backbone(images, modalities).shape == (2, 2048, 4, 2)
        assert network(images, modalities).embedding.shape == (2, 2048)


# The compiler looks at the gradient of what it is given, and hides the warning about that from all but this suite.
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")
def test_compiling_the_shared_part_changes_neither_names_nor_outputs() -> None:
    plain, compiled = make_network(), make_network()
    seen = []

    def watch(graph: torch.fx.GraphModule, inputs: list[Tensor]) -> Callable[..., Any]:
        seen.append(graph)
        return graph.forward

    compiled.compile_shared(backend=watch)
    found, expected = (network(make_images(), MODALITIES) for network in (compiled, plain))
    torch.testing.assert_close(found.embedding, expected.embedding)
    torch.testing.assert_close(found.private_logits, expected.private_logits)
    assert compiled.state_dict().keys() == plain.state_dict().keys()
    assert len(seen) == 4 + 3  # the blocks of the trunk; the pooling, the head and the enhancer: each is one graph


def test_an_unknown_backbone_is_refused() -> None:
    with pytest.raises(ValueError, match="backbone must be one of small, resnet50, got 'resnet18'"):
        TwoStreamNetwork(7, backbone="resnet18")  # type: ignore[arg-type]

"""Tests of engine and session: a training that is stopped goes on bit for bit, and tells what it does."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from examples.tiny_training import OPTIONS, Listener, assert_same, content, stop_after, tiny_data, train_tiny
from modinv.diagnostics import modality_gap
from reid.network.model import TwoStreamNetwork
from reid.training.engine import Stopped, train
from reid.training.methods import METHODS
from reid.training.objective import Objective
from reid.training.schedule import Schedule, learning_rate_share


def without_clock(content: dict[str, Any]) -> dict[str, Any]:
    """Leave out of a checkpoint how long its steps took."""
    return content | {"epoch": {name: value for name, value in content["epoch"].items() if name != "seconds"}}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "precision", "steps"),
    [
        ("full", "float32", 1),
        ("full", "float32", 4),
        ("full", "float32", 6),
        ("baseline", "fp16", 4),
        ("consistency-memory", "float32", 1),
        ("consistency-memory", "bf16", 5),
    ],
)
def test_stopped_and_resumed_training_equals_a_straight_one_bit_for_bit(
    tmp_path: Path, method: str, precision: Any, steps: int
) -> None:
    options = OPTIONS._replace(steps=7, precision=precision, clip_norm=5.0)
    heard = Listener(), Listener(), Listener()
    train_tiny(tmp_path / "straight.pt", method=method, options=options, observer=heard[0])
    with pytest.raises(Stopped):
        train_tiny(tmp_path / "resumed.pt", method=method, options=options, observer=heard[1], stop=stop_after(steps))
    assert content(tmp_path / "resumed.pt")["step"] == steps
    train_tiny(tmp_path / "resumed.pt", method=method, options=options, observer=heard[2], resume=True)
    straight, resumed = (without_clock(content(tmp_path / f"{name}.pt")) for name in ("straight", "resumed"))
    assert_same(resumed, straight)
    assert (heard[0].done, heard[1].done, heard[2].done) == (0, 0, steps)
    lines = [[(epoch.epoch, epoch.step, epoch.terms) for epoch in one.epochs] for one in heard]
    assert lines[1] + lines[2] == lines[0]


@pytest.mark.slow
def test_checkpoint_holds_the_memory_of_a_loss(tmp_path: Path) -> None:
    train_tiny(tmp_path / "one.pt", method="consistency-memory", options=OPTIONS._replace(steps=1))
    train_tiny(tmp_path / "more.pt", method="consistency-memory")
    sizes = []
    for name in ("one", "more"):
        memory = content(tmp_path / f"{name}.pt")["objective"]
        sizes += [len(value) for key, value in memory.items() if key.endswith(".features")]
    assert sizes == [16, 128]


@pytest.mark.slow
def test_resuming_a_finished_training_restores_its_network(tmp_path: Path) -> None:
    finished = train_tiny(tmp_path / "finished.pt")
    assert_same(train_tiny(tmp_path / "finished.pt", resume=True), finished)


@pytest.mark.slow
def test_training_without_resume_starts_anew(tmp_path: Path) -> None:
    first = train_tiny(tmp_path / "one.pt")
    assert_same(train_tiny(tmp_path / "one.pt"), first)


@pytest.mark.slow
def test_seeds_give_different_networks(tmp_path: Path) -> None:
    weights = [train_tiny(tmp_path / f"{seed}.pt", seed=seed)["head.neck.running_mean"] for seed in (0, 1)]
    assert not torch.equal(*weights)


@pytest.mark.slow
@pytest.mark.parametrize(
    "changed",
    [
        {"steps": 7},
        {"identities": 5},
        {"images": 1},
        {"optimizer": "sgd"},
        {"learning_rate": 1e-3},
        {"backbone_share": 0.1},
        {"weight_decay": 1.0},
        {"schedule": Schedule(warmup=0.5)},
        {"schedule": Schedule("step")},
        {"clip_norm": 0.1},
        {"precision": "bf16"},
        {"augmentation": OPTIONS.augmentation._replace(padding=0)},
    ],
)
def test_every_option_changes_the_network(tmp_path: Path, changed: dict[str, Any]) -> None:
    usual = train_tiny(tmp_path / "usual.pt")["head.classifier.weight"]
    other = train_tiny(tmp_path / "other.pt", options=OPTIONS._replace(**changed))["head.classifier.weight"]
    assert not torch.equal(usual, other)


def test_backbone_takes_its_share_of_the_learning_rate(tmp_path: Path) -> None:
    options = OPTIONS._replace(optimizer="sgd", weight_decay=0.0, steps=1)
    still, moved = (
        train_tiny(tmp_path / f"{share}.pt", options=options._replace(backbone_share=share)) for share in (0.0, 0.1)
    )
    first = train_tiny(tmp_path / "first.pt", options=options._replace(learning_rate=0.0))
    name, head = "backbone.trunk.0.residual.0.weight", "head.classifier.weight"
    assert torch.equal(still[name], first[name])
    assert not torch.equal(moved[name], first[name])
    assert not torch.equal(still[head], first[head])


def test_training_lowers_the_objective(tmp_path: Path) -> None:
    listener = Listener()
    train_tiny(tmp_path / "longer.pt", options=OPTIONS._replace(steps=50), observer=listener)
    assert listener.epochs[-1].terms["identity"] < 0.75 * math.log(5)  # where guessing stands


def test_every_epoch_is_told_with_the_means_of_its_steps(tmp_path: Path) -> None:
    listener, options = Listener(), OPTIONS._replace(steps=5)
    train_tiny(tmp_path / "state.pt", method="baseline", options=options, observer=listener)
    assert [(epoch.epoch, epoch.step) for epoch in listener.epochs] == [(1, 3), (2, 5)]
    rates = [options.learning_rate * learning_rate_share(step, 5, options.schedule) for step in range(5)]
    for epoch, steps in zip(listener.epochs, (slice(0, 3), slice(3, 5)), strict=True):
        assert epoch.learning_rate == pytest.approx(sum(rates[steps]) / len(rates[steps]))
        assert epoch.terms["total"] == pytest.approx(epoch.terms["identity"] + epoch.terms["triplet"])
        assert epoch.images_per_second * epoch.seconds == pytest.approx(16 * len(rates[steps]))


def test_gradient_norm_and_gap_are_those_of_the_batch(tmp_path: Path) -> None:
    network, listener = TwoStreamNetwork(5, enhance=False), Listener()
    seen: list[tuple[Tensor, Tensor]] = []
    network.register_forward_hook(lambda _, inputs, outputs: seen.append((outputs.embedding.detach(), inputs[1])))
    train(
        network,
        Objective(METHODS["baseline"]),
        tiny_data(),
        OPTIONS._replace(steps=1),
        seed=0,
        checkpoint=tmp_path / "state.pt",
        described={},
        observer=listener,
    )
    ((embedding, modalities),) = seen
    squares = [parameter.grad.square().sum() for parameter in network.parameters() if parameter.grad is not None]
    assert listener.epochs[0].gradient_norm == pytest.approx(float(torch.stack(squares).sum().sqrt()))
    gap = modality_gap(functional.normalize(embedding, dim=1), modalities).relative
    assert listener.epochs[0].modality_gap == pytest.approx(float(gap))


def test_checkpoints_are_written_while_training(tmp_path: Path) -> None:
    def fail_at_the_eighth() -> bool:
        if next(steps) == 7:
            raise RuntimeError("power cut")
        return False

    steps = iter(range(8))
    with pytest.raises(RuntimeError, match="power cut"):
        train_tiny(tmp_path / "cut.pt", stop=fail_at_the_eighth)
    assert content(tmp_path / "cut.pt")["step"] == 6

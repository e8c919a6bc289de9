"""Tests of reid.engine, reid.checkpoint and reid.randomness: a training that is stopped goes on bit for bit."""

import random
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import modinv
from reid.checkpoint import ResumeError, State, check_same_options, load_checkpoint, save_checkpoint
from reid.dataset import TrainingSet
from reid.engine import Stopped, TrainingOptions, extract_embeddings, learning_rate_share, train
from reid.methods import METHODS
from reid.model import TwoStreamNetwork
from reid.objective import Objective
from reid.randomness import random_states, restore_random_states, seed_everything

OPTIONS = TrainingOptions(steps=8, identities=4, images=2, checkpoint_every=3)


def tiny_data() -> TrainingSet:
    """Five identities with five images in each modality, three batches an epoch, each identity of one brightness."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(5).repeat(10)  # (50,)
    noise = torch.randint(0, 60, (50, 3, 32, 16), generator=generator)
    images = (noise + 40 * labels[:, None, None, None]).to(torch.uint8)
    return TrainingSet(images, labels, torch.arange(50) // 25, 5)


def train_tiny(
    checkpoint: Path,
    *,
    seed: int = 0,
    options: TrainingOptions = OPTIONS,
    resume: bool = False,
    stop: Callable[[], bool] = lambda: False,
    report: Callable[..., None] = lambda step, terms: None,
) -> dict[str, Tensor]:
    seed_everything(seed)
    network = TwoStreamNetwork(5)
    train(
        network,
        Objective(METHODS["full"]),
        tiny_data(),
        options,
        seed=seed,
        checkpoint=checkpoint,
        described={"seed": seed},
        resume=resume,
        stop=stop,
        report=report,
    )
    return network.state_dict()


def stop_after(steps: int) -> Callable[[], bool]:
    asked = iter([False] * steps + [True])
    return lambda: next(asked)


def content(path: Path) -> Any:
    return torch.load(path, weights_only=True)


def small_state() -> State:
    model = torch.nn.Linear(2, 2)
    return State(model, torch.optim.AdamW(model.parameters()), torch.Generator())


def assert_same(found: Any, expected: Any) -> None:
    """Compare nested dicts and sequences of tensors and numbers, bit for bit."""
    if isinstance(expected, dict):
        assert found.keys() == expected.keys()
        for key, value in expected.items():
            assert_same(found[key], value)
    elif isinstance(expected, list | tuple):
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            assert_same(one, other)
    elif isinstance(expected, Tensor):
        assert torch.equal(found, expected)
    else:
        assert found == expected


@pytest.mark.parametrize("steps", [1, 4, 6])
def test_stopped_and_resumed_training_equals_a_straight_one_bit_for_bit(tmp_path: Path, steps: int) -> None:
    train_tiny(tmp_path / "straight.pt")
    with pytest.raises(Stopped):
        train_tiny(tmp_path / "resumed.pt", stop=stop_after(steps))
    assert content(tmp_path / "resumed.pt")["step"] == steps
    train_tiny(tmp_path / "resumed.pt", resume=True)
    assert_same(content(tmp_path / "resumed.pt"), content(tmp_path / "straight.pt"))


def test_resuming_a_finished_training_restores_its_network(tmp_path: Path) -> None:
    finished = train_tiny(tmp_path / "finished.pt")
    assert_same(train_tiny(tmp_path / "finished.pt", resume=True), finished)


def test_training_without_resume_starts_anew(tmp_path: Path) -> None:
    first = train_tiny(tmp_path / "one.pt")
    assert_same(train_tiny(tmp_path / "one.pt"), first)


def test_seeds_give_different_networks(tmp_path: Path) -> None:
    weights = [train_tiny(tmp_path / f"{seed}.pt", seed=seed)["head.neck.running_mean"] for seed in (0, 1)]
    assert not torch.equal(*weights)


@pytest.mark.parametrize(
    "changed",
    [
        {"steps": 7},
        {"identities": 5},
        {"images": 1},
        {"learning_rate": 1e-3},
        {"weight_decay": 1.0},
        {"warmup": 0.5},
        {"augmentation": OPTIONS.augmentation._replace(padding=0)},
    ],
)
def test_every_option_changes_the_network(tmp_path: Path, changed: dict[str, Any]) -> None:
    usual = train_tiny(tmp_path / "usual.pt")["head.classifier.weight"]
    other = train_tiny(tmp_path / "other.pt", options=OPTIONS._replace(**changed))["head.classifier.weight"]
    assert not torch.equal(usual, other)


def test_training_lowers_the_objective(tmp_path: Path) -> None:
    seen: dict[int, float] = {}
    train_tiny(
        tmp_path / "longer.pt",
        options=OPTIONS._replace(steps=50),
        report=lambda step, terms: seen.update({step: terms["identity"]}),
    )
    assert list(seen) == [25, 50]
    assert seen[50] < 0.75 * np.log(5)  # where guessing stands


def test_checkpoints_are_written_while_training(tmp_path: Path) -> None:
    def fail_at_the_eighth() -> bool:
        if next(steps) == 7:
            raise RuntimeError("power cut")
        return False

    steps = iter(range(8))
    with pytest.raises(RuntimeError, match="power cut"):
        train_tiny(tmp_path / "cut.pt", stop=fail_at_the_eighth)
    assert content(tmp_path / "cut.pt")["step"] == 6


def test_failed_write_leaves_the_last_checkpoint_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def half(value: object, file: Path) -> None:
        file.write_bytes(b"PK")
        raise OSError("disk full")

    path, state = tmp_path / "state.pt", small_state()
    save_checkpoint(path, state, 3, {})
    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", half)
        with pytest.raises(OSError, match="disk full"):
            save_checkpoint(path, state, 4, {})
    assert load_checkpoint(path, small_state(), {}) == 3


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04", b"no checkpoint at all"])
def test_damaged_checkpoint_is_refused_in_a_sentence(tmp_path: Path, damage: bytes) -> None:
    path = tmp_path / "state.pt"
    path.write_bytes(damage)
    with pytest.raises(ResumeError, match=r"state\.pt is not a whole checkpoint .* without --resume"):
        load_checkpoint(path, small_state(), {})


def test_checkpoint_of_other_options_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "state.pt"
    save_checkpoint(path, small_state(), 3, {"steps": 10, "flip": 0.5})
    with pytest.raises(ResumeError, match=r"was made with steps 10 \(now 20\): give the same options"):
        load_checkpoint(path, small_state(), {"steps": 20, "flip": 0.5})


def test_options_that_are_missing_count_as_different(tmp_path: Path) -> None:
    check_same_options(tmp_path, {"flip": 0.5, "threads": 2}, {"flip": 0.5})
    with pytest.raises(ResumeError, match=r"gray None \(now 0.5\)"):
        check_same_options(tmp_path, {"flip": 0.5}, {"flip": 0.5, "gray": 0.5})


def test_random_states_bring_back_every_source() -> None:
    def draw() -> tuple[float, float, float]:
        return random.random(), float(np.random.normal()), float(torch.rand(()))  # noqa: NPY002

    states = random_states()
    expected = draw()
    seed_everything(7)
    assert not set(draw()) & set(expected)
    restore_random_states(states)
    assert draw() == expected


def test_seeding_fixes_every_source() -> None:
    draws = []
    for _ in range(2):
        seed_everything(5)
        draws.append((random.random(), float(np.random.normal()), float(torch.rand(()))))  # noqa: NPY002
    assert draws[0] == draws[1]


def test_learning_rate_rises_linearly_then_falls_as_a_cosine() -> None:
    shares = [learning_rate_share(step, TrainingOptions(steps=1000, warmup=0.1)) for step in range(1000)]
    assert shares[:100] == pytest.approx([(step + 1) / 100 for step in range(100)])
    assert shares[549] == pytest.approx(0.5, abs=2e-3)
    assert all(later < earlier for earlier, later in pairwise(shares[99:]))
    assert 0 < shares[-1] < 1e-5


def test_learning_rate_without_warmup_starts_at_the_top() -> None:
    assert learning_rate_share(0, TrainingOptions(steps=10, warmup=0.0)) == pytest.approx(1, abs=0.03)


def test_embeddings_do_not_depend_on_the_batch_size() -> None:
    data, network = tiny_data(), TwoStreamNetwork(5)
    parts = [extract_embeddings(network, data.images, data.modalities, batch_size=size) for size in (7, 50)]
    assert parts[0].shape == (50, 384)
    torch.testing.assert_close(*parts, rtol=1e-5, atol=1e-5)


def test_extraction_changes_neither_the_mode_nor_the_statistics_of_the_network() -> None:
    data, network = tiny_data(), TwoStreamNetwork(5)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    embeddings = extract_embeddings(network, data.images, data.modalities)
    assert network.training
    assert not embeddings.requires_grad
    assert_same(network.state_dict(), before)


def test_extraction_sends_each_row_through_its_modality() -> None:
    data, network = tiny_data(), TwoStreamNetwork(5)
    swapped = modinv.INFRARED - data.modalities
    embeddings = extract_embeddings(network, data.images, data.modalities)
    assert not torch.allclose(embeddings, extract_embeddings(network, data.images, swapped), rtol=1e-2)

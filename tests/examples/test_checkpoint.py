"""Tests of checkpoint, whole_file and randomness: what is on the disk is whole, or the old one."""

import errno
import io
import os
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from reid.training.checkpoint import (
    ResumeError,
    State,
    check_same_options,
    load_checkpoint,
    read_checkpoint,
    save_checkpoint,
)
from reid.training.randomness import deterministic_algorithms, random_states, restore_random_states, seed_everything
from reid.whole_file import NotWrittenError, write_whole


def small_state() -> State:
    model = torch.nn.Linear(2, 2)
    return State({"model": model, "optimizer": torch.optim.AdamW(model.parameters())}, torch.Generator())


class FullFile(io.BytesIO):
    """A file on a disk without room."""

    def write(self, *_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def no_room_for_bytes(patch: pytest.MonkeyPatch) -> None:
    """A disk that takes the name of a file, and nothing else."""
    original = Path.open

    def opened(path: Path, mode: str = "r", **keywords: object) -> object:
        if mode != "wb":
            return original(path, mode, **keywords)  # type: ignore[call-overload]
        path.touch()
        return FullFile()

    patch.setattr(Path, "open", opened)


def no_room_for_the_rest(patch: pytest.MonkeyPatch) -> None:
    """A disk that finds out about its size when it has to write."""

    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    patch.setattr(os, "fsync", fail)


@pytest.mark.parametrize("fill", [no_room_for_bytes, no_room_for_the_rest])
def test_full_disk_leaves_the_last_checkpoint_whole_and_is_told_in_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fill: Callable[[pytest.MonkeyPatch], None]
) -> None:
    path, state = tmp_path / "state.pt", small_state()
    save_checkpoint(path, state, 3, {})
    with monkeypatch.context() as patch:
        fill(patch)
        with pytest.raises(
            NotWrittenError, match=r"state\.pt could not be written \(No space left .* make room, and go on"
        ):
            save_checkpoint(path, state, 4, {})
    assert load_checkpoint(path, small_state(), {}) == 3
    assert os.listdir(tmp_path) == ["state.pt"]


def test_file_is_flushed_before_it_gets_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    original = os.fsync

    def watched(number: int) -> None:
        seen.append((tmp_path / "file").exists())
        original(number)

    monkeypatch.setattr(os, "fsync", watched)
    write_whole(tmp_path / "file", b"content")
    assert seen == [False, True]  # the bytes, then the folder
    assert (tmp_path / "file").read_bytes() == b"content"


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04", b"no checkpoint at all"])
def test_damaged_checkpoint_is_refused_in_a_sentence(tmp_path: Path, damage: bytes) -> None:
    path = tmp_path / "state.pt"
    path.write_bytes(damage)
    with pytest.raises(ResumeError, match=r"state\.pt is not a whole checkpoint .* without --resume"):
        load_checkpoint(path, small_state(), {})


def test_other_files_of_torch_are_no_checkpoints(tmp_path: Path) -> None:
    torch.save(torch.ones(3), tmp_path / "tensor.pt")
    torch.save({"step": 3}, tmp_path / "part.pt")
    for name in ("tensor.pt", "part.pt"):
        with pytest.raises(ResumeError, match="is not a whole checkpoint"):
            read_checkpoint(tmp_path / name)


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


@pytest.mark.parametrize("wanted", [True, False])
def test_deterministic_algorithms_are_asked_for_inside_of_the_block_only(wanted: bool) -> None:
    with deterministic_algorithms(wanted):
        assert torch.are_deterministic_algorithms_enabled() is wanted
    assert not torch.are_deterministic_algorithms_enabled()

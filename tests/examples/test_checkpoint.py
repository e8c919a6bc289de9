"""Tests of checkpoint and randomness: what is on the disk is whole, or the old one, or refused."""

import errno
import io
import os
import pickle
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

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
    write_checkpoint,
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
        if mode != "xb":
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


def saved_state(path: Path) -> bytes:
    save_checkpoint(path, small_state(), 3, {"steps": 10})
    return path.read_bytes()


def test_whatever_bit_is_flipped_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "state.pt"
    whole = saved_state(path)
    for place in [*range(0, len(whole), 37), *range(len(whole) - 70, len(whole))]:
        damaged = bytearray(whole)
        damaged[place] ^= 1 << place % 8
        path.write_bytes(damaged)
        with pytest.raises(
            ResumeError, match=r"state\.pt is not a whole checkpoint .*: start anew without --resume\.$"
        ):
            load_checkpoint(path, small_state(), {})


@pytest.mark.parametrize("length", [0, 1, 63, 64, 65, 1000, -1, -64, -90])
def test_cut_file_is_refused(tmp_path: Path, length: int) -> None:
    path = tmp_path / "state.pt"
    path.write_bytes(saved_state(path)[:length])
    with pytest.raises(ResumeError, match="is not a whole checkpoint"):
        read_checkpoint(path, "copy it again")


@pytest.mark.parametrize("damage", [bytes(5000), b"PK\x03\x04", b"no checkpoint at all", pickle.dumps({"step": 3})])
def test_file_of_something_else_is_refused(tmp_path: Path, damage: bytes) -> None:
    (tmp_path / "state.pt").write_bytes(damage)
    with pytest.raises(ResumeError, match=r"which holds the step, the options .* a checksum .*: copy it again\.$"):
        read_checkpoint(tmp_path / "state.pt", "copy it again")


@pytest.mark.parametrize("content", [torch.ones(3), {"step": 3}, {"step": 3, "options": {}, "model": {}}])
def test_other_files_of_torch_are_no_checkpoints(tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / "other.pt")
    with pytest.raises(ResumeError, match="is not a whole checkpoint"):
        read_checkpoint(tmp_path / "other.pt", "copy it again")


@pytest.mark.parametrize("changed", [{"step": None}, {"options": None}, {"options": [1]}, {"model": None}, {}])
def test_parts_of_a_checkpoint_have_their_types(tmp_path: Path, changed: dict[str, Any]) -> None:
    content = {"step": 3, "options": {}, "model": {}} | changed
    write_checkpoint(tmp_path / "state.pt", content)
    if not changed:
        assert read_checkpoint(tmp_path / "state.pt", "copy it again") == content
        return
    with pytest.raises(ResumeError, match="is not a whole checkpoint"):
        read_checkpoint(tmp_path / "state.pt", "copy it again")


@pytest.mark.parametrize("part", ["model", "optimizer", "generator", "random"])
@pytest.mark.parametrize("value", [{}, [1], 3, torch.ones(2)])
def test_part_that_does_not_fit_the_training_is_refused(tmp_path: Path, part: str, value: object) -> None:
    path = tmp_path / "state.pt"
    saved_state(path)
    write_checkpoint(path, {**read_checkpoint(path, ""), part: value})
    with pytest.raises(ResumeError, match="is not a whole checkpoint"):
        load_checkpoint(path, small_state(), {})


def test_file_with_its_checksum_is_still_one_of_torch(tmp_path: Path) -> None:
    saved_state(tmp_path / "state.pt")
    assert torch.load(tmp_path / "state.pt", weights_only=True)["options"] == {"steps": 10}


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

"""Tests of whole_file: links, folders, devices, and several writers of one file."""

import os
import stat
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from reid.whole_file import NotWrittenError, write_whole


def test_symbolic_link_is_written_through(tmp_path: Path) -> None:
    (tmp_path / "target").write_bytes(b"old")
    (tmp_path / "link").symlink_to("target")
    (tmp_path / "chain").symlink_to(tmp_path / "link")
    write_whole(tmp_path / "chain", b"new")
    assert (tmp_path / "target").read_bytes() == b"new"
    assert (tmp_path / "chain").is_symlink()
    assert (tmp_path / "link").is_symlink()


def test_link_to_a_file_that_is_not_there_yet_makes_it_where_it_leads(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "folder" / "target")
    write_whole(tmp_path / "link", b"new")
    assert (tmp_path / "folder" / "target").read_bytes() == b"new"


def test_what_is_no_file_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("pipe")  # no device of the machine: a test that fails must not replace it
    for name in ("folder", "pipe", "link"):
        with pytest.raises(NotWrittenError, match=rf"{name} could not be written \(a folder or a device has this name"):
            write_whole(tmp_path / name, b"new")
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)
    assert (tmp_path / "link").is_symlink()
    assert sorted(os.listdir(tmp_path)) == ["folder", "link", "pipe"]


@pytest.mark.parametrize("name", ["file/inner", "file/deep/inner", "x" * 300, "loop/inner"])
def test_path_that_cannot_be_is_refused_in_a_sentence(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_bytes(b"old")
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(NotWrittenError, match=r"could not be written .*: give a file that can be written\.$"):
        write_whole(tmp_path / name, b"new")
    assert (tmp_path / "file").read_bytes() == b"old"


def test_writers_of_one_file_do_not_fail_each_other(tmp_path: Path) -> None:
    contents = [bytes([number]) * 300_000 for number in range(8)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda content: write_whole(tmp_path / "file", content), contents * 3))
    assert (tmp_path / "file").read_bytes() in contents
    assert os.listdir(tmp_path) == ["file"]


def test_replaced_file_keeps_its_permissions(tmp_path: Path) -> None:
    (tmp_path / "file").touch(mode=0o600)
    write_whole(tmp_path / "file", b"new")
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o600


def test_leftover_of_a_killed_write_is_removed_by_a_later_one(tmp_path: Path) -> None:
    old, young, other = (tmp_path / name for name in ("a.0.partial", "a.1.partial", "b.0.partial"))
    for file in (old, young, other):
        file.touch()
    for file in (old, other):
        os.utime(file, (time.time() - 7200, time.time() - 7200))
    write_whole(tmp_path / "a", b"whole")
    assert not old.exists()
    assert young.exists()  # somebody may be writing it
    assert other.exists()

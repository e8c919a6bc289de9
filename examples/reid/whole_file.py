"""Replaces a file at once: a reader, a power cut or a full disk never leaves half of it."""

import errno
import glob
import os
import secrets
import shutil
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

__all__ = ["NotWrittenError", "Part", "write_parts", "write_whole"]

Part = bytes | bytearray | memoryview

# Who still writes does so every few moments; a file that rests as long was left by a process that was killed.
_LEFT_AFTER: Final = 3600.0  # seconds
_NO_ROOM: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class NotWrittenError(OSError):
    """A file could not be written; what stood there before is still whole. The message is a sentence."""


def write_whole(path: Path, content: Part) -> None:
    """Write a file; see `write_parts`."""
    write_parts(path, [content])


def write_parts(path: Path, parts: Iterable[Part]) -> None:
    """Write parts one after the other aside, wait until the disk has them, and rename.

    Every call writes aside under a name of its own, so that processes may write one file: the last one wins. A
    process that is killed meanwhile leaves ``NAME.….partial``, which a later call removes.

    Args:
        path: of the file, replaced when it exists; missing folders are made. Where it is a symbolic link, the file
            that it leads to is replaced.
        parts: of its content.

    Raises:
        NotWrittenError: when the disk is full or refuses, or a folder or a device has the name; an old file stays
            as it is.
    """
    try:
        if path.exists() and not path.is_file():
            raise OSError(errno.EINVAL, "a folder or a device has this name")
        target = Path(os.path.realpath(path))
        target.parent.mkdir(parents=True, exist_ok=True)
        _replace(target, parts)
    except OSError as error:
        advice = (
            "make room, and go on with the same command, a training with --resume"
            if error.errno in _NO_ROOM
            else "give a file that can be written"
        )
        raise NotWrittenError(
            f"{path} could not be written ({error.strerror or error}), what was there before is whole: {advice}."
        ) from error


def _replace(target: Path, parts: Iterable[Part]) -> None:
    _remove_leftovers(target)
    aside = target.with_name(f"{target.name}.{secrets.token_hex(4)}.partial")
    try:
        with aside.open("xb") as file:
            for part in parts:
                file.write(part)
            file.flush()
            os.fsync(file.fileno())  # a name must not come to the disk before the bytes that it names
        if target.exists():
            shutil.copymode(target, aside)
        aside.replace(target)
    finally:
        with suppress(OSError):
            aside.unlink(missing_ok=True)  # on a full disk its bytes are needed
    with suppress(OSError):  # where folders cannot be flushed, the system does it in its own time
        _flush(target.parent)


def _remove_leftovers(target: Path) -> None:
    for partial in target.parent.glob(f"{glob.escape(target.name)}.*.partial"):
        with suppress(OSError):  # where another process was quicker
            if time.time() - partial.stat().st_mtime > _LEFT_AFTER:
                partial.unlink()


def _flush(folder: Path) -> None:
    """Let the disk know the new name too."""
    number = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)

"""Replaces a file at once: a reader, a power cut or a full disk never leaves half of it."""

import os
from pathlib import Path

__all__ = ["NotWrittenError", "write_whole"]


class NotWrittenError(OSError):
    """A file could not be written; what stood there before is still whole. The message is a sentence."""


def write_whole(path: Path, content: bytes | bytearray | memoryview) -> None:
    """Write bytes aside, wait until the disk has them, and rename.

    Args:
        path: of the file, replaced when it exists; missing folders are made.
        content: all of it.

    Raises:
        NotWrittenError: when the disk is full or refuses; an old file stays as it is.
    """
    aside = path.with_name(path.name + ".partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with aside.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())  # a name must not come to the disk before the bytes that it names
        aside.replace(path)
        _flush_folder(path.parent)
    except OSError as error:
        aside.unlink(missing_ok=True)  # on a full disk its bytes are needed
        raise NotWrittenError(
            f"{path} could not be written ({error.strerror or error}), what was there before is whole: "
            "make room, and go on with the same command and --resume."
        ) from error


def _flush_folder(folder: Path) -> None:
    """Let the disk know the new name too; where folders cannot be opened, the system does it in its own time."""
    if os.name != "posix":
        return
    number = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)

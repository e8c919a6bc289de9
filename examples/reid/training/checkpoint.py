"""A whole training in one file, so that it goes on as if nothing had happened.

The file is one of torch, a zip archive; the comment of the archive is the SHA-256 of the bytes before it.
"""

import hashlib
import io
from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, Final, NamedTuple, Protocol

import torch

from reid.training.randomness import random_states, restore_random_states
from reid.whole_file import write_whole

__all__ = ["ResumeError", "State", "Stateful", "check_same_options", "load_checkpoint", "read_checkpoint"]
__all__ += ["save_checkpoint", "write_checkpoint"]

# Of the hexadecimal digits of a SHA-256, as the last two bytes of a zip archive without its comment have it.
_COMMENT: Final = (64).to_bytes(2, "little")
_DAMAGES: Final = (RuntimeError, UnpicklingError, EOFError, LookupError, TypeError, AttributeError, ValueError)


class ResumeError(ValueError):
    """The program cannot go on from a file: it is damaged, or was made with other options."""


class Stateful(Protocol):
    """A network, an optimizer, losses with a memory, a scaler, the means of an epoch, the best model so far."""

    def state_dict(self) -> Mapping[str, Any]:
        """Return tensors, numbers, texts, lists and dictionaries."""

    def load_state_dict(self, state: Any, /) -> Any:
        """Fill in what `state_dict` gave."""


class State(NamedTuple):
    """What changes while training; the schedules and the batches are functions of the step, and need no state."""

    parts: Mapping[str, Stateful]
    """By name; "model" is the network."""
    generator: torch.Generator
    """Of the augmentation; the global generators are kept beside it."""


def save_checkpoint(path: Path, state: State, step: int, options: Mapping[str, Any]) -> None:
    """Write a training after some steps, with its options as JSON values; it is only read.

    Raises:
        NotWrittenError: when the disk is full; the last checkpoint stays whole.
    """
    content = {
        "step": step,
        "options": dict(options),
        **{name: part.state_dict() for name, part in state.parts.items()},
        "generator": state.generator.get_state(),
        "random": random_states(),
    }
    write_checkpoint(path, content)


def write_checkpoint(path: Path, content: Mapping[str, Any]) -> None:
    """Write ``"step"``, ``"options"``, ``"model"``, and what else `torch.load` takes for weights only.

    Raises:
        NotWrittenError: when the disk is full; the last checkpoint stays whole.
    """
    memory = io.BytesIO()  # torch writes to a full disk with errors of its own, Python's are clear
    torch.save(dict(content), memory)
    memory.seek(-2, io.SEEK_END)
    memory.write(_COMMENT)
    memory.write(_checksum(memory.getbuffer()))
    write_whole(path, memory.getbuffer())


def load_checkpoint(path: Path, state: State, options: Mapping[str, Any]) -> int:
    """Put a training where it was, the global random generators included, and return how many steps are done.

    Raises:
        ResumeError: when the file is no checkpoint, or was made with other options.
    """
    otherwise = "start anew without --resume"
    content = read_checkpoint(path, otherwise)
    check_same_options(path, content["options"], options)
    try:
        for name, part in state.parts.items():
            part.load_state_dict(content[name])
        state.generator.set_state(content["generator"])
        restore_random_states(content["random"])
        return int(content["step"])
    except _DAMAGES as error:
        raise _damaged(path, error, otherwise) from error


def read_checkpoint(path: Path, otherwise: str) -> dict[str, Any]:
    """Read what `write_checkpoint` wrote.

    Args:
        path: of the file.
        otherwise: what to do where it is none, for the message.

    Raises:
        ResumeError: when the file is no checkpoint, or a bit of it has changed.
    """
    try:
        return _checked(memoryview(path.read_bytes()))
    except (OSError, *_DAMAGES) as error:
        raise _damaged(path, error, otherwise) from error


def check_same_options(path: Path, stored: Mapping[str, Any], asked: Mapping[str, Any]) -> None:
    """Refuse to mix numbers that were made in different ways.

    Args:
        path: of the file, for the message.
        stored: the options in it; it may hold more than what is asked for now.
        asked: the options now.

    Raises:
        ResumeError: naming the options that differ.
    """
    names = [name for name in asked if stored.get(name) != asked[name]]
    if names:
        shown = ", ".join(f"{name} {stored.get(name)!r} (now {asked[name]!r})" for name in names)
        raise ResumeError(
            f"{path} was made with {shown}: give the same options, another --name, or start anew without --resume."
        )


def _checked(whole: memoryview) -> dict[str, Any]:
    if whole[-64:] != _checksum(whole[:-64]):
        raise ValueError
    # To the CPU first: generators live there, and the optimizer moves its own tensors.
    content: dict[str, Any] = torch.load(io.BytesIO(whole), map_location="cpu", weights_only=True)
    if not all(isinstance(content[name], kind) for name, kind in (("step", int), ("options", dict), ("model", dict))):
        raise TypeError
    return content


def _checksum(content: memoryview) -> bytes:
    return hashlib.sha256(content).hexdigest().encode()


def _damaged(path: Path, error: Exception, otherwise: str) -> ResumeError:
    return ResumeError(
        f"{path} is not a whole checkpoint of this example, which holds the step, the options and the model of a "
        f"training, and a checksum that fits ({type(error).__name__}): {otherwise}."
    )

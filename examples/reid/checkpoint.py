"""A training in one file: written aside and renamed, so that a reader never sees half of it."""

import os
from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, NamedTuple

import torch
from torch import nn

from reid.randomness import random_states, restore_random_states

__all__ = ["ResumeError", "State", "check_same_options", "load_checkpoint", "save_checkpoint"]


class ResumeError(ValueError):
    """What should be continued cannot be: it is damaged, or was made with other options."""


class State(NamedTuple):
    """What changes while training; the schedules are functions of the step, and need no state."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    generator: torch.Generator
    """Of the augmentation; the global generators are kept beside it."""


def save_checkpoint(path: Path, state: State, step: int, options: Mapping[str, Any]) -> None:
    """Write the state of a training.

    Args:
        path: of the file, replaced when it exists; missing folders are made.
        state: the training; it is only read.
        step: how many steps are done.
        options: what the training was made with, JSON values; `load_checkpoint` compares them.
    """
    content = {
        "step": step,
        "options": dict(options),
        "model": state.model.state_dict(),
        "optimizer": state.optimizer.state_dict(),
        "generator": state.generator.get_state(),
        "random": random_states(),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(path.name + ".partial")
    torch.save(content, aside)
    os.replace(aside, path)


def load_checkpoint(path: Path, state: State, options: Mapping[str, Any]) -> int:
    """Put a training where it was, the global random generators included.

    Args:
        path: of the file.
        state: filled in place.
        options: those of the training that goes on.

    Returns:
        How many steps are done.

    Raises:
        ResumeError: when the file is no checkpoint, or was made with other options.
    """
    try:
        # To the CPU first: generators live there, and the optimizer moves its own tensors.
        content = torch.load(path, map_location="cpu", weights_only=True)
        stored, step = content["options"], int(content["step"])
    except (OSError, RuntimeError, UnpicklingError, EOFError, KeyError, TypeError) as error:
        raise ResumeError(
            f"{path} is not a whole checkpoint of this program ({type(error).__name__}): "
            "delete it, or start anew without --resume."
        ) from error
    check_same_options(path, stored, options)
    state.model.load_state_dict(content["model"])
    state.optimizer.load_state_dict(content["optimizer"])
    state.generator.set_state(content["generator"])
    restore_random_states(content["random"])
    return step


def check_same_options(path: Path, stored: Mapping[str, Any], asked: Mapping[str, Any]) -> None:
    """Refuse to mix numbers that were made in different ways.

    Args:
        path: of the file that is continued, for the message.
        stored: the options in it; what is not asked for now may stand there besides.
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

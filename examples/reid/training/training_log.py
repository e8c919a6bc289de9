"""Writes an epoch as a line on the terminal, as a line of a CSV file, and to TensorBoard."""

import csv
import importlib
import io
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from reid.training.epochs import Epoch
from reid.whole_file import NotWrittenError, write_whole

__all__ = ["MissingTensorBoardError", "epoch_line", "open_csv", "open_tensorboard"]
__all__ += ["read_csv", "require_tensorboard"]

_NUMBERS: Final = tuple(name for name in Epoch._fields if name != "terms")


class MissingTensorBoardError(ImportError):
    """``--tensorboard`` is given, but TensorBoard is not installed."""


def epoch_line(title: str, epoch: Epoch, steps: int) -> str:
    """Say in one line what an epoch of a model came to."""
    parts = [
        f"{title}: epoch {epoch.epoch}",
        f"step {epoch.step}/{steps}",
        f"{epoch.seconds:.1f} s",
        f"{epoch.images_per_second:.0f} images/s",
        f"learning rate {epoch.learning_rate:.2e}",
        f"gradient {epoch.gradient_norm:.3g}",
        f"gap {epoch.modality_gap:.3g}",
        *(f"{name} {value:.4g}" for name, value in epoch.terms.items()),
    ]
    if math.isfinite(epoch.peak_memory):
        parts.insert(4, f"{epoch.peak_memory:.0f} MB")
    return ", ".join(parts)


def open_csv(path: Path, *, done: int) -> Callable[[Epoch], None]:
    """Begin a file of one line per epoch, or go on with it.

    Args:
        path: of the file; missing folders are made.
        done: steps after which a training goes on; lines of later ones, which an interruption left, are dropped.

    Returns:
        A function that adds a line. The first one writes the names of the columns.
    """
    lines = [line for line in read_csv(path) if int(line["step"]) <= done] if done else []
    write_whole(path, _text(lines).encode() if lines else b"")

    def write(epoch: Epoch) -> None:
        text = _text([_record(epoch)])
        try:
            with path.open("a", encoding="utf-8", newline="") as file:
                file.write(text if not path.stat().st_size else text.split("\n", 1)[1])
        except OSError as error:
            raise NotWrittenError(
                f"{path} could not be written ({error.strerror}), the last checkpoint is whole: "
                "make room, and go on with the same command, a training with --resume."
            ) from error

    return write


def read_csv(path: Path) -> list[dict[str, str]]:
    """Read the lines of a CSV file, if it exists, without a torn one as an interruption leaves it."""
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    return [line for line in lines if None not in {*line, *line.values()} and line["step"].isdecimal()]


def open_tensorboard(folder: Path, *, done: int) -> Callable[[Epoch], None]:
    """Begin or go on with a TensorBoard log, and return a function that writes every number of an epoch.

    Args:
        folder: of the log.
        done: steps after which a training goes on; later events, which an interruption left, are hidden.

    Raises:
        MissingTensorBoardError: one sentence.
    """
    writer = require_tensorboard().SummaryWriter(str(folder), purge_step=done + 1 if done else None)

    def write(epoch: Epoch) -> None:
        record = {name: getattr(epoch, name) for name in _NUMBERS[2:]} | dict(epoch.terms)
        for name, value in record.items():
            if not (name == "peak_memory" and math.isnan(value)):
                writer.add_scalar(name, value, epoch.step)
        writer.flush()

    return write


def require_tensorboard() -> Any:
    """Import `torch.utils.tensorboard`, or raise a MissingTensorBoardError."""
    try:
        return importlib.import_module("torch.utils.tensorboard")
    except ImportError as error:
        raise MissingTensorBoardError(
            f"--tensorboard needs the package tensorboard ({error}): python -m pip install tensorboard, "
            "or leave the option out; the CSV file holds the same numbers."
        ) from error


def _record(epoch: Epoch) -> dict[str, Any]:
    return {name: getattr(epoch, name) for name in _NUMBERS} | dict(epoch.terms)


def _text(lines: Sequence[Mapping[str, Any]]) -> str:
    file = io.StringIO(newline="")
    writer = csv.DictWriter(file, fieldnames=list(lines[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return file.getvalue()

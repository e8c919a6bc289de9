"""Follows one training: its log, and the choice of its best epoch."""

from collections.abc import Callable, Mapping
from pathlib import Path

from torch import nn
from tqdm import tqdm
from typing_extensions import override

from reid.training.checkpoint import Stateful
from reid.training.epochs import Epoch
from reid.training.selection import BestModel
from reid.training.session import Observer
from reid.training.training_log import epoch_line, open_csv, open_tensorboard

__all__ = ["Recorder"]


class Recorder(Observer):
    """Write each epoch to the terminal, a CSV file and perhaps TensorBoard, and let the best model be chosen.

    The log is ``STEM.csv``, beside it ``tensorboard/STEM``. Without `best`, the last epoch is taken.
    """

    def __init__(
        self, network: nn.Module, title: str, stem: Path, steps: int, best: BestModel | None, *, tensorboard: bool
    ) -> None:
        self._network = network
        self._title = title
        self._stem = stem
        self._steps = steps
        self._best = best
        self._tensorboard = tensorboard
        self._writers: tuple[Callable[[Epoch], None], ...] = ()

    @override
    def begin(self, done: int) -> None:
        self._writers = (open_csv(self._stem.with_name(f"{self._stem.name}.csv"), done=done),)
        if self._tensorboard:
            self._writers += (open_tensorboard(self._stem.parent / "tensorboard" / self._stem.name, done=done),)

    @override
    def end_epoch(self, epoch: Epoch) -> None:
        precision = None if self._best is None else self._best.consider(epoch, self._network)
        for write in self._writers:
            write(epoch)
        line = epoch_line(self._title, epoch, self._steps)
        tqdm.write(line if precision is None else f"{line}, mAP {100 * precision:.2f}")

    @override
    def parts(self) -> Mapping[str, Stateful]:
        return {} if self._best is None else {"best": self._best}

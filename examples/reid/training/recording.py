"""Follows one training: its log, and the choice of its best epoch."""

from collections.abc import Callable, Mapping
from pathlib import Path

from torch import nn
from tqdm import tqdm
from typing_extensions import override

from reid.experiments.settings import Settings, Task
from reid.training.checkpoint import Stateful
from reid.training.epochs import Epoch
from reid.training.selection import BestModel
from reid.training.session import Observer
from reid.training.training_log import epoch_line, open_csv, open_tensorboard

__all__ = ["Recorder"]


class Recorder(Observer):
    """Write each epoch to the terminal, a CSV file and perhaps TensorBoard, and let the best model be chosen.

    Args:
        network: that is trained.
        task: names the files, ``METHOD-seedN.csv`` and the folder ``tensorboard/METHOD-seedN``.
        settings: tell the number of steps, and whether TensorBoard is asked for.
        folder: of the run.
        best: who chooses; None: the last epoch is taken.
    """

    def __init__(
        self, network: nn.Module, task: Task, settings: Settings, folder: Path, best: BestModel | None
    ) -> None:
        self._network = network
        self._task = task
        self._settings = settings
        self._folder = folder
        self._best = best
        self._writers: tuple[Callable[[Epoch], None], ...] = ()

    @override
    def begin(self, done: int) -> None:
        self._writers = (open_csv(self._folder / f"{self._task.name}.csv", done=done),)
        if self._settings.tensorboard:
            self._writers += (open_tensorboard(self._folder / "tensorboard" / self._task.name, done=done),)

    @override
    def end_epoch(self, epoch: Epoch) -> None:
        precision = None if self._best is None else self._best.consider(epoch, self._network)
        for write in self._writers:
            write(epoch)
        line = epoch_line(self._task.title, epoch, self._settings.training.steps)
        tqdm.write(line if precision is None else f"{line}, mAP {100 * precision:.2f}")

    @override
    def parts(self) -> Mapping[str, Stateful]:
        return {} if self._best is None else {"best": self._best}

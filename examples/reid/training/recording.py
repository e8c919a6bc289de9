"""The callbacks of a training run: its log, and the choice of its best epoch."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
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


@dataclass
class Recorder(Observer):
    """Write each epoch to the terminal, a CSV file and perhaps TensorBoard, and let the best model be chosen.

    The log is ``STEM.csv``, beside it ``tensorboard/STEM``. Without `best`, the last epoch is taken.
    """

    network: nn.Module
    title: str
    stem: Path
    steps: int
    best: BestModel | None
    tensorboard: bool
    _writers: tuple[Callable[[Epoch], None], ...] = ()

    @override
    def begin(self, done: int) -> None:
        self._writers = (open_csv(self.stem.with_name(f"{self.stem.name}.csv"), done=done),)
        if self.tensorboard:
            self._writers += (open_tensorboard(self.stem.parent / "tensorboard" / self.stem.name, done=done),)

    @override
    def end_epoch(self, epoch: Epoch) -> None:
        precision = None if self.best is None else self.best.consider(epoch, self.network)
        for write in self._writers:
            write(epoch)
        line = epoch_line(self.title, epoch, self.steps)
        tqdm.write(line if precision is None else f"{line}, mAP {100 * precision:.2f}")

    @override
    def parts(self) -> Mapping[str, Stateful]:
        return {} if self.best is None else {"best": self.best}

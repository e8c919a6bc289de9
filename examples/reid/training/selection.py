"""Keeps the weights of the epoch that scored best on images outside of training."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from torch import nn

from reid.data.dataset import HeldOutSet
from reid.evaluation.scores import average
from reid.network.extraction import extract_embeddings
from reid.protocols import evaluate_trials
from reid.training.checkpoint import check_same_options, read_checkpoint, write_checkpoint
from reid.training.epochs import Epoch

__all__ = ["TEST_WARNING", "BestModel", "Selection"]

Selection = Literal["last", "validation", "test"]

TEST_WARNING: Final = (
    "THE EPOCH OF EACH MODEL WAS CHOSEN ON THE TEST SET: these numbers are too good, and are made only to stand "
    "beside published ones that were made in the same way."
)


@dataclass
class BestModel:
    """Score the network every few epochs and at the end, and keep the best weights in a file of their own.

    Best is the largest mAP, the mean over the trials; of equal ones the first. `read_checkpoint` reads the file.
    """

    path: Path
    held_out: HeldOutSet
    every: int
    steps: int
    options: Mapping[str, Any]
    precision: float = -math.inf
    """The largest mAP so far."""
    step: int = 0
    """Where it was reached."""

    def consider(self, epoch: Epoch, network: nn.Module) -> float | None:
        """Score the network when it is time to, and return its mAP; None where it was not scored."""
        if epoch.epoch % self.every and epoch.step < self.steps:
            return None
        images, modalities, trials = self.held_out
        embeddings = extract_embeddings(network, images, modalities, progress=False)
        precision = average(evaluate_trials(embeddings, trials)).mAP
        if precision > self.precision:
            self.precision, self.step = precision, epoch.step
            content = {"step": self.step, "options": self.options, "model": network.state_dict()}
            write_checkpoint(self.path, content)
        return precision

    def restore(self, network: nn.Module) -> None:
        """Put the best weights into a network; a ResumeError tells that their file does not fit this training."""
        content = read_checkpoint(self.path, "start anew without --resume")
        check_same_options(self.path, content["options"], self.options)  # another run may have the name
        network.load_state_dict(content["model"])

    def state_dict(self) -> dict[str, float | int]:
        """Return the best score and its step; the weights are in the file."""
        return {"precision": self.precision, "step": self.step}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on with the best score so far."""
        self.precision, self.step = float(state["precision"]), int(state["step"])

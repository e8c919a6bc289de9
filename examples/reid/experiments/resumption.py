"""Reads a results file back, so that an interrupted ablation goes on with the models it lacks."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from reid.evaluation.scores import Scores
from reid.experiments.results import Run
from reid.training.checkpoint import ResumeError, check_same_options

__all__ = ["read_runs"]


def read_runs(path: Path, options: Mapping[str, Any]) -> dict[tuple[str, int], Run]:
    """Read the runs of a file that `write_results` wrote, by the title of their method and their seed.

    Where there is no file, no run is finished yet.

    Raises:
        ResumeError: when the file is damaged, or was made with other options than those of the provenance now.
    """
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        stored = content["provenance"]["options"]
        runs = {(row["method"], run["seed"]): _run(run) for row in content["rows"] for run in row["runs"]}
    except (ValueError, KeyError, TypeError) as error:
        raise ResumeError(
            f"{path} is not a whole results file of this program ({type(error).__name__}): "
            "delete it, or start anew without --resume."
        ) from error
    check_same_options(path, stored, options)
    return runs


def _run(record: Mapping[str, Any]) -> Run:
    trials = tuple(
        Scores(**{**trial, "cmc": torch.tensor(trial["cmc"], dtype=torch.float64)}) for trial in record["trials"]
    )
    return Run(record["seed"], trials, record["checkpoint_sha256"])

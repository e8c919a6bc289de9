"""Reads a run's folder: scores and provenance, the log of every model, and embeddings before and after training."""

import csv
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from zipfile import BadZipFile

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from reid.training.methods import METHODS

__all__ = ["Embeddings", "History", "MethodScores", "Model", "Run", "read_embeddings", "read_history", "read_run"]

_MODEL_FILE = re.compile(r"(?P<method>.+)-seed(?P<seed>\d+)\.(csv|npz)")


class MethodScores(NamedTuple):
    """Scores of one method in percent, means over the trials, one per seed."""

    method: str
    """Its title."""
    seeds: tuple[int, ...]
    cmc: NDArray[np.float64]  # (S, R): rank 1, 2, …
    mAP: NDArray[np.float64]  # noqa: N815  (S,)
    mINP: NDArray[np.float64]  # noqa: N815  (S,)


class Model(NamedTuple):
    """One trained model, by the files that it left."""

    method: str
    """Title of its method."""
    seed: int
    stem: Path
    """``FOLDER/METHOD-seedN``, to which a suffix is added."""


class Run(NamedTuple):
    """Everything that a report needs to know of a folder before it opens the large files."""

    folder: Path
    scores: tuple[MethodScores, ...]
    """In the order of the results table."""
    models: tuple[Model, ...]
    """Methods in the same order, then seeds."""
    provenance: Mapping[str, Any]
    checkpoints: Mapping[str, str]
    """SHA-256 of the checkpoint of each model that was scored, by its method and seed."""
    problem: str
    """Why there are no scores, or nothing."""


class History(NamedTuple):
    """The log of one model, one value per epoch."""

    epochs: NDArray[np.float64]  # (E,)
    columns: Mapping[str, NDArray[np.float64]]  # (E,) each, in the order of the file
    """Without ``epoch`` and ``step``; NaN where the file has no number."""


class Embeddings(NamedTuple):
    """Embeddings of the same test images before the first and after the last step."""

    before: Tensor  # (N, D) float32
    after: Tensor  # (N, D) float32
    identities: Tensor  # (N,) int64
    modalities: Tensor  # (N,) int64
    cameras: tuple[int, ...]  # N
    paths: tuple[str, ...]  # N, relative to the folder of the data set


def read_run(folder: Path) -> Run:
    """Read what the results file says, and list the models of a folder.

    Args:
        folder: of the run; every file in it may be missing.

    Returns:
        The run; with a sentence instead of scores where the results file is missing or damaged.

    Raises:
        NotADirectoryError: when there is no such folder.
    """
    if not folder.is_dir():
        raise NotADirectoryError(f"{folder} must be the folder of a run, such as runs/NAME, and is no folder.")
    scores: tuple[MethodScores, ...] = ()
    provenance: Mapping[str, Any] = {}
    checkpoints: Mapping[str, str] = {}
    problem = ""
    try:
        content = json.loads((folder / "results.json").read_text(encoding="utf-8"))
        provenance = dict(content["provenance"])
        scores = tuple(_scores(row) for row in content["rows"])
        checkpoints = _checkpoints(content["rows"])
    except FileNotFoundError:
        problem = "There is no results.json in the folder: no model has been evaluated yet."
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        problem = f"results.json is not a whole results file ({type(error).__name__})."
    models = _models(folder, [row.method for row in scores])
    return Run(folder, scores, models, provenance, checkpoints, problem)


def read_history(path: Path) -> History:
    """Read the log of a model.

    Args:
        path: of ``METHOD-seedN.csv``; a torn line at its end, as an interrupted run leaves it, is left out.

    Returns:
        The epochs that are whole.

    Raises:
        OSError: when the file cannot be read.
        ValueError: when it has no epoch.
    """
    with path.open(encoding="utf-8", newline="") as file:
        head, *lines = list(csv.reader(file)) or [[]]
    table = np.array([[_number(cell) for cell in line] for line in lines if len(line) == len(head)])  # (E, C)
    if "epoch" not in head or not len(table):
        raise ValueError(f"{path.name} must have a column epoch and a line for each epoch, and has none.")
    columns = {name: table[:, place] for place, name in enumerate(head)}
    return History(columns["epoch"], {name: columns[name] for name in head if name not in ("epoch", "step")})


def read_embeddings(path: Path) -> Embeddings:
    """Read the embeddings that a model left.

    Args:
        path: of ``METHOD-seedN.npz``.

    Returns:
        The embeddings.

    Raises:
        OSError: when the file cannot be read.
        ValueError: when it is torn, lacks a part, or its parts do not fit or are not finite.
    """
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            parts = {name: file[name] for name in Embeddings._fields}
    except (BadZipFile, EOFError, AttributeError, KeyError, TypeError, ValueError) as error:
        names = ", ".join(Embeddings._fields)
        raise ValueError(f"{path.name} must be a whole .npz with {names}, and is not ({error}).") from error
    if len({len(part) for part in parts.values()}) > 1 or parts["before"].ndim != 2 or parts["after"].ndim != 2:
        shapes = {name: part.shape for name, part in parts.items()}
        raise ValueError(f"{path.name} must hold one row for each image in every part, and has {shapes}.")
    if not (np.isfinite(parts["before"]).all() and np.isfinite(parts["after"]).all()):
        raise ValueError(f"{path.name} holds embeddings that are not finite: the model has diverged.")
    return Embeddings(
        before=torch.from_numpy(parts["before"].astype(np.float32)),
        after=torch.from_numpy(parts["after"].astype(np.float32)),
        identities=torch.from_numpy(parts["identities"].astype(np.int64)),
        modalities=torch.from_numpy(parts["modalities"].astype(np.int64)),
        cameras=tuple(map(int, parts["cameras"])),
        paths=tuple(map(str, parts["paths"])),
    )


def _scores(row: Mapping[str, Any]) -> MethodScores:
    means = [run["mean"] for run in row["runs"]]
    length = min(len(mean["cmc"]) for mean in means)
    return MethodScores(
        method=str(row["method"]),
        seeds=tuple(int(run["seed"]) for run in row["runs"]),
        cmc=100 * np.array([mean["cmc"][:length] for mean in means], dtype=np.float64),
        mAP=100 * np.array([mean["mAP"] for mean in means], dtype=np.float64),
        mINP=100 * np.array([mean["mINP"] for mean in means], dtype=np.float64),
    )


def _checkpoints(rows: Sequence[Mapping[str, Any]]) -> Mapping[str, str]:
    hashes = {
        f"{row['method']}, seed {run['seed']}": run.get("checkpoint_sha256") for row in rows for run in row["runs"]
    }
    return {model: str(value) for model, value in hashes.items() if value}


def _models(folder: Path, order: list[str]) -> tuple[Model, ...]:
    found = {}
    for path in folder.iterdir():
        if match := _MODEL_FILE.fullmatch(path.name):
            key, seed = match["method"], int(match["seed"])
            title = METHODS[key].title if key in METHODS else key
            # A row may say more in brackets behind the title, such as what its epoch was chosen on.
            row = next((row for row in order if row == title or row.startswith(f"{title} [")), title)
            found[path.stem] = Model(row, seed, path.with_suffix(""))
    known = list(dict.fromkeys([*order, *(method.title for method in METHODS.values())]))
    places = {title: place for place, title in enumerate(known)}
    return tuple(sorted(found.values(), key=lambda m: (places.get(m.method, len(places)), m.method, m.seed)))


def _number(cell: str) -> float:
    try:
        return float(cell)
    except ValueError:
        return float("nan")

"""The table that papers print, and a results file that says where its numbers come from."""

import hashlib
import json
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any, NamedTuple

import numpy as np
import torch

import modinv
from reid.evaluation.scores import Scores, average
from reid.whole_file import write_whole

__all__ = ["Provenance", "Row", "Run", "aligned", "fractions", "sha256", "text_table", "versions"]
__all__ += ["write_evaluation", "write_results"]

_RANKS = (1, 5, 10, 20)


class Run(NamedTuple):
    """One trained model: its seed, and its scores on every gallery trial."""

    seed: int
    trials: tuple[Scores, ...]
    checkpoint: str | None = None  # SHA-256 of the checkpoint file, where there is one


class Row(NamedTuple):
    """One method of the table, trained with one or several seeds."""

    method: str
    runs: tuple[Run, ...]


class Provenance(NamedTuple):
    """What must be known to make the numbers again; None where a protocol knows no such thing."""

    dataset: str
    protocol: str
    gallery: str | None  # how its images are chosen
    mode: str | None
    shots: int | None
    metric: str
    normalisation: str
    options: Mapping[str, Any]  # every option of the training; JSON values and paths
    direction: str = "infrared-to-visible"  # which modality asks, and which answers
    roles: str | None = None
    """Of LLCM: whether the direction is meant as it is named, or as the published code takes it."""
    trials: int = 10
    cmc: str = "identity"  # whether the CMC ranks identities or images
    flip: bool | None = False
    """Whether features are averaged over mirror images; None where features were saved by somebody else."""
    reranking: Mapping[str, float] | None = None  # the constants of the k-reciprocal re-ranking; None without
    files: Mapping[str, str] = {}
    """SHA-256 of the features or checkpoints, and of what else was read; of a training they stand with the runs."""


def text_table(rows: Sequence[Row]) -> str:
    """Lay the scores out in aligned columns, in percent.

    Each number is the mean over the trials; with several seeds mean ± standard deviation over the seeds
    (denominator n − 1). A row without a run, or a CMC curve shorter than 20, is a ValueError.
    """
    head = ["method", *(f"R{rank}" for rank in _RANKS), "mAP", "mINP"]
    first, *lines = aligned([head, *([row.method, *_numbers(row)] for row in rows)], left=(0,))
    return "\n".join([first, "-" * max(map(len, [first, *lines])), *lines])


def aligned(cells: Sequence[Sequence[str]], left: Sequence[int]) -> list[str]:
    """Pad the cells of each column to one width, those of some columns at the right, and join them to lines."""
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    sides = ["<" if column in left else ">" for column in range(len(widths))]
    return [
        "  ".join(f"{cell:{side}{width}}" for cell, side, width in zip(line, sides, widths, strict=True)).rstrip()
        for line in cells
    ]


def fractions(run: Run) -> dict[str, float]:
    """Name the scores that the table prints."""
    return _named_fractions(average(run.trials))


def write_results(path: Path, rows: Sequence[Row], provenance: Provenance) -> None:
    """Write every score of every run with its provenance as JSON; a reader never sees half a file.

    Raises:
        ValueError: for a score that is not finite, or a row that has no run.
        TypeError: for an option that JSON does not know.
    """
    content = {
        "provenance": {**provenance._asdict(), "versions": versions()},
        "rows": [{"method": row.method, "runs": [_run_record(run) for run in row.runs]} for row in rows],
        "table": text_table(rows).splitlines(),
    }
    _write(path, content)


def write_evaluation(path: Path, trials: Sequence[Scores], provenance: Provenance, table: str) -> None:
    """Write the scores of one model, or of one for each split, as `write_results` does; their means come first."""
    mean = average(trials)
    queries, valid = (_of_one_trial([getattr(one, name) for one in trials]) for name in Scores._fields[-2:])
    content = {
        **_named_fractions(mean),
        "num_queries": queries,
        "num_valid_queries": valid,
        "trials": [{**_named_fractions(one), **_scores_record(one)} for one in trials],
        "provenance": {**provenance._asdict(), "versions": versions()},
        "table": table.splitlines(),
    }
    _write(path, content)


def versions() -> dict[str, str]:
    """Name the versions of what computed the numbers."""
    return {
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "numpy": np.__version__,
        "modinv": modinv.__version__,
    }


def sha256(path: Path) -> str:
    """Hash a file in pieces of a megabyte: 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def _numbers(row: Row) -> list[str]:
    if not row.runs:
        raise ValueError(f"row {row.method!r} has no run, expected at least one trained model.")
    return [
        _cell([100 * value for value in seeds])
        for seeds in zip(*(fractions(run).values() for run in row.runs), strict=True)
    ]


def _named_fractions(scores: Scores) -> dict[str, float]:
    if len(scores.cmc) < max(_RANKS):
        raise ValueError(
            f"the CMC curve has {len(scores.cmc)} ranks, the table needs {max(_RANKS)}; "
            f"evaluate with max_rank={max(_RANKS)}."
        )
    ranks = {f"rank{rank}": float(scores.cmc[rank - 1]) for rank in _RANKS}
    return {**ranks, "mAP": scores.mAP, "mINP": scores.mINP}


def _of_one_trial(counts: Sequence[int]) -> float:
    return counts[0] if len(set(counts)) == 1 else fmean(counts)


def _cell(percents: list[float]) -> str:
    mean = f"{fmean(percents):.2f}"
    return f"{mean} ± {stdev(percents):.2f}" if len(percents) > 1 else mean


def _run_record(run: Run) -> dict[str, Any]:
    return {
        "seed": run.seed,
        "checkpoint_sha256": run.checkpoint,
        "num_trials": len(run.trials),
        "mean": _scores_record(average(run.trials)),
        "trials": [_scores_record(scores) for scores in run.trials],
    }


def _scores_record(scores: Scores) -> dict[str, Any]:
    return {**scores._asdict(), "cmc": scores.cmc.tolist()}


def _write(path: Path, content: Mapping[str, Any]) -> None:
    text = json.dumps(content, indent=1, allow_nan=False, default=_plain, ensure_ascii=False)
    write_whole(path, f"{text}\n".encode())


def _plain(value: object) -> str:
    if isinstance(value, Path):
        return value.as_posix()
    raise TypeError(f"results hold {value!r} of type {type(value).__name__}, expected JSON values or a path.")

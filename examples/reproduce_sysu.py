"""Train and score the paper's method on SYSU-MM01, or on a synthetic data set in its layout.

Without an argument: make the synthetic data set (once), train the full method, evaluate it on ten gallery
trials, print the table and write runs/NAME/results.json; about three minutes on one or two CPU cores.
"""
# ruff: noqa: T201  a script prints

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, NamedTuple

import torch
from tqdm import tqdm

from reid.arguments import parse, settings_of
from reid.checkpoint import ResumeError
from reid.comparison import difference_table, paired_differences
from reid.dataset import list_sysu
from reid.evaluation import average
from reid.experiment import Settings, Task, build_network, describe, read_dataset
from reid.methods import METHODS
from reid.parallel import run_tasks
from reid.results import Provenance, Row, Run, text_table, write_results
from reid.resumption import read_runs


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the script.

    Args:
        arguments: of the command line, default those of the process.

    Returns:
        The exit code: 0, 2 when something that was asked for cannot be, 130 after Ctrl-C.
    """
    chosen = parse(arguments, __doc__)
    torch.set_num_threads(chosen.threads)
    folder = Path("runs") / chosen.name
    try:
        reproduce(chosen, folder)
    except KeyboardInterrupt:
        print(f"\nStopped; whole checkpoints are in {folder}: go on with the same command and --resume.")
        return 130
    except (RefusedError, ResumeError) as error:
        print(f"reproduce_sysu: {error}", file=sys.stderr)
        return 2
    return 0


def reproduce(chosen: argparse.Namespace, folder: Path) -> None:
    """Data, models, scores, table."""
    settings, tasks, provenance, runs = prepare(chosen, folder)
    missing = [task for task in tasks if (METHODS[task.method].title, task.seed) not in runs]
    print(f"{len(missing)} of {len(tasks)} models to train, {settings.training.steps} steps each", flush=True)
    for task, run in run_tasks(
        missing, settings, folder, workers=chosen.workers, threads=chosen.threads, resume=chosen.resume
    ):
        runs[METHODS[task.method].title, task.seed] = run
        write_results(folder / "results.json", rows_of(runs), provenance)
        scores = average(run.trials)
        tqdm.write(f"{task.title}: R1 {100 * float(scores.cmc[0]):.2f}, mAP {100 * scores.mAP:.2f}")
    rows = rows_of(runs)
    print(f"\n{text_table(rows)}")
    if differences := paired_differences(rows):
        print(f"\n{difference_table(differences)}")
    print(f"\nwritten to {folder / 'results.json'}")


class RefusedError(Exception):
    """What was asked for cannot be done; the message is the sentence to print."""


class Plan(NamedTuple):
    """What the command line asks for, checked."""

    settings: Settings
    tasks: tuple[Task, ...]
    provenance: Provenance
    runs: dict[tuple[str, int], Run]
    """Those that an interrupted ablation has finished already, by the method's title and the seed."""


def prepare(chosen: argparse.Namespace, folder: Path) -> Plan:
    """Make or look through the data, and everything else that can be refused before training.

    Args:
        chosen: from `parse`.
        folder: of the results.

    Returns:
        The plan.

    Raises:
        RefusedError: one sentence.
    """
    methods = list(METHODS) if chosen.ablation else [chosen.method]
    seeds = range(chosen.seed, chosen.seed + (chosen.seeds or (5 if chosen.ablation else 1)))
    results = folder / "results.json"
    if chosen.ablation and results.exists() and not chosen.resume:
        raise RefusedError(f"{results} holds an ablation already: go on with --resume, or give another --name.")
    try:
        settings = settings_of(chosen)
        check(settings, read_all=chosen.workers == 1)
        options = describe(settings, methods)
        runs = read_runs(results, options) if chosen.resume else {}
    except (OSError, RuntimeError, UnpicklingError, ValueError) as error:
        raise RefusedError(str(error)) from error
    # Seed by seed, so that what an interruption leaves can be compared in pairs.
    tasks = tuple(Task(method, seed) for seed in seeds for method in methods)
    return Plan(settings, tasks, provenance_of(chosen, options), runs)


def provenance_of(chosen: argparse.Namespace, options: Mapping[str, Any]) -> Provenance:
    """Say how the numbers were made.

    Args:
        chosen: from `parse`.
        options: everything that determines the numbers.

    Returns:
        The head of the results file.
    """
    return Provenance(
        dataset=chosen.data.as_posix() if chosen.data else "synthetic",
        protocol="SYSU-MM01",
        gallery=chosen.gallery,
        mode=chosen.mode,
        shots=1,
        metric="cosine",
        normalisation="L2",
        options={**options, "threads": chosen.threads, "synthetic": chosen.data is None},
    )


def check(settings: Settings, *, read_all: bool) -> None:
    """Try what may fail: the device, the weights, the layout of the data set.

    Args:
        settings: of the models.
        read_all: whether to read the images too, into the memory of this process.

    Raises:
        OSError, RuntimeError, UnpicklingError, ValueError: when it fails.
    """
    try:
        torch.zeros(1, device=settings.device)
    except (AssertionError, RuntimeError) as error:
        raise ValueError(
            f"--device {settings.device} cannot be used here ({error}): give a device of this machine, such as cpu."
        ) from error
    if settings.weights is not None and settings.backbone != "resnet50":
        raise ValueError("--weights are those of ResNet-50: add --backbone resnet50.")
    if settings.weights is not None:
        build_network(settings, METHODS["baseline"], num_identities=1)
    if read_all:
        read_dataset(settings)
    else:
        list_sysu(settings.data, gallery=settings.gallery, mode=settings.mode)


def rows_of(runs: Mapping[tuple[str, int], Run]) -> list[Row]:
    """Sort runs into rows, in the order in which the methods build on each other.

    Args:
        runs: by the method's title and the seed.

    Returns:
        A row for each method that has a run.
    """
    rows = [
        Row(method.title, tuple(runs[key] for key in sorted(runs) if key[0] == method.title))
        for method in METHODS.values()
    ]
    return [row for row in rows if row.runs]


if __name__ == "__main__":
    sys.exit(main())

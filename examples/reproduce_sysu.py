"""Train and score the paper's method on SYSU-MM01, RegDB or LLCM, or on a synthetic data set in SYSU-MM01's layout.

Without an argument: make the synthetic data set (once), train the method and its baseline, evaluate both on ten gallery
trials, print the table and write runs/NAME/results.json and report.html; about three minutes on one or two CPU
cores. With several GPUs: torchrun --nproc-per-node N examples/reproduce_sysu.py --device cuda.
"""
# ruff: noqa: T201  a script prints

import argparse
import importlib
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from tqdm import tqdm

from reid.evaluation.scores import average
from reid.experiments.arguments import parse
from reid.experiments.comparison import difference_table, paired_differences
from reid.experiments.estimate import estimate
from reid.experiments.parallel import run_tasks
from reid.experiments.planning import Plan, RefusedError, prepare, title_of
from reid.experiments.presets import synthetic_data
from reid.experiments.results import Row, Run, text_table, write_results
from reid.experiments.settings import Settings
from reid.training.checkpoint import ResumeError
from reid.training.methods import METHODS
from reid.training.ranks import Ranks, join_ranks
from reid.training.selection import TEST_WARNING
from reid.whole_file import NotWrittenError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the script: 0, 2 when something that was asked for cannot be, 130 after Ctrl-C."""
    chosen = parse(arguments, __doc__)
    if chosen.make_data is not None:
        return make_data(chosen)
    torch.set_num_threads(chosen.threads)
    folder = Path("runs") / chosen.name
    with join_ranks(chosen.device) as ranks:
        try:
            plan = plan_in_order(chosen, folder, ranks)
            reproduce(plan, chosen, folder, ranks)
        except KeyboardInterrupt:
            if ranks.first:
                print(f"\nStopped; whole checkpoints are in {folder}: go on with the same command and --resume.")
            return 130
        except (RefusedError, ResumeError, NotWrittenError) as error:
            if ranks.first:
                print(f"reproduce_sysu: {error}", file=sys.stderr)
            return 2
        if ranks.first:
            conclude(plan, folder, report=not chosen.no_report)
    return 0


def make_data(chosen: argparse.Namespace) -> int:
    """Make the synthetic data set alone."""
    try:
        print(f"made in {synthetic_data(chosen.data_set, chosen.make_data, smoke=chosen.smoke)}")
    except (OSError, ValueError) as error:
        print(f"reproduce_sysu: {error}", file=sys.stderr)
        return 2
    return 0


def plan_in_order(chosen: argparse.Namespace, folder: Path, ranks: Ranks) -> Plan:
    """Make and check the data in the first process, then in the others; all refuse what the first one refuses."""
    problem = ""
    if ranks.first:
        try:
            plan = prepare(chosen, folder, ranks)
        except RefusedError as error:
            problem = str(error)
    problem = ranks.share(problem)
    if problem:
        raise RefusedError(problem)
    return plan if ranks.first else prepare(chosen, folder, ranks)


def reproduce(plan: Plan, chosen: argparse.Namespace, folder: Path, ranks: Ranks) -> None:
    """Train and score the models that are missing, and write down each as it is done."""
    settings, runs = plan.settings, plan.runs
    missing = [task for task in plan.tasks if (title_of(task.method, settings), task.seed) not in runs]
    if ranks.first:
        steps = settings.training.steps
        print(*plan.remarks, f"{len(missing)} of {len(plan.tasks)} models to train, {steps} steps each", sep="\n")
    if missing and ranks.world_size == 1:
        print(f"this takes {estimate(settings, missing, workers=chosen.workers)}", flush=True)
    for task, run in run_tasks(
        missing, settings, folder, workers=chosen.workers, threads=chosen.threads, resume=chosen.resume, ranks=ranks
    ):
        runs[title_of(task.method, settings), task.seed] = run
        if ranks.first:
            write_results(folder / "results.json", rows_of(runs, settings), plan.provenance)
            scores = average(run.trials)
            tqdm.write(f"{task.title}: R1 {100 * float(scores.cmc[0]):.2f}, mAP {100 * scores.mAP:.2f}")


def conclude(plan: Plan, folder: Path, *, report: bool) -> None:
    """Print the table, and draw the report; a run does not fail because of a picture."""
    rows = rows_of(plan.runs, plan.settings)
    print(f"\n{text_table(rows)}")
    if differences := paired_differences(rows):
        print(f"\n{difference_table(differences, rows[0].method)}")
    if plan.settings.select == "test":
        print(f"\n{TEST_WARNING}")
    print(f"\nwritten to {folder / 'results.json'}")
    if report:
        try:
            print(f"report in {importlib.import_module('reid.report').write_report(folder)}")
        except Exception as error:
            print(f"no report could be made ({type(error).__name__}: {error}); the results are not affected.")


def rows_of(runs: Mapping[tuple[str, int], Run], settings: Settings) -> list[Row]:
    """Sort runs, by title and seed, into rows in the order in which the methods build on each other."""
    titles = [title_of(method, settings) for method in METHODS]
    rows = [Row(title, tuple(runs[key] for key in sorted(runs) if key[0] == title)) for title in titles]
    return [row for row in rows if row.runs]


if __name__ == "__main__":
    sys.exit(main())

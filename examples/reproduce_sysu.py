"""Train and score the paper's method on SYSU-MM01, or on a synthetic data set in its layout.

Without an argument: make the synthetic data set (once), train the full method, evaluate it on ten gallery
trials, print the table and write runs/NAME/results.json; a few minutes on two CPU cores.
"""
# ruff: noqa: T201  a script prints

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from pickle import UnpicklingError
from typing import Final, NamedTuple, get_args

import torch
from tqdm import tqdm

from reid.checkpoint import ResumeError
from reid.comparison import difference_table, paired_differences
from reid.dataset import list_sysu
from reid.engine import TrainingOptions
from reid.evaluation import average
from reid.experiment import Settings, Task, build_network, describe, read_dataset
from reid.methods import METHODS
from reid.parallel import run_tasks
from reid.protocols import GalleryChoice, Mode
from reid.results import Provenance, Row, Run, text_table, write_results
from reid.resumption import read_runs
from reid.synthetic import ensure_synthetic_sysu
from reid.transforms import Augmentation


class Preset(NamedTuple):
    """What goes with a backbone unless an option says otherwise."""

    size: tuple[int, int]
    training: TrainingOptions


PRESETS: Final = {
    "small": Preset((64, 32), TrainingOptions()),
    # The field's image size and padding, AGW's learning rate, about 35 passes over the visible images.
    "resnet50": Preset(
        (288, 144),
        TrainingOptions(steps=24_000, learning_rate=3.5e-4, augmentation=Augmentation(padding=10)),
    ),
}
SMOKE: Final = Preset((32, 16), TrainingOptions(steps=8, identities=4, images=2))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the script.

    Args:
        arguments: of the command line, default those of the process.

    Returns:
        The exit code: 0, 2 when something that was asked for cannot be, 130 after Ctrl-C.
    """
    chosen = parse(arguments)
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
    provenance = Provenance(
        dataset=chosen.data.as_posix() if chosen.data else "synthetic",
        protocol="SYSU-MM01",
        gallery=settings.gallery,
        mode=settings.mode,
        shots=1,
        metric="cosine",
        normalisation="L2",
        options={**options, "threads": chosen.threads, "synthetic": chosen.data is None},
    )
    # Seed by seed, so that what an interruption leaves can be compared in pairs.
    tasks = tuple(Task(method, seed) for seed in seeds for method in methods)
    return Plan(settings, tasks, provenance, runs)


def settings_of(chosen: argparse.Namespace) -> Settings:
    """Fill what was not chosen from the backbone's preset, and make the synthetic data set if it is meant.

    Args:
        chosen: from `parse`.

    Returns:
        The settings.
    """
    preset = SMOKE if chosen.smoke else PRESETS[chosen.backbone]
    size = tuple(chosen.size or preset.size)
    asked = {"steps": chosen.steps, "learning_rate": chosen.learning_rate}
    training = preset.training._replace(**{name: value for name, value in asked.items() if value is not None})
    return Settings(
        data=chosen.data or synthetic_data(chosen.smoke),
        size=(size[0], size[1]),
        backbone=chosen.backbone,
        weights=chosen.weights,
        gallery=chosen.gallery,
        mode=chosen.mode,
        device=chosen.device,
        training=training,
    )


def synthetic_data(smoke: bool) -> Path:
    """Make the synthetic data set, unless it is there.

    Args:
        smoke: whether the smallest one will do.

    Returns:
        Its folder.
    """
    progress = sys.stderr.isatty()
    if smoke:
        return ensure_synthetic_sysu(
            Path("data/synthetic-smoke"),
            train=8,
            val=2,
            test=6,
            size=SMOKE.size,
            images_per_camera=3,
            progress=progress,
        )
    return ensure_synthetic_sysu(Path("data/synthetic-sysu"), progress=progress)


def check(settings: Settings, *, read_all: bool) -> None:
    """Try what may fail: the device, the weights, the layout of the data set.

    Args:
        settings: of the models.
        read_all: whether to read the images too, into the memory of this process.

    Raises:
        OSError, RuntimeError, UnpicklingError, ValueError: when it fails.
    """
    torch.zeros(1, device=settings.device)
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


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line.

    Args:
        arguments: None for those of the process.

    Returns:
        The options by name; `name` is always set.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--data", type=Path, metavar="PATH", help="folder of SYSU-MM01; default: a synthetic data set")
    add("--method", choices=tuple(METHODS), default="full", help="default: full")
    add("--ablation", action="store_true", help="train every method with several seeds")
    add("--seed", type=number_from(0), default=0, help="the first, or the only one; default: 0")
    add("--seeds", type=number_from(1), metavar="N", help="default: 1; with --ablation 5")
    add("--workers", type=number_from(1), default=1, metavar="N", help="models trained at a time; default: 1")
    add("--threads", type=number_from(1), default=1, metavar="N", help="of one model on the CPU; default: 1")
    add("--resume", action="store_true", help="go on where the same command was stopped")
    add("--smoke", action="store_true", help="tiny data and a few steps, to see that everything runs")
    add("--steps", type=number_from(1), metavar="N", help="default: 1500, with ResNet-50 24000")
    add("--learning-rate", type=float, metavar="X", help="default: 3e-3, with ResNet-50 3.5e-4")
    add("--backbone", choices=tuple(PRESETS), default="small", help="default: small")
    add("--weights", type=Path, metavar="FILE", help="state dict to start ResNet-50 from, torchvision's keys")
    add("--size", type=number_from(16), nargs=2, metavar=("H", "W"), help="default: 64 32, or 288 144")
    add("--gallery", choices=get_args(GalleryChoice), default="official", help="default: official")
    add("--mode", choices=get_args(Mode), default="all", help="default: all")
    add("--device", default="cpu", help="as torch calls it; default: cpu")
    add("--name", help="of the folder in runs/; default: from the data and the method")
    chosen = parser.parse_args(arguments)
    label = "smoke" if chosen.smoke else "synthetic" if chosen.data is None else chosen.data.resolve().name
    chosen.name = chosen.name or f"{label}-{'ablation' if chosen.ablation else chosen.method}"
    return chosen


def number_from(least: int) -> Callable[[str], int]:
    """Make a type of argument.

    Args:
        least: the smallest number that is taken.

    Returns:
        A function from text to number.
    """

    def number(text: str) -> int:
        if int(text) < least:
            raise argparse.ArgumentTypeError(f"must be at least {least}, got {text}")
        return int(text)

    return number


if __name__ == "__main__":
    sys.exit(main())

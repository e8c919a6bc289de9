"""The command line of examples/reproduce_sysu.py: its options, and their defaults."""

import argparse
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar, get_args

from reid.data_sets import DATA_SETS
from reid.data_sets.data_set import add_options
from reid.experiments.presets import AUGMENTATIONS, PRESETS, RECIPES
from reid.training.methods import ABLATION, COMPARED, METHODS
from reid.training.precision import Precision
from reid.training.schedule import ScheduleName

__all__ = ["methods_of", "parse", "seeds_of"]

Number = TypeVar("Number", int, float)


def parse(arguments: Sequence[str] | None, description: str | None = None) -> argparse.Namespace:
    """Read the command line, by default that of the process; `name` is always set."""
    parser = argparse.ArgumentParser(
        "reproduce_sysu", "%(prog)s [OPTION ...]", description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for add_group in (_add_data, _add_method, _add_training, _add_selection, _add_machine, _add_output):
        add_group(parser)
    chosen = parser.parse_args(arguments)
    if chosen.select_on_test and chosen.select:
        parser.error("--select-on-test and --select exclude each other: give one of them")
    chosen.select = "test" if chosen.select_on_test else chosen.select or "last"
    chosen.name = chosen.name or _default_name(chosen)
    alone = chosen.data is not None or chosen.ablation or chosen.methods or chosen.method or "RANK" in os.environ
    chosen.workers = chosen.workers or (1 if alone or chosen.smoke else min(len(COMPARED), os.cpu_count() or 1))
    return chosen


def methods_of(chosen: argparse.Namespace) -> tuple[str, ...]:
    """Return the methods that are asked for, names in `METHODS`, in the order of the table."""
    usual = COMPARED if chosen.data is None else COMPARED[-1:]
    asked = chosen.methods or (ABLATION if chosen.ablation else (chosen.method,) if chosen.method else usual)
    return tuple(name for name in METHODS if name in asked)


def seeds_of(chosen: argparse.Namespace) -> range:
    """Return the seeds that are asked for, ascending, one or more."""
    return range(chosen.seed, chosen.seed + (chosen.seeds or (5 if chosen.ablation else 1)))


def _add_data(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("what to train on").add_argument
    add("--data-set", choices=tuple(DATA_SETS), default="sysu", help="layout and protocol; default: sysu")
    add("--data", type=Path, metavar="PATH", help="folder of the data set; default: a synthetic one")
    add("--make-data", type=Path, metavar="PATH", help="only make the synthetic one, in this folder")
    add("--smoke", action="store_true", help="tiny data and a few steps, to see that everything runs")
    add("--size", type=_number_from(16), nargs=2, metavar=("H", "W"), help="of the images; default: 64 32, or 288 144")
    add("--cache", type=Path, metavar="DIR", help="keep decoded images in this folder, not in memory")
    add_options(add, *DATA_SETS.values())


def _add_method(parser: argparse.ArgumentParser) -> None:
    add, names = parser.add_argument_group("what to train").add_argument, " and ".join(COMPARED)
    add("--method", choices=tuple(METHODS), metavar="NAME", help=f"default: {COMPARED[-1]}, on synthetic data {names}")
    add("--methods", type=_methods, metavar="A,B,C", help=f"train these, out of {', '.join(METHODS)}")
    add("--ablation", action="store_true", help=f"train {', '.join(ABLATION)} with several seeds")
    add("--seed", type=_number_from(0), default=0, metavar="N", help="the first, or the only one; default: 0")
    add("--seeds", type=_number_from(1), metavar="N", help="how many; default: 1, with --ablation 5")
    add("--backbone", choices=tuple(PRESETS), default="small", help="default: small")
    add("--weights", type=Path, metavar="FILE", help="of an ImageNet ResNet-50 to start from, .pth or .safetensors")
    add("--private-stages", type=int, choices=range(5), default=0, metavar="0..4", help="beside the stem; default: 0")


def _add_training(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("how long, and how").add_argument
    add("--recipe", choices=tuple(RECIPES), default="ours", help="agw: SGD and the rest of the field's; default: ours")
    add("--steps", type=_number_from(1), metavar="N", help="default: 1500, ResNet-50 24000, AGW's recipe 80 epochs")
    add("--identities", type=_number_from(2), metavar="P", help="in a batch; default: 8")
    add("--images", type=_number_from(1), metavar="K", help="of each identity and modality in a batch; default: 4")
    add("--learning-rate", type=_number_above(0), metavar="X", help="default: 3e-3, ResNet-50 3.5e-4, AGW's recipe 0.1")
    add("--schedule", choices=get_args(ScheduleName), help="default: cosine, or AGW's steps with its recipe")
    add("--warmup", type=_share, metavar="X", help="share of the steps; default: 0.1, AGW's recipe 0.125")
    add("--clip-norm", type=_number_above(0), metavar="X", help="largest norm of the gradient; default: none")
    add("--augmentation", choices=tuple(AUGMENTATIONS), help="default: gray, or plain with AGW's recipe")


def _add_selection(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("which epoch is scored").add_argument
    last = "last: all training identities are trained on (default); validation: some are held out to choose by"
    add("--select", choices=("last", "validation"), help=last)
    add("--select-on-test", action="store_true", help="choose on the TEST set, as many published numbers do")
    add("--evaluate-every", type=_number_from(1), default=1, metavar="N", help="epochs; default: 1")


def _add_machine(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("on which machine").add_argument
    add("--device", default="cpu", help="cpu (default), cuda, …")
    add("--precision", choices=get_args(Precision), help="default: float32")
    add("--compile", action="store_true", help="let torch compile the shared part")
    add("--deterministic", action="store_true", help="the same bits every time on a GPU too")
    add("--workers", type=_number_from(1), metavar="N", help="models at a time; default: 1, of the usual two 2")
    add("--threads", type=_number_from(1), default=1, metavar="N", help="of one model on the CPU; default: 1")


def _add_output(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("what is written, and going on").add_argument
    add("--name", help="of the folder in runs/; default: from the data and the method")
    add("--resume", action="store_true", help="go on where the same command was stopped, in whatever way")
    add("--checkpoint-every", type=_number_from(1), metavar="N", help="steps; default: 250")
    add("--tensorboard", action="store_true", help="write a TensorBoard log beside the CSV file")
    add("--no-report", action="store_true", help="make no report.html in the end")


def _default_name(chosen: argparse.Namespace) -> str:
    label = "smoke" if chosen.smoke else "synthetic" if chosen.data is None else chosen.data.resolve().name
    if chosen.data is None and chosen.data_set != "sysu":
        label += f"-{chosen.data_set}"
    split = f"-split{chosen.split}" if "split" in DATA_SETS[chosen.data_set].options._fields else ""
    return f"{label}{split}-{'ablation' if chosen.ablation else '-'.join(methods_of(chosen))}"


def _methods(text: str) -> tuple[str, ...]:
    names = tuple(text.split(","))
    if unknown := [name for name in names if name not in METHODS]:
        raise argparse.ArgumentTypeError(f"must be out of {', '.join(METHODS)}, got {', '.join(unknown)}")
    return names


def _number_from(least: int) -> Callable[[str], int]:
    return lambda text: _checked(int(text), int(text) >= least, f"at least {least}")


def _number_above(least: float) -> Callable[[str], float]:
    return lambda text: _checked(float(text), least < float(text) < float("inf"), f"more than {least}")


def _share(text: str) -> float:
    return _checked(float(text), 0 <= float(text) < 1, "a share of the steps from 0 to 1")


def _checked(number: Number, fits: bool, expected: str) -> Number:
    if not fits:
        raise argparse.ArgumentTypeError(f"must be {expected}, got {number}")
    return number

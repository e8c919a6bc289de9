"""The command line of examples/reproduce_sysu.py: its options, and what they stand for."""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, NamedTuple, get_args

from reid.engine import TrainingOptions
from reid.experiment import Settings
from reid.methods import METHODS
from reid.protocols import GalleryChoice, Mode
from reid.synthetic import ensure_synthetic_sysu
from reid.transforms import Augmentation

__all__ = ["PRESETS", "SMOKE", "Preset", "parse", "settings_of", "synthetic_data"]


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


def parse(arguments: Sequence[str] | None, description: str | None = None) -> argparse.Namespace:
    """Read the command line.

    Args:
        arguments: None for those of the process.
        description: for ``--help``.

    Returns:
        The options by name; `name` is always set.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--data", type=Path, metavar="PATH", help="folder of SYSU-MM01; default: a synthetic data set")
    add("--method", choices=tuple(METHODS), default="full", help="default: full")
    add("--ablation", action="store_true", help="train every method with several seeds")
    add("--seed", type=_number_from(0), default=0, help="the first, or the only one; default: 0")
    add("--seeds", type=_number_from(1), metavar="N", help="default: 1; with --ablation 5")
    add("--workers", type=_number_from(1), default=1, metavar="N", help="models trained at a time; default: 1")
    add("--threads", type=_number_from(1), default=1, metavar="N", help="of one model on the CPU; default: 1")
    add("--resume", action="store_true", help="go on where the same command was stopped")
    add("--smoke", action="store_true", help="tiny data and a few steps, to see that everything runs")
    add("--steps", type=_number_from(1), metavar="N", help="default: 1500, with ResNet-50 24000")
    add("--learning-rate", type=float, metavar="X", help="default: 3e-3, with ResNet-50 3.5e-4")
    add("--backbone", choices=tuple(PRESETS), default="small", help="default: small")
    add("--weights", type=Path, metavar="FILE", help="state dict to start ResNet-50 from, torchvision's keys")
    add("--size", type=_number_from(16), nargs=2, metavar=("H", "W"), help="default: 64 32, or 288 144")
    add("--gallery", choices=get_args(GalleryChoice), default="official", help="default: official")
    add("--mode", choices=get_args(Mode), default="all", help="default: all")
    add("--device", default="cpu", help="as torch calls it; default: cpu")
    add("--name", help="of the folder in runs/; default: from the data and the method")
    chosen = parser.parse_args(arguments)
    label = "smoke" if chosen.smoke else "synthetic" if chosen.data is None else chosen.data.resolve().name
    chosen.name = chosen.name or f"{label}-{'ablation' if chosen.ablation else chosen.method}"
    return chosen


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


def _number_from(least: int) -> Callable[[str], int]:
    def number(text: str) -> int:
        if int(text) < least:
            raise argparse.ArgumentTypeError(f"must be at least {least}, got {text}")
        return int(text)

    return number

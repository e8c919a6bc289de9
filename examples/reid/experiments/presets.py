"""From the options of the command line to settings: what was not chosen follows from the backbone."""

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from reid.data.reading import Source, list_source
from reid.data.sampler import CrossModalityPKSampler
from reid.data.transforms import Augmentation
from reid.data_sets import DATA_SETS
from reid.data_sets.data_set import options_of
from reid.experiments.settings import Settings
from reid.training.options import TrainingOptions
from reid.training.schedule import Schedule

__all__ = ["AUGMENTATIONS", "PRESETS", "RECIPES", "SMOKE", "Preset", "settings_of", "synthetic_data"]


class Preset(NamedTuple):
    """What goes with a backbone unless an option says otherwise."""

    size: tuple[int, int]
    training: TrainingOptions


PRESETS: Final = {
    "small": Preset((64, 32), TrainingOptions()),
    # The field's image size and padding, MPANet's learning rate, about 35 passes over the visible images.
    "resnet50": Preset(
        (288, 144), TrainingOptions(steps=24_000, learning_rate=3.5e-4, augmentation=Augmentation(padding=10))
    ),
}
SMOKE: Final = Preset((32, 16), TrainingOptions(steps=8, identities=4, images=2))


# What is changed of a backbone's augmentation.
AUGMENTATIONS: Final[Mapping[str, Mapping[str, Any]]] = {
    "gray": {},
    "plain": {"gray": 0.0, "erase": 0.0},  # pad, crop and flip
    # The means of CAJ (see `Augmentation`) on one copy of each visible image: a third exchanged, a third made gray in
    # one of four ways, a third left as they are; the shares are our choice.
    "channels": {"gray": 0.0, "exchange": 1 / 3, "adaptive_gray": 1 / 3, "erase_value": (0.4914, 0.4822, 0.4465)},
}

# What is changed of a backbone's preset. AGW's (Ye et al., TPAMI 2022, and its code) counts in passes over the larger
# modality, 10 of 80 to warm up, and alters images by padding, cropping and flipping alone.
RECIPES: Final[Mapping[str, Mapping[str, Any]]] = {
    "ours": {},
    "agw": {
        "optimizer": "sgd",
        "learning_rate": 0.1,
        "backbone_share": 0.1,
        "weight_decay": 5e-4,
        "schedule": Schedule("step", warmup=10 / 80),
    },
}
_AGW_EPOCHS: Final = 80


def settings_of(chosen: argparse.Namespace) -> Settings:
    """Fill what was not chosen from the backbone's preset, and make the synthetic data set if it is meant."""
    preset = SMOKE if chosen.smoke else PRESETS[chosen.backbone]
    size = tuple(chosen.size or preset.size)
    source = _source(chosen)
    return Settings(
        source=source,
        size=(size[0], size[1]),
        backbone=chosen.backbone,
        private_stages=chosen.private_stages,
        weights=chosen.weights,
        select=chosen.select,
        evaluate_every=chosen.evaluate_every,
        device=chosen.device,
        deterministic=chosen.deterministic,
        compile=chosen.compile,
        training=_training(preset.training, chosen, source),
        cache=chosen.cache,
        tensorboard=chosen.tensorboard,
    )


def synthetic_data(data_set: str = "sysu", root: Path | None = None, *, smoke: bool) -> Path:
    """Make a synthetic data set in a layout, for `smoke` the smallest, unless it is there, and return its folder."""
    root = root or Path("data", f"synthetic-{data_set}{'-smoke' if smoke else ''}")
    smallest = {"size": SMOKE.size, **DATA_SETS[data_set].smoke} if smoke else {}
    return DATA_SETS[data_set].look_alike(root, progress=sys.stderr.isatty(), **smallest)


def _source(chosen: argparse.Namespace) -> Source:
    return Source(
        root=chosen.data or synthetic_data(chosen.data_set, smoke=chosen.smoke),
        data_set=chosen.data_set,
        options=options_of(chosen, DATA_SETS[chosen.data_set]),
        validate=chosen.select == "validation",
    )


def _training(preset: TrainingOptions, chosen: argparse.Namespace, source: Source) -> TrainingOptions:
    names = ("steps", "identities", "images", "learning_rate", "clip_norm", "precision", "checkpoint_every")
    preset = preset._replace(**RECIPES[chosen.recipe])
    schedule = preset.schedule._replace(**_asked(chosen, {"schedule": "name", "warmup": "warmup"}))
    altered = AUGMENTATIONS[chosen.augmentation or ("plain" if chosen.recipe == "agw" else "gray")]
    asked = _asked(chosen, {name: name for name in names})
    training = preset._replace(schedule=schedule, augmentation=preset.augmentation._replace(**altered), **asked)
    if chosen.recipe != "agw" or chosen.steps or chosen.smoke:
        return training
    train = list_source(source).train
    sampler = CrossModalityPKSampler(
        train.identities, train.modalities, identities=training.identities, images=training.images
    )
    return training._replace(steps=_AGW_EPOCHS * len(sampler))


def _asked(chosen: argparse.Namespace, names: dict[str, str]) -> dict[str, Any]:
    """Return the options that were given, by the names of the fields that they fill."""
    asked = {field: getattr(chosen, name) for name, field in names.items()}
    return {field: value for field, value in asked.items() if value is not None}

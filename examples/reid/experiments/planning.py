"""Looks through everything that was asked for, so that what cannot be done is refused before the first step."""

import argparse
from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, NamedTuple

import torch

from modinv import INFRARED, VISIBLE
from reid.data.reading import list_source, read_source
from reid.data.sampler import CrossModalityPKSampler
from reid.data_sets import DATA_SETS
from reid.data_sets.layout import ImageList
from reid.experiments.arguments import methods_of, seeds_of
from reid.experiments.experiment import load_weights
from reid.experiments.presets import settings_of
from reid.experiments.results import Provenance, Run
from reid.experiments.resumption import read_runs
from reid.experiments.settings import Settings, Task, describe
from reid.network.model import TwoStreamNetwork
from reid.training.methods import METHODS
from reid.training.ranks import Ranks
from reid.training.selection import TEST_WARNING
from reid.training.training_log import require_tensorboard

__all__ = ["Plan", "RefusedError", "prepare", "title_of"]


class RefusedError(Exception):
    """What was asked for cannot be done; the message is the sentence to print."""


class Plan(NamedTuple):
    """What the command line asks for, checked."""

    settings: Settings
    tasks: tuple[Task, ...]
    provenance: Provenance
    runs: dict[tuple[str, int], Run]
    """Those that an interrupted ablation has finished already, by the title of the row and the seed."""
    remarks: tuple[str, ...]  # what the user should know before it begins, a line each


def prepare(chosen: argparse.Namespace, folder: Path, ranks: Ranks) -> Plan:
    """Make or look through the data, and everything else that can be refused before training, by a `RefusedError`."""
    methods, results = methods_of(chosen), folder / "results.json"
    if len(methods) > 1 and results.exists() and not chosen.resume:
        raise RefusedError(f"{results} holds an ablation already: go on with --resume, or give another --name.")
    try:
        settings = settings_of(chosen)
        remarks = _check(settings, chosen, ranks)
        options = describe(settings, list(methods))
        runs = read_runs(results, options) if chosen.resume else {}
    except (ImportError, OSError, RuntimeError, UnpicklingError, ValueError) as error:
        raise RefusedError(str(error)) from error
    # Seed by seed, so that what an interruption leaves can be compared in pairs.
    tasks = tuple(Task(method, seed) for seed in seeds_of(chosen) for method in methods)
    return Plan(settings, tasks, _provenance(settings, chosen, options, ranks), runs, remarks)


def title_of(method: str, settings: Settings) -> str:
    """Name a row of the table; that the epoch was chosen on the test set stands in it."""
    return METHODS[method].title + (" [epoch chosen on TEST]" if settings.select == "test" else "")


def _check(settings: Settings, chosen: argparse.Namespace, ranks: Ranks) -> tuple[str, ...]:
    """Try what may fail: the device, the weights, the layout of the data set, its images."""
    try:
        torch.zeros(1, device=settings.device)
    except (AssertionError, RuntimeError) as error:
        raise ValueError(
            f"--device {settings.device} cannot be used here ({error}): give a device of this machine, such as cpu."
        ) from error
    _check_processes(settings, chosen.workers, ranks)
    if settings.tensorboard:
        require_tensorboard()
    remarks = _check_weights(settings)
    listing, training = list_source(settings.source), settings.training
    CrossModalityPKSampler(listing.train.identities, listing.train.modalities, identities=training.identities)
    if ranks.world_size > 1:
        _check_complete(listing.train, training.identities)
    # Workers read the images again, which is little beside what a broken one would cost in the end.
    read_source(settings.source, settings.size, settings.cache)
    if chosen.workers > 1:
        read_source.cache_clear()
    if chosen.data is not None:  # the synthetic data set is smaller on purpose
        remarks += listing.remarks
    return remarks + ((TEST_WARNING,) if settings.select == "test" else ())


def _check_processes(settings: Settings, workers: int, ranks: Ranks) -> None:
    if ranks.world_size == 1:
        return
    if workers > 1:
        raise ValueError("--workers trains several models and torchrun one model at a time: leave one of them out.")
    if settings.compile:
        raise ValueError("--compile is for one process: leave it out under torchrun.")
    if ranks.world_size > settings.training.identities:
        raise ValueError(
            f"{ranks.world_size} processes cannot share batches of {settings.training.identities} identities: "
            "start at most as many processes, or give more --identities."
        )


def _check_complete(train: ImageList, least: int) -> None:
    """Refuse batches in which a process might lack a modality, and with it a part of the network."""
    seen = [set(train.identities[train.modalities == modality].tolist()) for modality in (VISIBLE, INFRARED)]
    if (complete := len(seen[0] & seen[1])) < least:
        raise ValueError(
            f"several processes need {least} identities that are seen in both modalities, but there are {complete}: "
            "train in one process, or give fewer --identities."
        )


def _check_weights(settings: Settings) -> tuple[str, ...]:
    if settings.weights is None:
        return ()
    if settings.backbone != "resnet50":
        raise ValueError("--weights are those of ResNet-50: add --backbone resnet50.")
    network = TwoStreamNetwork(1, backbone=settings.backbone, private_stages=settings.private_stages)
    report = load_weights(network, settings)
    return () if report is None else (f"{settings.weights}: {report.text()}",)


def _provenance(settings: Settings, chosen: argparse.Namespace, options: Mapping[str, Any], ranks: Ranks) -> Provenance:
    source, trials = settings.source, list_source(settings.source).test.trials
    data_set, split = DATA_SETS[source.data_set], getattr(source.options, "split", None)
    warning = {"warning": TEST_WARNING} if settings.select == "test" else {}
    process = {"threads": chosen.threads, "processes": ranks.world_size, "synthetic": chosen.data is None}
    return Provenance(
        dataset=source.root.as_posix() if chosen.data else "synthetic",
        protocol=data_set.title + (f", split {split}" if split else ""),
        **data_set.describe(source.options),
        metric="cosine",
        normalisation="L2",
        options={**options, "data": source.root.as_posix(), **process, **warning},
        trials=len(trials.galleries),
        cmc=trials.rule.level,
    )

"""Score a checkpoint, or anybody's saved features, by the protocol of SYSU-MM01, RegDB or LLCM.

    python examples/evaluate.py sysu --features DIR --name raw --exp EXP_DIR --metric euclidean --json OUT.json
    python examples/evaluate.py regdb --features split1.npz … split10.npz --direction visible-to-infrared
    python examples/evaluate.py llcm --checkpoint runs/llcm-full/full-seed0.pt --data LLCM

docs/evaluation.md tells what the files hold and what the protocols do.
"""
# ruff: noqa: T201  a script prints

import argparse
import hashlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch

from reid.data_sets import DATA_SETS
from reid.data_sets.data_set import options_of
from reid.data_sets.features import LabelledFeatures, read_npz_features
from reid.evaluation.reranking import Reranking
from reid.evaluation.scores import Scores, average
from reid.experiments.checkpoint_features import extract_features
from reid.experiments.evaluation_arguments import parse
from reid.experiments.results import Provenance, Row, Run, sha256, text_table, write_evaluation
from reid.protocols import evaluate_trials


class Scored(NamedTuple):
    """The scores of one set of features."""

    title: str
    path: Path
    trials: tuple[Scores, ...]
    rule: str
    """What the CMC ranks."""
    files: tuple[Path, ...]
    split: int | str
    """Where it is not known, a hash of the features."""
    remarks: tuple[str, ...]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the script, by default with the command line of the process: 0, or 2 when what was given cannot be scored."""
    chosen = parse(arguments, __doc__)
    try:
        torch.zeros(1, device=chosen.device)
        scored = [score(chosen, path) for path in chosen.features or chosen.checkpoint]
        refuse_repeated(scored)
        trials = tuple(trial for one in scored for trial in one.trials)
        provenance, table = provenance_of(chosen, scored, len(trials)), table_of(scored)
        if chosen.json is not None:
            write_evaluation(chosen.json, trials, provenance, table)
    except (OSError, RuntimeError, AssertionError, ValueError) as error:
        print(f"evaluate: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    for remark in dict.fromkeys(remark for one in scored for remark in one.remarks):
        print(remark)
    print(f"{headline(provenance, trials)}\n\n{table}")
    return 0


def score(chosen: argparse.Namespace, path: Path) -> Scored:
    """Score one file or folder of features, or one checkpoint."""
    data_set = DATA_SETS[chosen.data_set]
    images, options, exp = load(chosen, path), options_of(chosen, data_set), exp_of(chosen)
    trials = data_set.trials(images, options, exp)
    files = (*images.files, *data_set.protocol_files(options, exp))
    reranking = Reranking(chosen.k1, chosen.k2, chosen.weight) if chosen.rerank else None
    features = images.features.to(chosen.device)
    scores = evaluate_trials(features, trials, metric=chosen.metric, reranking=reranking)
    title = chosen.name if path.is_dir() else path.stem
    split = images.split or hashlib.sha256(features.cpu().numpy().tobytes()).hexdigest()
    return Scored(title, path, scores, trials.rule.level, files, split, images.remarks)


def refuse_repeated(scored: Sequence[Scored]) -> None:
    """Refuse one split twice: its mean with itself is no mean of two."""
    first: dict[int | str, Path] = {}
    for one in scored:
        if one.split in first:
            raise ValueError(f"{first[one.split]} and {one.path} are of one split; give one path for each split.")
        first[one.split] = one.path


def load(chosen: argparse.Namespace, path: Path) -> LabelledFeatures:
    """Read features, or extract them."""
    if chosen.checkpoint is not None:
        return extract_features(path, chosen.data, chosen.data_set, flip=chosen.flip, device=chosen.device)
    if path.is_dir() and chosen.name is None:
        raise ValueError(f"{path} is a folder; add --name, the name of the features in it.")
    data_set = DATA_SETS[chosen.data_set]
    if data_set.read_features is not None:
        return data_set.read_features(path, chosen.name, options_of(chosen, data_set), chosen.exp)
    return read_npz_features(path / f"{chosen.name}.npz" if path.is_dir() else path, data_set.labels)


def exp_of(chosen: argparse.Namespace) -> Path | None:
    """Find the folder ``exp`` of the data set, where it has one."""
    exp: Path | None = chosen.exp or (chosen.data / "exp" if chosen.data else None)
    return exp


def provenance_of(chosen: argparse.Namespace, scored: Sequence[Scored], num_trials: int) -> Provenance:
    """Say how the numbers were made."""
    data_set = DATA_SETS[chosen.data_set]
    options = options_of(chosen, data_set)
    files = dict.fromkeys(file for one in scored for file in one.files)
    return Provenance(
        dataset=data_set.title,
        protocol=getattr(options, "gallery", "AGW"),
        **data_set.describe(options),
        metric=chosen.metric,
        normalisation="L2" if chosen.metric == "cosine" else "none",
        options={"device": chosen.device},
        trials=num_trials,
        cmc=scored[0].rule,
        flip=chosen.flip if chosen.checkpoint else None,
        reranking=Reranking(chosen.k1, chosen.k2, chosen.weight)._asdict() if chosen.rerank else None,
        files={file.as_posix(): sha256(file) for file in files},
    )


def table_of(scored: Sequence[Scored]) -> str:
    """Lay the scores out as papers do, and below several models their mean."""
    distinct = len({one.title for one in scored}) == len(scored)
    rows = [Row(one.title if distinct else one.path.as_posix(), (Run(0, one.trials),)) for one in scored]
    if len(scored) > 1:
        rows.append(Row(f"mean of {len(scored)}", (Run(0, tuple(trial for one in scored for trial in one.trials)),)))
    return text_table(rows)


def headline(provenance: Provenance, trials: Sequence[Scores]) -> str:
    """Tell in two lines what the numbers are."""
    what = {
        "search": provenance.mode,
        "shots": provenance.shots,
        "roles": provenance.roles,
        "gallery": provenance.gallery,
        "trials": provenance.trials,
        "CMC of": provenance.cmc,
        "metric": provenance.metric,
        "normalisation": provenance.normalisation,
        "flip": {True: "averaged", False: "no", None: "not known"}[provenance.flip],
        "re-ranking": provenance.reranking or "no",
    }
    said = ", ".join(f"{name} {value}" for name, value in what.items() if value is not None)
    mean = average(trials)
    asked = mean.num_queries / len(trials)
    skipped = asked - mean.num_valid_queries / len(trials)
    return (
        f"{provenance.dataset}, {provenance.direction}: {said}\n"
        f"{asked:g} queries a trial, {skipped:g} of them without a match, skipped"
    )


if __name__ == "__main__":
    sys.exit(main())

"""The command line of examples/evaluate.py."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn, get_args

from typing_extensions import override

from reid.evaluation.reranking import Reranking
from reid.evaluation.scores import Metric
from reid.protocols import Direction, GalleryChoice, Mode, Roles

__all__ = ["parse"]


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one sentence."""

    @override
    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}\n")


def parse(arguments: Sequence[str] | None, description: str | None = None) -> argparse.Namespace:
    """Read the command line.

    Args:
        arguments: None for those of the process.
        description: for ``--help``.

    Returns:
        The options by name; every data set has those of the others too, as None.

    """
    parser = _Parser(prog="evaluate", description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.set_defaults(exp=None, protocol=None, mode=None, shots=None, direction="infrared-to-visible", roles=None)
    verbs = parser.add_subparsers(dest="data_set", required=True, metavar="DATA_SET", parser_class=_Parser)
    sysu = verbs.add_parser("sysu", help="SYSU-MM01: official and AGW galleries, all and indoor search")
    sysu.add_argument("--exp", type=Path, metavar="DIR", help="folder of test_id.mat and rand_perm_cam.mat")
    sysu.add_argument("--protocol", choices=get_args(GalleryChoice), default="official", help="default: official")
    sysu.add_argument("--mode", choices=get_args(Mode), default="all", help="default: all")
    sysu.add_argument("--shots", type=int, default=1, metavar="N", help="images of each identity and camera; default 1")
    regdb = verbs.add_parser("regdb", help="RegDB: give the features or the checkpoint of each split")
    llcm = verbs.add_parser("llcm", help="LLCM")
    for verb in (regdb, llcm):
        default = "visible-to-infrared"
        verb.add_argument("--direction", choices=get_args(Direction), default=default, help=f"default: {default}")
    llcm.add_argument("--roles", choices=get_args(Roles), default="named", help="default: named; see docs")
    for verb in (sysu, regdb, llcm):
        _add_common(verb)
    chosen = parser.parse_args(arguments)
    if problem := _problem(chosen):
        parser.error(problem)
    return chosen


def _add_common(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--features", type=Path, nargs="+", metavar="PATH", help=".npz files, or the folder of NAME_cam#.mat")
    add("--name", metavar="NAME", help="of the features in that folder")
    add("--checkpoint", type=Path, nargs="+", metavar="FILE", help="of a training of the example, with --data")
    add("--data", type=Path, metavar="DIR", help="folder of the data set, to extract features with --checkpoint")
    add("--metric", choices=get_args(Metric), default="cosine", help="default: cosine")
    add("--flip", action="store_true", help="with --checkpoint: average the features of mirrored images")
    add("--rerank", action="store_true", help="k-reciprocal re-ranking")
    constants: Any = Reranking()
    for option, name, kind in (("--k1", "k1", int), ("--k2", "k2", int), ("--lambda", "weight", float)):
        value = getattr(constants, name)
        add(option, dest=name, type=kind, default=value, metavar="X", help=f"of --rerank; default: {value}")
    add("--device", default="cpu", help="as torch calls it; default: cpu")
    add("--json", type=Path, metavar="FILE", help="write the scores with their provenance")


def _problem(chosen: argparse.Namespace) -> str | None:
    """Return what the options lack, or what does not go together."""
    if (chosen.features is None) == (chosen.checkpoint is None):
        return "give either --features or --checkpoint."
    if chosen.checkpoint is not None and chosen.data is None:
        return "--checkpoint needs --data, the folder of the data set."
    if chosen.checkpoint is None and (chosen.flip or chosen.data is not None):
        return (
            "--flip and --data need --checkpoint; saved features cannot be mirrored, average them when you save them."
        )
    paths = chosen.features or chosen.checkpoint
    given = len(paths)
    if given > 1 and chosen.data_set != "regdb":
        return f"{chosen.data_set} is scored with one model, got {given} paths; only RegDB has one for each split."
    if len({path.resolve() for path in paths}) < given:
        return "a path is given twice; give one for each split."
    return None

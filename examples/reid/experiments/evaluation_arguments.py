"""The command line of examples/evaluate.py."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn, get_args

from typing_extensions import override

from reid.data_sets import DATA_SETS, DataSet
from reid.data_sets.data_set import add_options
from reid.evaluation.reranking import Reranking
from reid.evaluation.scores import Metric

__all__ = ["parse"]


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one sentence."""

    @override
    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}\n")


def parse(arguments: Sequence[str] | None, description: str | None = None) -> argparse.Namespace:
    """Read the command line, by default that of the process."""
    parser = _Parser(prog="evaluate", description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.set_defaults(exp=None)
    verbs = parser.add_subparsers(dest="data_set", required=True, metavar="DATA_SET", parser_class=_Parser)
    for name, data_set in DATA_SETS.items():
        _add_options(verbs.add_parser(name, help=data_set.title), data_set)
    chosen = parser.parse_args(arguments)
    if problem := _problem(chosen):
        parser.error(problem)
    return chosen


def _add_options(parser: argparse.ArgumentParser, data_set: DataSet) -> None:
    add = parser.add_argument_group("what is scored").add_argument
    add("--features", type=Path, nargs="+", metavar="PATH", help=".npz files, or the folder that holds them")
    add("--name", metavar="NAME", help="of the features in that folder")
    add("--checkpoint", type=Path, nargs="+", metavar="FILE", help="of a training of the example, with --data")
    add("--data", type=Path, metavar="DIR", help="folder of the data set, to extract features with --checkpoint")
    if data_set.exp is not None:
        add("--exp", type=Path, metavar="DIR", help=f"folder of {data_set.exp}; default: exp in --data")
    add = parser.add_argument_group("protocol").add_argument
    # A model is scored on its own split; in other programs the choice of the gallery is the protocol.
    add_options(add, data_set, without="split", aliases={"gallery": "--protocol"})
    add = parser.add_argument_group("how distances are made").add_argument
    add("--metric", choices=get_args(Metric), default="cosine", help="default: cosine")
    add("--flip", action="store_true", help="with --checkpoint: average the features of mirrored images")
    add("--rerank", action="store_true", help="k-reciprocal re-ranking")
    constants: Any = Reranking()
    for option, name, kind in (("--k1", "k1", int), ("--k2", "k2", int), ("--lambda", "weight", float)):
        value = getattr(constants, name)
        add(option, dest=name, type=kind, default=value, metavar="X", help=f"of --rerank; default: {value}")
    add("--device", default="cpu", help="cpu (default), cuda, …")
    add = parser.add_argument_group("what is written").add_argument
    add("--json", type=Path, metavar="FILE", help="the scores with their provenance; default: nothing")


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
    if given > 1 and "split" not in DATA_SETS[chosen.data_set].options._fields:
        return f"{chosen.data_set} is scored with one model, got {given} paths; it has no splits with a model for each."
    if len({path.resolve() for path in paths}) < given:
        return "a path is given twice; give one for each split."
    return None

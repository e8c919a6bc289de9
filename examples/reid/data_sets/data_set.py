"""What the example knows of a data set: one record, which the file of the data set makes."""

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, get_args, get_type_hints

from reid.data_sets.features import LabelledFeatures
from reid.data_sets.layout import ImageList
from reid.data_sets.listing import Listing
from reid.protocols import Trials

__all__ = ["DataSet", "add_options", "options_of"]


class DataSet(NamedTuple):
    """A data set: how it is called, read, scored and imitated."""

    title: str
    options: Any
    """The options of its protocol with their defaults, a NamedTuple. Both scripts have an option for each.

    Where one is called ``split``, there is a model for each split.
    """
    helps: Mapping[str, str]
    """What the options are, by name."""
    list: Callable[[Path, Any, bool], Listing]
    """Lists a folder with the options; the last argument holds out some training identities to validate on."""
    trials: Callable[[ImageList | LabelledFeatures, Any, Path | None], Trials]
    """Applies the protocol to test images; the path is that of the folder ``exp``, where there is one."""
    look_alike: Callable[..., Path]
    """Makes a synthetic data set in the layout."""
    smoke: Mapping[str, Any]
    """Options of the smallest one."""
    labels: tuple[str, ...]
    """Arrays that the protocol reads beside saved features."""
    galleries: str = "agw"
    """How gallery images are chosen, where no option tells."""
    exp: str | None = None
    """What the folder ``exp`` holds, where scoring saved features needs one."""
    read_features: Callable[[Path, str | None, Any, Path | None], LabelledFeatures] | None = None
    """Reads saved features with the help of ``exp``: path, name, options, ``exp``."""
    protocol_files: Callable[[Any, Path | None], tuple[Path, ...]] = lambda _, __: ()
    """Names the files of ``exp`` that the trials are made from."""
    without_exp: Any = None
    """Options of a protocol that needs no ``exp``, where the default one does."""

    def describe(self, options: Any) -> dict[str, Any]:
        """Return what a provenance says of the protocol; None where it has no such option."""
        told = {name: getattr(options, name, None) for name in ("mode", "shots", "roles")}
        told["gallery"] = getattr(options, "gallery", self.galleries)
        return {**told, "direction": getattr(options, "direction", "infrared-to-visible")}


def add_options(
    add: Callable[..., Any], *data_sets: DataSet, without: str = "", aliases: Mapping[str, str] = {}
) -> None:
    """Add the options of data sets to a command line, those that several have once.

    Args:
        add: a method `add_argument`.
        data_sets: one or more.
        without: name of an option that is left out.
        aliases: other flags, by the name of the option.
    """
    for name in dict.fromkeys(name for one in data_sets for name in one.options._fields if name != without):
        owners = [one for one in data_sets if hasattr(one.options, name)]
        first = owners[0]
        choices, default = get_args(get_type_hints(type(first.options))[name]), getattr(first.options, name)
        add(
            *([aliases[name]] if name in aliases else []),
            f"--{name}",
            dest=name,
            type=type(default),
            choices=choices or None,
            default=default,
            metavar=f"{choices[0]}..{choices[-1]}" if len(choices) > 3 else None if choices else "N",
            help=f"{', '.join(one.title for one in owners)}: {first.helps[name]}; default: {default}",
        )


def options_of(chosen: argparse.Namespace, data_set: DataSet) -> Any:
    """Return the options of a data set as the command line has them."""
    return data_set.options._replace(
        **{name: getattr(chosen, name) for name in data_set.options._fields if hasattr(chosen, name)}
    )

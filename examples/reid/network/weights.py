"""Starts a backbone from the weight file of an ordinary ResNet-50, and tells what was in the file."""

import importlib
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, Final, NamedTuple

import torch
from torch import Tensor

from reid.network.resnet import TwoStreamResNet50

__all__ = ["WeightReport", "load_imagenet_weights", "read_weights"]

# What wrappers put in front of the names.
_PREFIX: Final = re.compile(r"^(module\.)?(backbone\.|encoder\.|model\.)?")
_STREAM: Final = re.compile(r"^stem\.branches\.\d+\.")
_SHOWN: Final = 8
_DAMAGES: Final = (OSError, RuntimeError, UnpicklingError, EOFError, LookupError, TypeError, AttributeError, ValueError)


class WeightReport(NamedTuple):
    """Which names of a file were used; names are those of an ordinary ResNet-50."""

    loaded: tuple[str, ...]
    missing: tuple[str, ...]
    """Of the network, counters of batches that older files lack; everything else has to be there."""
    unexpected: tuple[str, ...]
    """Of the file, such as ``fc.weight``; they are not used."""

    def text(self) -> str:
        """Return one line."""
        parts = {"loaded": self.loaded, "missing": self.missing, "unexpected": self.unexpected}
        return "; ".join(
            f"{len(names)} {what}" + (f" ({_some(names)})" if names and what != "loaded" else "")
            for what, names in parts.items()
        )


def load_imagenet_weights(network: TwoStreamResNet50, path: Path) -> WeightReport:
    """Fill a network, as a whole or not at all; each private stream gets the file's layers of the same name.

    Raises:
        OSError, ValueError: when the file cannot be read (see `read_weights`), a layer is missing, or shapes differ.
    """
    weights = read_weights(path)
    state = network.state_dict()
    sources = {name: _STREAM.sub("", name) for name in state}
    missing = tuple(dict.fromkeys(source for source in sources.values() if source not in weights))
    if lacking := [name for name in missing if not name.endswith("num_batches_tracked")]:
        raise ValueError(
            f"{path} must hold the state dict of a ResNet-50, but lacks {len(lacking)} of its tensors "
            f"({_some(lacking)}): give a file with torchvision's names."
        )
    filled = {name: weights[source] for name, source in sources.items() if source in weights}
    wrong = [name for name, value in filled.items() if value.shape != state[name].shape]
    if wrong:
        raise ValueError(
            f"{path} must hold the state dict of a ResNet-50, but has {tuple(filled[wrong[0]].shape)} for "
            f"{wrong[0]}, which is {tuple(state[wrong[0]].shape)}: give the file of another network."
        )
    network.load_state_dict(state | filled)
    used = set(sources.values())
    loaded = tuple(name for name in weights if name in used)
    return WeightReport(loaded, missing, tuple(name for name in weights if name not in used))


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read named tensors; nothing is downloaded and no code in the file is run.

    Args:
        path: a ``.safetensors`` file, or what ``torch.save`` made of a state dict or of a dictionary that holds
            one under ``"state_dict"`` or ``"model"``.

    Returns:
        The tensors by name, without the ``module.`` and ``backbone.`` that wrappers put in front.

    Raises:
        OSError, ValueError: one sentence, when there is no such file or it holds something else.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} is not a file: give the state dict of an ImageNet ResNet-50 that is on disk.")
    content = _read_safetensors(path) if path.suffix == ".safetensors" else _read_pickle(path)
    for name in ("state_dict", "model"):
        if len(networks := [key for key, value in content.items() if _has_tensors(value)]) > 1:
            raise ValueError(f"{path} holds several networks ({_some(networks)}): save the state dict of one alone.")
        content = content[name] if isinstance(content.get(name), Mapping) else content
    named = [(_PREFIX.sub("", str(name)), value) for name, value in content.items() if isinstance(value, Tensor)]
    tensors = dict(named)
    if not tensors:
        raise ValueError(f"{path} must hold named tensors, but holds none: give a state dict.")
    if len(tensors) < len(named):
        twice = [name for name, count in Counter(name for name, _ in named).items() if count > 1]
        raise ValueError(f"{path} holds {_some(twice)} of several networks: save the state dict of one alone.")
    return tensors


def _has_tensors(value: object) -> bool:
    return isinstance(value, Mapping) and any(isinstance(part, Tensor) for part in value.values())


def _read_safetensors(path: Path) -> Mapping[str, Any]:
    try:
        library: Any = importlib.import_module("safetensors.torch")
    except ImportError as error:
        raise ValueError(
            f"{path} needs the package safetensors ({error}): python -m pip install safetensors, or give a .pth file."
        ) from error
    try:
        tensors: Mapping[str, Any] = library.load_file(path)
    except Exception as error:  # the errors of the package share no class
        raise ValueError(f"{path} is not a whole .safetensors file ({error}): copy it again.") from error
    return tensors


def _read_pickle(path: Path) -> Mapping[str, Any]:
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except _DAMAGES as error:
        raise ValueError(
            f"{path} must hold tensors and nothing else that torch.save wrote ({type(error).__name__}): "
            "save the state dict alone."
        ) from error
    if not isinstance(content, Mapping):
        raise ValueError(f"{path} must hold a state dict, but holds a {type(content).__name__}: save that alone.")
    return content


def _some(names: Sequence[str]) -> str:
    more = "" if len(names) <= _SHOWN else f" and {len(names) - _SHOWN} more"
    return f"{', '.join(map(str, names[:_SHOWN]))}{more}"

"""Turns a malformed batch or option into one sentence."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = [
    "check_batch",
    "check_choice",
    "check_count",
    "check_module_inputs",
    "check_number",
    "host_values",
]

_MOST_MODALITIES = 256


def check_batch(features: Tensor, labels: Tensor, modalities: Tensor, num_modalities: int | None) -> int:
    """Check the data contract of a loss and return the number of modalities.

    Shapes and types are always checked. Values are read where that is free, on the host in eager mode; a batch on an
    accelerator, or one that is being compiled, is not read, since that would make the host wait for the device.
    """
    _check_features(features, dimensions=2, shape="(N, D)")
    _check_numbers("labels", labels, features)
    _check_numbers("modalities", modalities, features)
    return _count_modalities(modalities, num_modalities)


def check_module_inputs(inputs: Tensor, modalities: Tensor, num_modalities: int) -> None:
    """Check that a module got floating rows and one modality number below ``num_modalities`` for each of them."""
    if not isinstance(inputs, Tensor) or not inputs.is_floating_point() or inputs.ndim < 2:
        raise TypeError(f"the inputs must be a floating tensor with one row per image, got {_describe(inputs)}")
    _check_numbers("modalities", modalities, inputs)
    _count_modalities(modalities, num_modalities)


def check_number(
    name: str, value: float, *, least: float = -math.inf, most: float = math.inf, open_least: bool = False
) -> float:
    """Return ``value`` as a float, or say which interval it should be in."""
    interval = f"{'(' if open_least else '['}{least:g}, {most:g}]"
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{name} must be a number in {interval}, got {value!r}")
    if not math.isfinite(value) or not least <= value <= most or (open_least and value == least):
        raise ValueError(f"{name} must be a finite number in {interval}, got {value!r}")
    return float(value)


def check_count(name: str, value: int, *, least: int = 1) -> int:
    """Return ``value``, a whole number of at least ``least``."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be a whole number, got {value!r}")
    if value < least:
        raise ValueError(f"{name} must be at least {least}, got {value}")
    return value


def check_choice(name: str, value: str, known: Sequence[str]) -> str:
    """Return ``value``, or list the known choices."""
    if not isinstance(value, str) or value not in known:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, known))}, got {value!r}")
    return value


def host_values(tensor: Tensor) -> NDArray[Any] | None:
    """Return the values of ``tensor`` where they can be read without making the host wait, else None."""
    if type(tensor) is not Tensor or tensor.device.type != "cpu" or torch.compiler.is_compiling():
        return None
    try:
        return tensor.numpy()
    except RuntimeError as problem:
        if "doesn't have storage" in str(problem):  # a tensor inside a torch.func transform
            return None
        raise  # anything else, as numpy's absence, would switch the checks of values off in silence


def _check_features(features: Tensor, *, dimensions: int, shape: str) -> None:
    if not isinstance(features, Tensor):
        raise TypeError(f"features must be a floating tensor {shape}, got {_describe(features)}")
    if not features.is_floating_point():
        raise TypeError(
            f"features must be a floating tensor {shape}, got {_describe(features)}: no gradient flows through integers"
        )
    if features.ndim != dimensions or features.shape[1] == 0:
        raise ValueError(f"features must have shape {shape}, got {_describe(features)}")


def _check_numbers(name: str, numbers: Tensor, features: Tensor) -> None:
    """Check labels or modalities: one integer for each row of the features, on the same device."""
    if not isinstance(numbers, Tensor):
        hint = " (a tuple of index tensors looks like a miner's output)" if isinstance(numbers, tuple) else ""
        raise TypeError(f"{name} must be an integer tensor (N,), got {_describe(numbers)}{hint}")
    if numbers.is_floating_point() or numbers.is_complex() or numbers.dtype == torch.bool:
        raise TypeError(f"{name} must be an integer tensor (N,), got {_describe(numbers)}; convert it with .long()")
    if numbers.shape != features.shape[:1]:
        raise ValueError(
            f"{name} must have shape ({features.shape[0]},), one for each row of the features "
            f"{tuple(features.shape)}, got {_describe(numbers)}"
        )
    if numbers.device != features.device:
        raise ValueError(f"{name} must be on {features.device} like the features, got {_describe(numbers)}")


def _count_modalities(modalities: Tensor, num_modalities: int | None) -> int:
    if num_modalities is not None:
        check_count("num_modalities", num_modalities)
    values = host_values(modalities)
    if values is None or values.size == 0:
        return num_modalities or 2
    least, most = int(values.min()), int(values.max())
    limit = num_modalities or _MOST_MODALITIES
    if least < 0 or most >= limit:
        wrong = least if least < 0 else most
        raise ValueError(
            f"modalities must be numbers from 0 to {limit - 1} (0 visible, 1 infrared), got {wrong}; "
            "modinv.modalities_from_cameras makes them from camera numbers"
        )
    return num_modalities or max(2, most + 1)


def _describe(value: object) -> str:
    if isinstance(value, Tensor):
        return f"{value.dtype} of shape {tuple(value.shape)} on {value.device}"
    return f"{type(value).__name__}" if not isinstance(value, str | int | float | None) else repr(value)

"""Turns a malformed batch or option into one sentence."""

import math
from collections.abc import Sequence
from typing import Any, NoReturn, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = [
    "check_batch",
    "check_choice",
    "check_count",
    "check_eps",
    "check_flag",
    "check_floating",
    "check_inputs",
    "check_integers",
    "check_margin",
    "check_module_inputs",
    "check_number",
    "check_target",
    "describe",
    "host_values",
    "is_traced",
    "refuse_vmap",
]

Choice = TypeVar("Choice", bound=str)

# The cost grows with the square of the modalities, and a slip gives large numbers: who has more says so.
_MOST_MODALITIES = 16
_NUMBERS = (int, float)  # a tuple, since Dynamo of torch 2.4 traces no union of types
_INTEGERS = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)  # torch compares no other unsigned ones


def check_batch(features: Tensor, labels: Tensor, modalities: Tensor, num_modalities: int | None) -> tuple[int, bool]:
    """Check the data contract of a loss; return the number of modalities, and whether their values were read.

    Shapes and types are always checked. Values are read where that is free, on the CPU in eager mode; a batch on an
    accelerator, or one that is being compiled, is not read, since that would make the CPU wait for the device.
    """
    check_floating("features", features, shape="(N, D)")
    if features.ndim != 2 or features.shape[1] == 0:
        raise ValueError(f"features must have shape (N, D), got {describe(features)}")
    _check_rows("labels", labels, features)
    _check_rows("modalities", modalities, features)
    return _count_modalities(modalities, num_modalities)


def check_module_inputs(inputs: Tensor, modalities: Tensor, num_modalities: int) -> None:
    """Check that a module got floating rows and one modality number below ``num_modalities`` for each of them."""
    check_floating("the inputs", inputs, shape="with one row per image")
    if inputs.ndim < 2:
        raise ValueError(f"the inputs must be a floating tensor with one row per image, got {describe(inputs)}")
    _check_rows("modalities", modalities, inputs)
    _count_modalities(modalities, num_modalities)


def check_floating(name: str, value: Tensor, *, shape: str) -> None:
    """Check that ``value`` is an ordinary floating tensor; ``shape`` is for the sentence."""
    if not isinstance(value, Tensor) or not value.is_floating_point():
        hint = ": no gradient flows through integers" if isinstance(value, Tensor) else ""
        raise TypeError(f"{name} must be a floating tensor {shape}, got {describe(value)}{hint}")
    if value.layout != torch.strided or value.is_nested:
        raise _not_dense(name, value)


def check_integers(name: str, value: Tensor) -> None:
    """Check that ``value`` is an ordinary tensor of integers."""
    if not isinstance(value, Tensor) or value.dtype not in _INTEGERS:
        raise TypeError(f"{name} must be an integer tensor (N,), got {describe(value)}{_way_to_integers(name, value)}")
    if value.layout != torch.strided or value.is_nested:
        raise _not_dense(name, value)


def check_number(
    name: str, value: float, *, least: float = -math.inf, most: float = math.inf, open_least: bool = False
) -> float:
    """Return ``value`` as a float, or say which interval it should be in."""
    interval = f"{'(' if open_least else '['}{least:g}, {most:g}]"
    number = _plain(value)
    if isinstance(number, bool) or not isinstance(number, _NUMBERS):
        raise TypeError(f"{name} must be a number in {interval}, got {describe(value)}")
    if not math.isfinite(number) or not least <= number <= most or (open_least and number == least):
        raise ValueError(f"{name} must be a finite number in {interval}, got {number!r}")
    return float(number)


def check_count(name: str, value: int, *, least: int = 1) -> int:
    """Return ``value``, a whole number of at least ``least``."""
    number = _plain(value)
    if isinstance(number, bool) or not isinstance(number, int):
        raise TypeError(f"{name} must be a whole number, got {describe(value)}")
    if number < least:
        raise ValueError(f"{name} must be at least {least}, got {number}")
    return number


def check_margin(margin: float | None) -> float | None:
    """Return the margin of a hinge as a float, or None, which stands for the soft margin."""
    return None if margin is None else check_number("margin", margin, least=0)


def check_choice(name: str, value: Choice, known: Sequence[Choice]) -> Choice:
    """Return ``value``, or list the known choices."""
    if not isinstance(value, str) or value not in known:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, known))}, got {value!r}")
    return value


def check_flag(name: str, value: bool) -> bool:
    """Return ``value``, which must be True or False."""
    if not isinstance(value, bool):
        raise TypeError(f"{name} must be True or False, got {value!r}")
    return value


def check_target(target: int | None, num_modalities: int | None) -> int | None:
    """Return the number of a modality, below ``num_modalities`` where that is given, or None."""
    if target is None:
        return None
    target = check_count("target", target, least=0)
    if num_modalities is not None and target >= num_modalities:
        raise ValueError(f"target must be one of {num_modalities} modalities, 0 to {num_modalities - 1}, got {target}")
    return target


def is_traced() -> bool:
    """Tell whether ``torch.jit.trace`` is running, whose graph must serve other values too."""
    traced: bool = torch.jit.is_tracing()  # type: ignore[attr-defined]
    return traced


def host_values(tensor: Tensor) -> NDArray[Any] | None:
    """Return the values of ``tensor`` where they can be read without making the CPU wait, else None."""
    if type(tensor) is not Tensor or tensor.device.type != "cpu" or torch.compiler.is_compiling():
        return None
    try:
        return tensor.numpy()
    except RuntimeError as problem:
        if "doesn't have storage" in str(problem):  # a tensor inside a torch.func transform
            return None
        raise  # anything else, as numpy's absence, would switch the checks of values off in silence


def refuse_vmap(*_: object) -> NoReturn:
    """Stand in for the ``vmap`` of an autograd function that has none."""
    raise RuntimeError("torch.func.vmap cannot map this loss: call it on each part and add up the values")


def _plain(value: object) -> object:
    """Return the Python number in a scalar of numpy or torch, and anything else as it is."""
    if isinstance(value, _NUMBERS):  # what a compiled graph meets; Dynamo cannot trace the look for numpy's types
        return value
    if isinstance(value, np.generic | np.ndarray) and value.ndim == 0:
        return value.item()
    # A tensor with a gradient is left alone: an option is a constant, and its gradient would be lost in silence.
    if isinstance(value, Tensor) and value.ndim == 0 and not value.requires_grad and not value.is_meta:
        return value.item()
    return value


def _way_to_integers(name: str, value: object) -> str:
    """Say how a vector of integers is made of what came, or what that looks like."""
    if value is None and name == "modalities":
        return "; modinv.GivenModalities is for a library that passes none to a loss"
    if isinstance(value, Tensor):
        rows = value.ndim == 2 and value.is_floating_point()
        return "; modinv.batch_from_streams joins two streams" if rows else "; convert it with .long()"
    if isinstance(value, tuple | list) and value and isinstance(value[0], str):
        return " of strings; number them"
    if isinstance(value, tuple):
        return " (a tuple of index tensors looks like a miner's output)"
    return "; convert it with torch.as_tensor" if isinstance(value, list | np.ndarray) else ""


def _not_dense(name: str, value: Tensor) -> TypeError:
    kind = "nested" if value.is_nested else f"{value.layout} layout"
    return TypeError(f"{name} must be a dense tensor, got a {kind}: convert it with .to_dense() or pad it")


def _check_rows(name: str, numbers: Tensor, features: Tensor) -> None:
    """Check labels or modalities: one integer for each row of the features, on the same device."""
    check_integers(name, numbers)
    if numbers.shape != features.shape[:1]:
        raise ValueError(
            f"{name} must have shape ({features.shape[0]},), one for each row of the features "
            f"{tuple(features.shape)}, got {describe(numbers)}"
        )
    if numbers.device != features.device:
        raise ValueError(f"{name} must be on {features.device} like the features, got {describe(numbers)}")


def _count_modalities(modalities: Tensor, num_modalities: int | None) -> tuple[int, bool]:
    if num_modalities is not None:
        check_count("num_modalities", num_modalities)
    values = host_values(modalities)
    if values is None or values.size == 0:
        return num_modalities or 2, values is not None
    least, most = int(values.min()), int(values.max())
    limit = num_modalities or _MOST_MODALITIES
    if least < 0 or most >= limit:
        wrong = least if least < 0 else most
        more = "" if num_modalities or wrong < 0 else ", and num_modalities says where there are more"
        raise ValueError(
            f"modalities must be numbers from 0 to {limit - 1} (0 visible, 1 infrared), got {wrong}; "
            f"modinv.modalities_from_cameras makes them from camera numbers{more}"
        )
    return num_modalities or max(2, most + 1), True


def describe(value: object) -> str:
    """Say in a few words what came in place of what was expected."""
    if isinstance(value, Tensor):
        shape = "" if value.is_nested else f" of shape {tuple(value.shape)}"
        return f"{value.dtype}{shape} on {value.device}"
    if isinstance(value, type):
        return f"the class {value.__name__}"
    return type(value).__name__ if not isinstance(value, str | int | float | None) else repr(value)


def check_eps(eps: float) -> float:
    """Return ``eps``, or refuse it where float32 cannot hold it or eps^(-3/2), a factor of gradients."""
    return check_number("eps", eps, least=1e-25, most=1e38)


def check_inputs(name: str, inputs: Tensor, dimensions: Sequence[int], width: int | None = None) -> None:
    """Check that a module got vectors (2 dimensions) or maps (4) of floating type, with ``width`` features if given."""
    shapes = " or ".join({2: "(N, D)", 4: "(N, C, H, W)"}[number] for number in dimensions)
    check_floating(name, inputs, shape=shapes)
    if inputs.ndim not in dimensions or 0 in inputs.shape[1:]:
        raise ValueError(f"{name} must have the shape {shapes}, all but N at least 1, got {tuple(inputs.shape)}")
    if width is not None and inputs.shape[1] != width:
        raise ValueError(
            f"{name} must have {width} features per row, as at construction, got {inputs.shape[1]} "
            f"(shape {tuple(inputs.shape)})"
        )

"""Check the shape of a module's input, where vectors, maps or both are allowed."""

from torch import Tensor

from modinv._checks import check_dense

__all__ = ["check_inputs"]

_SHAPES = {2: "(N, D)", 4: "(N, C, H, W)"}


def check_inputs(name: str, inputs: object, width: int | None, dimensions: tuple[int, ...]) -> None:
    """Refuse anything but a floating tensor of one of the ``dimensions`` with ``width`` features."""
    expected = " or ".join(_SHAPES[dimension] for dimension in dimensions)
    if not isinstance(inputs, Tensor):
        raise TypeError(f"{name} must be a tensor {expected}, got {type(inputs).__name__}")
    if not inputs.is_floating_point():
        raise TypeError(f"{name} must be floating point, got {inputs.dtype}: convert them with .float()")
    check_dense(name, inputs)
    if inputs.ndim not in dimensions:
        raise ValueError(f"{name} must have the shape {expected}, got {tuple(inputs.shape)}")
    if width is not None and inputs.shape[1] != width:
        raise ValueError(
            f"{name} must have {width} features per row, as at construction, got {inputs.shape[1]} "
            f"(shape {tuple(inputs.shape)})"
        )

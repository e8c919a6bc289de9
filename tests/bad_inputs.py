"""What is no features and what is no labels or modalities, each made from a good tensor."""

import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

__all__ = ["NO_FEATURES", "NO_MODALITIES", "NO_NUMBERS", "Bad"]


class Bad(NamedTuple):
    """One malformed argument."""

    make: Callable[[Tensor], Any]
    says: str  # what the sentence names, a regular expression


def _nested(rows: Tensor, layout: torch.layout) -> Tensor:
    return torch.nested.nested_tensor([row.reshape(-1) for row in rows], layout=layout)


def _quietly(make: Callable[[Tensor], Any]) -> Callable[[Tensor], Any]:
    """Torch warns about layouts that are young."""

    def made(rows: Tensor) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return make(rows)

    return made


_NO_TENSORS = {
    "a list": Bad(lambda rows: rows.tolist(), "list"),
    "an array": Bad(lambda rows: rows.numpy(), "ndarray"),
    "None": Bad(lambda _: None, "None"),
    "a miner's tuple": Bad(lambda rows: (rows, rows), "tuple"),
}
_NO_DENSE = {
    "sparse": Bad(_quietly(lambda rows: rows.to_sparse()), "sparse"),
    "nested": Bad(_quietly(lambda rows: _nested(rows, torch.strided)), "nested"),
    "jagged": Bad(_quietly(lambda rows: _nested(rows, torch.jagged)), "nested"),
}
NO_FEATURES = {
    **_NO_TENSORS,
    **_NO_DENSE,
    "compressed": Bad(_quietly(lambda rows: rows.to_sparse_csr()), "sparse"),
    "integers": Bad(lambda rows: rows.long(), "torch.int64"),
    "Boolean": Bad(lambda rows: rows > 0, "torch.bool"),
    "complex": Bad(lambda rows: rows.to(torch.complex64), "torch.complex64"),
    "quantized": Bad(
        _quietly(lambda rows: torch.quantize_per_tensor(rows.float(), 0.1, 0, torch.qint8)), "torch.qint8"
    ),
    "a scalar": Bad(lambda rows: rows.sum(), r"shape|one row per image"),
    "a vector": Bad(lambda rows: rows[:, 0], r"shape|one row per image"),
    "without columns": Bad(lambda rows: rows[:, :0], r"shape|features"),
}
NO_NUMBERS = {
    **_NO_TENSORS,
    **_NO_DENSE,
    "a list": Bad(lambda numbers: numbers.tolist(), r"list; convert it with torch\.as_tensor"),
    "an array": Bad(lambda numbers: numbers.numpy(), r"ndarray; convert it with torch\.as_tensor"),
    "strings": Bad(lambda numbers: [f"person {number}" for number in numbers], "list of strings; number them"),
    "the rows of another stream": Bad(lambda numbers: numbers[:, None] / torch.ones(3), "batch_from_streams"),
    "floating": Bad(lambda numbers: numbers.float(), r"torch.float32"),
    "NaN": Bad(lambda numbers: numbers * torch.nan, r"torch.float32"),
    "Boolean": Bad(lambda numbers: numbers > 0, "torch.bool"),
    "complex": Bad(lambda numbers: numbers.to(torch.complex64), "torch.complex64"),
    "unsigned, 16 bits": Bad(lambda numbers: numbers.abs().to(torch.uint16), r"torch.uint16.*\.long\(\)"),
    "unsigned, 32 bits": Bad(lambda numbers: numbers.abs().to(torch.uint32), r"torch.uint32.*\.long\(\)"),
    "unsigned, 64 bits": Bad(lambda numbers: numbers.abs().to(torch.uint64), r"torch.uint64.*\.long\(\)"),
    "a scalar": Bad(lambda numbers: numbers[0], r"shape|labels"),
    "a column": Bad(lambda numbers: numbers[:, None], r"shape|labels"),
    "too few": Bad(lambda numbers: numbers[1:], r"shape|labels"),
    "too many": Bad(lambda numbers: torch.cat([numbers, numbers]), r"shape|labels"),
    "elsewhere": Bad(lambda numbers: numbers.to("meta"), "meta"),
}
NO_MODALITIES = {
    **NO_NUMBERS,
    "None": Bad(lambda _: None, "None; modinv.GivenModalities"),
    "negative": Bad(lambda numbers: -1 - numbers, "got -"),
    "huge": Bad(lambda numbers: numbers + 10**6, r"got 100000"),
    "16 and more": Bad(lambda numbers: numbers + 15, "got 16"),
}

"""The sum that is minimized: identity cross-entropy, and a method's losses, which share a Gram matrix.

Where several processes train one model, each computes the whole sum of the rows of all of them.
"""

from collections import namedtuple
from typing import Any, Final

import torch
from torch import Tensor, distributed, nn
from torch.nn import functional

from modinv import WeightedLosses
from modinv.batches import Batch
from modinv.distributed import gather_batch
from reid.network.model import Outputs
from reid.training.methods import Method

__all__ = ["Objective"]

_PRIVATE: Final = {"enhanced_identity": "private_logits", "cross_identity": "cross_logits"}


class Objective(nn.Module):
    """Add the identity losses, with weight 1, and the losses of a method, with theirs.

    The losses that read one and the same feature matrix share its Gram matrix. Means are means over the
    batch of all processes, however its rows are spread; see `modinv.distributed.gather_batch`.

    Args:
        method: which losses, where and with what weight. The weights are at their full value until
            `set_progress` is called.
    """

    def __init__(self, method: Method) -> None:
        super().__init__()
        self.method = method
        places = dict.fromkeys(term.reads for term in method.terms.values())
        self.losses = nn.ModuleDict(
            {
                place: WeightedLosses(
                    {name: (term.weight, term.loss()) for name, term in method.terms.items() if term.reads == place}
                )
                for place in places
            }
        )
        identities = ["identity", *(_PRIVATE if method.enhance else ())]
        self._terms = namedtuple("ObjectiveTerms", ["total", *identities, *method.terms])  # type: ignore[misc]

    def set_progress(self, progress: float) -> None:
        """Set the weights for a moment of the training: 0 at the first step, 1 after the last."""
        for name, term in self.method.terms.items():
            share = min(1.0, progress / term.warmup) if term.warmup else 1.0
            self._weighted(term.reads).weights[name] = share * term.weight

    def terms(self, outputs: Outputs, labels: Tensor, modalities: Tensor) -> Any:
        """Return every term, attached to the graph.

        Args:
            outputs: of the network for N images, in any floating type; computed in float32 at least.
            labels: ``(N,)``, from 0 to the number of identities in training - 1.
            modalities: ``(N,)``, `modinv.VISIBLE` or `modinv.INFRARED`.

        Returns:
            A NamedTuple of scalars: ``total``, ``identity``, for a method with private classifiers
            ``enhanced_identity`` and ``cross_identity``, then each loss of the method by its name, without its weight.

        Raises:
            ValueError: when the method reads private classifiers and the network has none.
        """
        outputs, labels, modalities = _of_all_processes(outputs, labels, modalities)
        values: dict[str, Tensor] = {"identity": functional.cross_entropy(_at_least_float32(outputs.logits), labels)}
        for name, place in _PRIVATE.items() if self.method.enhance else ():
            values[name] = functional.cross_entropy(_at_least_float32(_private(outputs, place)), labels)
        total = torch.stack(list(values.values())).sum()
        for place in self.losses:
            parts = self._weighted(place).terms(getattr(outputs, place), labels, modalities)._asdict()
            total = total + parts.pop("total")
            values |= parts
        return self._terms(total, **values)

    def forward(self, outputs: Outputs, labels: Tensor, modalities: Tensor) -> Tensor:
        """Return the total, ()."""
        total: Tensor = self.terms(outputs, labels, modalities).total
        return total

    def _weighted(self, place: str) -> WeightedLosses:
        losses = self.losses[place]
        assert isinstance(losses, WeightedLosses)
        return losses


def _of_all_processes(outputs: Outputs, labels: Tensor, modalities: Tensor) -> tuple[Outputs, Tensor, Tensor]:
    """Put the rows of all processes together; alone, everything stays as it is."""
    if not distributed.is_available() or not distributed.is_initialized():
        return outputs, labels, modalities
    columns = [_at_least_float32(part) for part in outputs if part is not None]
    # Side by side, so that they travel once.
    rows, labels, modalities = gather_batch(Batch(torch.cat(columns, dim=1), labels, modalities))
    return Outputs(*torch.split(rows, [column.shape[1] for column in columns], dim=1)), labels, modalities


def _at_least_float32(values: Tensor) -> Tensor:
    return values.to(torch.promote_types(values.dtype, torch.float32))


def _private(outputs: Outputs, place: str) -> Tensor:
    logits: Tensor | None = getattr(outputs, place)
    if logits is None:
        raise ValueError(
            "the method reads private classifiers, but the network has none: build TwoStreamNetwork with enhance=True."
        )
    return logits

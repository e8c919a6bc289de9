"""The sum that is minimized: identity cross-entropy, and a method's losses, which share a Gram matrix.

Where several processes train one model, each computes the whole sum of the rows of all of them.
"""

from collections import namedtuple
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.nn import functional

from modinv import WeightedLosses
from modinv.batches import Batch
from modinv.distributed import gather_batch
from modinv.modules import EnhancedFeatures
from reid.network.model import Outputs
from reid.training.methods import Method

__all__ = ["Objective"]


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
        identities = ["identity", "enhanced_identity"] if method.enhance else ["identity"]
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
            A NamedTuple of scalars: ``total``, ``identity``, ``enhanced_identity`` for a method with private
            branches, then each loss of the method by its name, without its weight.

        Raises:
            ValueError: when the method reads the private branches and the network has none.
        """
        outputs, labels, modalities = _of_all_processes(outputs, labels, modalities)
        values: dict[str, Tensor] = {"identity": functional.cross_entropy(_at_least_float32(outputs.logits), labels)}
        if self.method.enhance:
            logits = _at_least_float32(_enhanced_logits(outputs))
            values["enhanced_identity"] = functional.cross_entropy(logits, labels)
        total = torch.stack(list(values.values())).sum()
        for place in self.losses:
            matrix = _matrix(outputs, place)
            parts = self._weighted(place).terms(matrix, labels, modalities)._asdict()
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
    enhanced = outputs.enhanced or EnhancedFeatures(outputs.features[:, :0], None)
    parts = [*outputs[:3], enhanced.features, enhanced.logits]
    columns = [_at_least_float32(part) for part in parts if part is not None]
    # Side by side, so that they travel once.
    rows, labels, modalities = gather_batch(Batch(torch.cat(columns, dim=1), labels, modalities))
    features, embedding, logits, *others = torch.split(rows, [column.shape[1] for column in columns], dim=1)
    if outputs.enhanced is None:
        return Outputs(features, embedding, logits, None), labels, modalities
    private = EnhancedFeatures(others[0], others[1] if len(others) > 1 else None)
    return Outputs(features, embedding, logits, private), labels, modalities


def _at_least_float32(values: Tensor) -> Tensor:
    return values.to(torch.promote_types(values.dtype, torch.float32))


def _matrix(outputs: Outputs, place: str) -> Tensor:
    if place != "enhanced":
        matrix: Tensor = getattr(outputs, place)
        return matrix
    assert outputs.enhanced is not None  # `_enhanced_logits` has been asked before
    return outputs.enhanced.features


def _enhanced_logits(outputs: Outputs) -> Tensor:
    if outputs.enhanced is None or outputs.enhanced.logits is None:
        raise ValueError(
            "the method reads the private branches, but the network has none with a classifier: "
            "build TwoStreamNetwork with enhance=True."
        )
    return outputs.enhanced.logits

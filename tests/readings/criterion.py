"""The sum that a reading minimizes: identity loss, AGW's triplet, the private losses, distribution consistency."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

import modinv
from readings.network import Outputs, ReadingNetwork
from readings.reading import Reading

__all__ = ["Criterion"]

_TEMPERATURE = 2.0
_WARMUP = 0.4  # share of the steps over which the consistency loss grows, as in the example


class Criterion(nn.Module):
    """All losses of a reading with their weights."""

    def __init__(self, reading: Reading) -> None:
        super().__init__()
        self.reading = reading
        self.triplet = modinv.WeightedRegularizedTripletLoss()
        self.intra = modinv.IntraModalityLoss()
        self.consistency: nn.Module | None = None
        if reading.divergence is not None:
            options: Any = {"divergence": reading.divergence, **reading.options}
            self.consistency = modinv.GaussianDistributionConsistencyLoss(**options)

    def forward(
        self, outputs: Outputs, labels: Tensor, modalities: Tensor, *, progress: float, network: ReadingNetwork
    ) -> dict[str, Tensor]:
        """Return each part with its weight, at a moment of the training from 0 to 1."""
        parts = {
            "identity": functional.cross_entropy(outputs.logits, labels),
            "triplet": self.triplet(outputs.features, labels, modalities),
        }
        share = _share(self.reading, progress)
        parts |= {name: share * part for name, part in self._private(outputs, labels, modalities, network).items()}
        if self.consistency is not None:
            strength = min(1.0, progress / _WARMUP) * self.reading.strength
            parts["consistency"] = strength * self.consistency(outputs.embedding, labels, modalities)
        return parts

    def _private(
        self, outputs: Outputs, labels: Tensor, modalities: Tensor, network: ReadingNetwork
    ) -> dict[str, Tensor]:
        reading, parts, logits = self.reading, dict[str, Tensor](), outputs.private_logits
        if logits is not None:
            parts["private identity"] = reading.identity * functional.cross_entropy(logits, labels)
        if reading.loss is not None:
            features = outputs.features if reading.shared else outputs.private_features
            assert features is not None
            parts["within"] = reading.weight * self._within(features, labels, modalities)
        if reading.teach in ("shared", "mutual") and logits is not None:
            parts["teaching"] = _divergence(logits, outputs.logits)
            if reading.teach == "mutual":
                parts["teaching"] = parts["teaching"] + _divergence(outputs.logits, logits)
        if reading.cross or reading.teach == "other":
            assert outputs.private_embedding is not None
            assert logits is not None
            visible, infrared = (outputs.private_embedding @ weight.T for weight in network.classifiers.detach())
            other = torch.where(modalities[:, None] == 0, infrared, visible)
            parts["cross"] = reading.cross * functional.cross_entropy(other, labels)
            if reading.teach == "other":
                parts["teaching"] = _divergence(logits, other)
        return parts

    def _within(self, features: Tensor, labels: Tensor, modalities: Tensor) -> Tensor:
        if self.reading.loss == "hard":
            return _batch_hard(features, labels, modalities)
        terms = self.intra.terms(features, labels, modalities)
        value: Tensor = terms.compactness if self.reading.loss == "center" else terms.total
        return value


def _share(reading: Reading, progress: float) -> float:
    started = min(1.0, max(0.0, (progress - reading.start) / 0.1)) if reading.start else 1.0
    return started * (max(0.0, 1 - progress / reading.stop) if reading.stop else 1.0)


def _divergence(teacher: Tensor, student: Tensor) -> Tensor:
    """Hinton et al. 2015: Kullback-Leibler of the softened scores; the teacher gets no gradient."""
    taught, learned = (functional.log_softmax(scores / _TEMPERATURE, dim=1) for scores in (teacher.detach(), student))
    return functional.kl_div(learned, taught, log_target=True, reduction="batchmean") * _TEMPERATURE**2


def _batch_hard(features: Tensor, labels: Tensor, modalities: Tensor) -> Tensor:
    """Hermans et al. 2017, among the rows of one modality, with a soft margin."""
    distances = torch.cdist(features, features)
    here, same = modalities[:, None] == modalities, labels[:, None] == labels
    farthest = distances.masked_fill(~(here & same), 0).amax(1)
    nearest = distances.masked_fill(~(here & ~same), float("inf")).amin(1)
    return functional.softplus(farthest - nearest).mean()

"""The example's network at half its width, with the private branches of a reading."""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple
from unittest.mock import patch

import torch
from torch import Tensor, nn

from modinv.modules import IntraModalityEnhancer, PerModality, PerModalityBatchNorm
from readings.reading import Reading
from reid.network import backbone
from reid.network.model import TwoStreamNetwork

__all__ = ["Outputs", "ReadingNetwork", "start_from"]

_STAGES: Final = ((16, 16, 1), (16, 16, 2), (16, 32, 2), (32, 64, 1))
_STRIPES: Final = 3


class Outputs(NamedTuple):
    """Of the shared path, and of the private branches where there are any."""

    features: Tensor
    embedding: Tensor
    logits: Tensor
    private_features: Tensor | None = None
    private_embedding: Tensor | None = None
    private_logits: Tensor | None = None


class ReadingNetwork(nn.Module):
    """Map images and modalities to `Outputs`; the branches are built last, so that seeds start alike."""

    def __init__(self, identities: int, reading: Reading) -> None:
        super().__init__()
        self.reading = reading
        with (
            patch.multiple(backbone, _STAGES=_STAGES),
            patch.object(backbone.SmallBackbone, "out_channels", _STAGES[-1][1]),
        ):
            network = TwoStreamNetwork(identities, enhance=False, private_stages=reading.private_stages)
        assert isinstance(network.backbone, backbone.SmallBackbone)
        self.backbone, self.pool, self.head = network.backbone, network.pool, network.head
        self.balance = _Balance(reading.pull)
        width = (_STAGES[-1][1] if reading.place != "early" else _STAGES[reading.private_stages - 1][1]) * _STRIPES
        if reading.place in ("pooled", "path"):
            self.enhancer = IntraModalityEnhancer(width, num_classes=identities)
        if reading.place in ("direct", "stage", "early"):
            self.neck = PerModalityBatchNorm(width)
            for name, parameter in self.neck.named_parameters():
                parameter.requires_grad_("bias" not in name)
        if reading.place in ("direct", "neck", "stage", "early"):
            self.classifiers = nn.Parameter(torch.randn(2, identities, width) * 0.001)
        if reading.place == "stage":
            self.stage = PerModality(lambda: backbone.ResidualBlock(*_STAGES[-1][:2]))

    def forward(self, images: Tensor, modalities: Tensor) -> Outputs:
        """Return what both paths give."""
        place, images = self.reading.place, images.contiguous(memory_format=torch.channels_last)
        if place in ("stage", "early"):
            maps = self.backbone.stem(images, modalities)
            trunk = self.backbone.trunk
            shared, private = self.balance.split(trunk[:-1](maps) if place == "stage" else maps)
            pooled = self.pool(trunk[-1](shared) if place == "stage" else trunk(shared))
            features = self.pool(self.stage(private, modalities) if place == "stage" else private)
            return self._outputs(pooled, modalities)._replace(**self._private(features, modalities))
        pooled = self.pool(self.backbone(images, modalities))
        if place is None:
            return self._outputs(pooled, modalities)
        if place == "path":
            enhanced = self.enhancer(pooled, modalities)
            return Outputs(*self.head(enhanced.features, modalities), *enhanced[:1], *enhanced)
        if place == "neck":
            outputs = self._outputs(pooled, modalities)
            shared, private = self.balance.split(outputs.embedding)
            outputs = outputs._replace(embedding=shared, logits=self.head.classifier(shared))
            return outputs._replace(
                private_features=pooled, private_embedding=private, private_logits=self._classify(private, modalities)
            )
        shared, private = self.balance.split(pooled)
        outputs = self._outputs(shared, modalities)
        if place == "direct":
            return outputs._replace(**self._private(private, modalities))
        enhanced = self.enhancer(private, modalities)
        return Outputs(*outputs[:3], enhanced.features, *enhanced)

    def _outputs(self, pooled: Tensor, modalities: Tensor) -> Outputs:
        return Outputs(*self.head(pooled, modalities))

    def _private(self, features: Tensor, modalities: Tensor) -> dict[str, Tensor]:
        embedding = self.neck(features, modalities)
        logits = self._classify(embedding, modalities)
        return {"private_features": features, "private_embedding": embedding, "private_logits": logits}

    def _classify(self, embedding: Tensor, modalities: Tensor) -> Tensor:
        visible, infrared = (embedding @ weight.T for weight in self.classifiers)
        return torch.where(modalities[:, None] == 0, visible, infrared)


class _Balance:
    """Gives the branches' gradient a norm that is a share of that of the shared path, at the place where they part."""

    def __init__(self, pull: float | None) -> None:
        self._pull = pull
        self._norm: float | None = None  # of the shared path, a moving mean

    def split(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Return the features twice, for the shared path and for the branches."""
        if self._pull is None or not features.requires_grad:
            return features, features
        shared, private = features.view_as(features), features.view_as(features)
        shared.register_hook(self._record)
        private.register_hook(self._scale)
        return shared, private

    def _record(self, gradient: Tensor) -> None:
        norm = float(gradient.norm())
        self._norm = norm if self._norm is None else 0.9 * self._norm + 0.1 * norm

    def _scale(self, gradient: Tensor) -> Tensor:
        assert self._pull is not None
        return gradient * (self._pull * (self._norm or 0.0) / (float(gradient.norm()) + 1e-12))


@torch.no_grad()
def start_from(network: ReadingNetwork, pretrained: Mapping[str, Any]) -> None:
    """Put the weights of a pretrained backbone in: those of its stem and its private stages for both modalities."""
    own, private_stages, trunk = network.state_dict(), network.reading.private_stages, "backbone.trunk."
    for name, values in pretrained.items():
        if name.startswith(trunk):
            stage, rest = int(name[len(trunk)]), name[len(trunk) + 2 :]
            if stage >= private_stages:
                own[f"{trunk}{stage - private_stages}.{rest}"].copy_(values)
            else:
                for branch in range(2):
                    own[f"backbone.stem.branches.{branch}.{3 + stage}.{rest}"].copy_(values)
        elif "branches.0" in name:
            for branch in range(2):
                own[name.replace("branches.0", f"branches.{branch}")].copy_(values)
    if network.reading.place == "stage":
        for copy in network.stage.branches:
            copy.load_state_dict(network.backbone.trunk[-1].state_dict())

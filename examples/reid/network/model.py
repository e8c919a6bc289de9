"""The network of the paper: two streams, pooled, into the shared head with private classifiers beside it."""

from typing import Any, Literal, NamedTuple, get_args

from torch import Tensor, nn

from modinv.modules import GeM, IntraModalityEnhancer, ModalityInvariantHead
from reid.network.backbone import SmallBackbone
from reid.network.resnet import TwoStreamResNet50

__all__ = ["BackboneName", "Outputs", "TwoStreamNetwork"]

BackboneName = Literal["small", "resnet50"]


class Outputs(NamedTuple):
    """What the network gives for a batch; row i belongs to image i."""

    features: Tensor  # pooled, before the neck, (N, D): for metric losses
    embedding: Tensor  # after the neck, (N, D): for retrieval, and for the distribution consistency loss
    logits: Tensor  # scores of the identities by the shared classifier, (N, C)
    private_logits: Tensor | None = None
    """Scores by the classifier of the image's own modality, (N, C); None without private classifiers."""
    cross_logits: Tensor | None = None
    """Scores by the classifier of the other modality, which gets no gradient from them, (N, C)."""


class TwoStreamNetwork(nn.Module):
    """Map images (N, 3, H, W) and modalities (N,) to what the objective needs.

    Backbone with a private stem per modality, GeM pooling of horizontal stripes, the modality-invariant head
    on the pooled features, and the private classifiers of the intra-modality enhancing module on its embedding. They
    shape the shared features through their gradient alone. How the paper wires them is not in its abstract; of the
    readings that were tried (docs/readings.md) this one helps.

    Args:
        num_identities: Number C of identities in training.
        backbone: ``"small"`` (64 x 32 images on a CPU) or ``"resnet50"`` (the field's usual). Default small.
        enhance: Whether the private classifiers exist. Default true.
        stripes: Number of horizontal stripes. Default None: 3 for the small backbone, 1 for ResNet-50.
        private_stages: How many stages of the backbone each modality has for itself, beside the stem.
            Default 0, of 4.

    Raises:
        ValueError: If the backbone is not one of the known ones, or has not as many stages.
    """

    def __init__(
        self,
        num_identities: int,
        *,
        backbone: BackboneName = "small",
        enhance: bool = True,
        stripes: int | None = None,
        private_stages: int = 0,
    ) -> None:
        super().__init__()
        if backbone not in get_args(BackboneName):
            raise ValueError(f"backbone must be one of {', '.join(get_args(BackboneName))}, got {backbone!r}")
        small = backbone == "small"
        self.backbone = (SmallBackbone if small else TwoStreamResNet50)(private_stages=private_stages)
        self.pool = GeM(stripes=(3 if small else 1) if stripes is None else stripes)
        num_features = self.backbone.out_channels * self.pool.stripes
        self.head = ModalityInvariantHead(num_features, num_identities)
        self.enhancer = IntraModalityEnhancer(num_features, num_classes=num_identities) if enhance else None

    def forward(self, images: Tensor, modalities: Tensor) -> Outputs:
        """Return the features, embedding and logits of the shared path, and the scores of the private classifiers."""
        shared = self.head(self.pool(self.backbone(images, modalities)), modalities)
        if self.enhancer is None:
            return Outputs(*shared)
        private = self.enhancer(shared.embedding, modalities)
        cross_logits = self.enhancer.cross_logits(private.features, modalities)
        return Outputs(shared.features, shared.embedding, shared.logits, private.logits, cross_logits)

    def compile_shared(self, **options: Any) -> None:
        """Let torch compile everything that is shared, with options of `torch.compile`; the state dict keeps its names.

        Private streams are left out: they see as many rows as the batch has of theirs.
        """
        for name, part in self.backbone.named_children():
            if name != "stem":
                part.compile(**options)
        for part in filter(None, (self.pool, self.head, self.enhancer)):
            part.compile(**options)

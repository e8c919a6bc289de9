"""The shared head that puts all modalities into one space: embedding, BNNeck, classifier."""

from typing import NamedTuple

from torch import Tensor, nn

from modinv._checks import check_count, check_inputs
from modinv.modules.neck import BNNeck

__all__ = ["InvariantFeatures", "ModalityInvariantHead"]


class InvariantFeatures(NamedTuple):
    """What the head gives for a batch; row i belongs to row i of the input."""

    features: Tensor
    """Before the neck, (N, E): for metric losses."""
    embedding: Tensor
    """After the neck, (N, E): for retrieval, and for the distribution consistency loss."""
    logits: Tensor
    """Scores of the identities, (N, num_classes): for the identity loss."""


class ModalityInvariantHead(nn.Module):
    """Map the features of every modality through the same parameters, and classify identities.

    Our reading of the abstract's modality-invariant module, which puts the features "in one unified space" through
    "shared parameters". The paper's formulas are not public; only the abstract is. The head is an optional linear
    embedding, the BNNeck of Luo et al. and a classifier. All three are shared.

    The neck is a ``BNNeck``, a batch normalisation whose shift stays at zero. Metric losses use the features before
    it. The identity loss and retrieval use those after it. Its statistics mix all rows, so in training one row that is
    not finite spoils the batch.

    The embedding has no bias: neither distances nor the neck see a common offset. The classifier has none either
    and starts at N(0, 0.001), where 0.001 is the standard deviation.

    Args:
        in_features: Columns D of the input.
        num_classes: Number of identities in training.
        embedding_features: Columns E of the shared space. Default None: E = D, without a linear layer.

    Raises:
        TypeError: For an option of another type, or inputs that are not floating point.
        ValueError: For an option under 1, or inputs that are not (N, D).

    Example:
        >>> import torch
        >>> head = ModalityInvariantHead(8, 5, embedding_features=4)
        >>> output = head(torch.randn(6, 8))
        >>> output.features.shape, output.embedding.shape, output.logits.shape
        (torch.Size([6, 4]), torch.Size([6, 4]), torch.Size([6, 5]))

    Reference:
        Luo, Gu, Liao, Lai, Jiang: Bag of tricks and a strong baseline for deep person re-identification,
        CVPR Workshops 2019, section 3.5 (BNNeck).
    """

    def __init__(self, in_features: int, num_classes: int, *, embedding_features: int | None = None) -> None:
        super().__init__()
        self.in_features = check_count("in_features", in_features)
        self.num_classes = check_count("num_classes", num_classes)
        self.embedding: nn.Linear | None = None
        self.embedding_features = self.in_features
        if embedding_features is not None:
            self.embedding_features = check_count("embedding_features", embedding_features)
            self.embedding = nn.Linear(self.in_features, self.embedding_features, bias=False)
        self.neck = BNNeck(self.embedding_features)
        self.classifier = nn.Linear(self.embedding_features, self.num_classes, bias=False)
        nn.init.normal_(self.classifier.weight, std=0.001)

    def forward(self, features: Tensor, modalities: Tensor | None = None) -> InvariantFeatures:
        """Return the features of (N, D) before and after the neck, and the logits.

        ``modalities`` is not read, since every parameter is shared; it is taken so that all modules are
        called alike.
        """
        check_inputs("features", features, (2,), self.in_features)
        # half precision outside of autocast meets parameters in float32; under autocast this changes nothing
        parameter_type = self.classifier.weight.dtype
        if self.embedding is not None:
            features = self.embedding(features.to(parameter_type))
        embedding = self.neck(features.to(parameter_type))
        return InvariantFeatures(features, embedding, self.classifier(embedding))

    def extra_repr(self) -> str:
        """Show the options."""
        return f"{self.in_features}, num_classes={self.num_classes}, embedding_features={self.embedding_features}"

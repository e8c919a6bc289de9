"""The intra-modality enhancing module: independent classifiers, and perhaps residual branches, for each modality."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from modinv._checks import check_count, check_inputs, check_module_inputs
from modinv.modules.normalization import PerModalityBatchNorm
from modinv.modules.per_modality import PerModality, own_rows, select_rows

__all__ = ["EnhancedFeatures", "IntraModalityEnhancer"]


class EnhancedFeatures(NamedTuple):
    """What the enhancer gives for a batch; row i belongs to row i of the input."""

    features: Tensor
    """The input, plus the correction of its modality's branch where there is one; in the shape of the input."""
    logits: Tensor | None
    """Scores of the modality's own classifier, (N, num_classes); None without ``num_classes``."""


class IntraModalityEnhancer(nn.Module):
    """Classify each row by its modality's own classifier, perhaps after a correction by its modality's own branch.

    Our reading of the abstract's intra-modality enhancing module, with "independent branches for each modality". It
    is meant to enhance "intra-class compactness and inter-class discrepancy within each modality". The paper's formulas
    are not public; only the abstract is.

    By default there are classifiers alone, and the features pass as they are. Train the identity loss of ``logits``
    *and* that of :meth:`cross_logits`. These are the scores by the classifier of another modality, which gets no
    gradient there. Of the readings that the project tried, this one lifted cross-modal retrieval, on the features after
    the neck. Private classifiers without it cost retrieval across modalities, and so did a branch. Cross logits are the
    idea of MPANet (Wu et al., CVPR 2021), whose classifiers read the other modality too.

    With ``hidden_features`` or ``branch`` the output is ``features + branch(features)``. The branch of a width is a
    bottleneck: linear to ``hidden_features``, batch normalisation, ReLU, linear back, batch normalisation. For maps,
    linear means a 1 x 1 convolution. Every layer is private to its modality. The last scale starts at zero, so an
    untrained branch changes nothing. The classifier is private too. It has no bias and starts at N(0, 0.001), where
    0.001 is the standard deviation.

    Nothing but a branch of your own waits for the device or has shapes that depend on the data. All rows meet every
    modality's weights, with zeros for the rows of others, and each row's own result is selected. This costs
    ``num_modalities`` times the products. What is not finite in one modality's rows or parameters stays out of the
    others' values and gradients. Parameters of an absent modality get a zero gradient, not none. A row of a modality
    that does not exist raises on a CPU in eager mode. Elsewhere it becomes NaN.

    Args:
        in_features: Columns D of (N, D), or channels C of (N, C, H, W).
        num_modalities: How many modalities there are, numbered from 0. Default 2.
        num_classes: Number of identities for the private classifiers. Default None: no classifier.
        hidden_features: Width of a bottleneck as the branch; ResNet has a quarter of ``in_features``. Default None:
            no bottleneck.
        branch: A function that builds the user's own branch, (n, ...) to the same shape. It is called once for each
            modality. See ``PerModality`` for what it may hold. Default None: none.

    Raises:
        TypeError: For an option, inputs or modalities of another type.
        ValueError: For an option under 1, ``hidden_features`` beside ``branch``, inputs of another shape, or
            a branch that changes the shape.

    Example:
        >>> enhance = IntraModalityEnhancer(8, num_classes=5)
        >>> output = enhance(torch.randn(6, 8), torch.tensor([0, 1, 1, 0, 0, 1]))
        >>> output.features.shape, output.logits.shape
        (torch.Size([6, 8]), torch.Size([6, 5]))
    """

    def __init__(
        self,
        in_features: int,
        *,
        num_modalities: int = 2,
        num_classes: int | None = None,
        hidden_features: int | None = None,
        branch: Callable[[], nn.Module] | None = None,
    ) -> None:
        super().__init__()
        self.in_features = check_count("in_features", in_features)
        self.num_modalities = check_count("num_modalities", num_modalities)
        self.num_classes = None if num_classes is None else check_count("num_classes", num_classes)
        if branch is not None and hidden_features is not None:
            raise ValueError("hidden_features is the width of the bottleneck: leave it out with branch")
        self.branch: nn.Module | None = None
        if branch is not None:
            self.branch = PerModality(branch, num_modalities=self.num_modalities)
        elif hidden_features is not None:
            hidden = check_count("hidden_features", hidden_features)
            self.branch = _Bottleneck(self.in_features, hidden, self.num_modalities)
        self.classifier = (
            None
            if self.num_classes is None
            else _PerModalityLinear(self.in_features, self.num_classes, self.num_modalities, deviation=0.001)
        )

    def forward(self, features: Tensor, modalities: Tensor) -> EnhancedFeatures:
        """Return the enhanced features of (N, D) or (N, C, H, W), in their type, and the logits."""
        check_inputs("features", features, (2, 4), self.in_features)
        check_module_inputs(features, modalities, self.num_modalities)
        enhanced = features if self.branch is None else features + self._correction(self.branch, features, modalities)
        logits = None if self.classifier is None else self.classifier(_vectors(enhanced), modalities)
        return EnhancedFeatures(enhanced, logits)

    def cross_logits(self, features: Tensor, modalities: Tensor) -> Tensor:
        """Return the scores of each row by the classifier of the next modality, which learns nothing from them.

        Of two modalities the next is the other one. Their identity loss draws a row to where the other modality is
        told apart.

        Args:
            features: (N, D) or (N, C, H, W), those that :meth:`forward` gave.
            modalities: (N,) integer.

        Returns:
            (N, num_classes).

        Raises:
            ValueError: without ``num_classes``, or as :meth:`forward`.
        """
        if self.classifier is None:
            raise ValueError("cross_logits needs the private classifiers: give num_classes")
        check_inputs("features", features, (2, 4), self.in_features)
        check_module_inputs(features, modalities, self.num_modalities)
        weights = self.classifier.weight.detach().roll(-1, 0)
        vectors = _vectors(features).to(weights.dtype)
        return select_rows([functional.linear(vectors, weight) for weight in weights.unbind()], modalities)

    def _correction(self, branch: nn.Module, features: Tensor, modalities: Tensor) -> Tensor:
        correction: Tensor = branch(features, modalities)
        if correction.shape != features.shape:
            raise ValueError(f"the branch must keep the shape {tuple(features.shape)}, got {tuple(correction.shape)}")
        return correction.to(features.dtype)

    def extra_repr(self) -> str:
        """Show the options."""
        return f"{self.in_features}, num_modalities={self.num_modalities}, num_classes={self.num_classes}"


def _vectors(features: Tensor) -> Tensor:
    return features.flatten(2).mean(2) if features.ndim == 4 else features


class _Bottleneck(nn.Module):
    """Linear, normalisation, ReLU, linear, normalisation; every layer private to its modality."""

    def __init__(self, num_features: int, hidden_features: int, num_modalities: int) -> None:
        super().__init__()
        # He et al. 2015, for the ReLU between; the scale does not matter before a batch normalisation
        self.reduce = _PerModalityLinear(
            num_features, hidden_features, num_modalities, deviation=(2 / num_features) ** 0.5
        )
        self.reduce_norm = PerModalityBatchNorm(hidden_features, num_modalities=num_modalities)
        self.expand = _PerModalityLinear(
            hidden_features, num_features, num_modalities, deviation=(1 / hidden_features) ** 0.5
        )
        self.expand_norm = PerModalityBatchNorm(num_features, num_modalities=num_modalities)
        if self.expand_norm.weight is not None:
            nn.init.zeros_(self.expand_norm.weight)

    def forward(self, features: Tensor, modalities: Tensor) -> Tensor:
        hidden = self.reduce_norm(self.reduce(features, modalities), modalities).relu()
        correction: Tensor = self.expand_norm(self.expand(hidden, modalities), modalities)
        return correction


class _PerModalityLinear(nn.Module):
    """A linear map without bias for each modality, on (N, D) or on the channels of (N, C, H, W)."""

    def __init__(self, in_features: int, out_features: int, num_modalities: int, *, deviation: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(num_modalities, out_features, in_features))
        nn.init.normal_(self.weight, std=deviation)

    def forward(self, inputs: Tensor, modalities: Tensor) -> Tensor:
        # half precision outside of autocast meets parameters in float32; under autocast this changes nothing
        values = inputs.to(self.weight.dtype)
        maps = inputs.ndim == 4
        weights = (self.weight[..., None, None] if maps else self.weight).unbind()  # (out, in) or (out, in, 1, 1)
        product = functional.conv2d if maps else functional.linear
        # zeros for the rows of others: the gradient of a weight is a product with all rows, and 0 * inf is NaN
        rows = (torch.where(own, values, 0) for own in own_rows(modalities, values, len(weights)))
        return select_rows([product(*pair) for pair in zip(rows, weights, strict=True)], modalities)

    def extra_repr(self) -> str:
        return "num_modalities={}, out_features={}, in_features={}".format(*self.weight.shape)

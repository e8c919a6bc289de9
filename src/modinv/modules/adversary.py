"""A classifier of modalities behind a gradient reversal: the network learns features that it cannot tell apart."""

import torch
from torch import Tensor, nn

from modinv._checks import check_count, check_floating, check_inputs, check_number

__all__ = ["GradientReversal", "ModalityDiscriminator"]


class GradientReversal(nn.Module):
    """Return the input, and give its gradient back times ``-scale``.

    The values are those of the input to the bit, except that an infinite one becomes NaN.

    Args:
        scale: How much of the gradient comes back, 0 or more. Default 1. May be changed between steps through the
            attribute; Ganin et al. raise it with progress p in 0 to 1 as ``2 / (1 + exp(-10 p)) - 1``. On torch 2.4
            each change compiles a compiled module again.

    Raises:
        TypeError: For a scale that is no number, or inputs that are not floating point.
        ValueError: For a scale below 0, or not finite.

    Example:
        >>> features = torch.ones(2, requires_grad=True)
        >>> GradientReversal(0.5)(features).sum().backward()
        >>> features.grad
        tensor([-0.5000, -0.5000])

    Reference:
        Ganin, Ustinova, Ajakan, Germain, Larochelle, Laviolette, Marchand, Lempitsky: Domain-adversarial training of
        neural networks, JMLR 2016, section 4.2 and, for the schedule, 5.2.2.
    """

    def __init__(self, scale: float = 1.0) -> None:
        super().__init__()
        self.scale = check_number("scale", scale, least=0.0)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the input, of any shape."""
        check_floating("inputs", inputs, shape="of any shape")
        # a number that was changed between steps is a symbol in a compiled graph
        scale = self.scale if torch.compiler.is_compiling() else check_number("scale", self.scale, least=0.0)
        # of x + scale (x - x) the last x alone has a gradient; without an autograd function, which cannot be traced
        constant = inputs.detach()
        return constant + scale * (constant - inputs)

    def extra_repr(self) -> str:
        """Show the options."""
        return f"scale={self.scale:g}"


class ModalityDiscriminator(nn.Module):
    """Say which modality each row is of, and teach the network behind the features to prevent that.

    A linear layer to ``hidden_features``, a ReLU and a linear layer to one score per modality, behind a
    ``GradientReversal``. With the cross-entropy of the scores and the modalities the discriminator learns as any
    classifier, and the features get the reversed gradient: one backward pass and one optimiser for both.
    Where the modalities have unequal counts, ``weight=`` of the cross-entropy evens them.

    Rows are on their own. There is no batch normalisation inside: with one modality per batch its statistics would
    give the answer away. So there is nothing to synchronise between processes.

    Args:
        in_features: Columns D of (N, D), or channels C of (N, C, H, W), which are averaged over the positions first.
        num_modalities: How many modalities there are, numbered from 0. Default 2.
        hidden_features: Width of the hidden layer. Default None: a quarter of ``in_features``, our choice.
        scale: See ``GradientReversal``; it is changed between steps through ``discriminator.reversal.scale``.

    Raises:
        TypeError: For an option of another type, or inputs that are not floating point.
        ValueError: For an option out of range, or inputs of another shape.

    Example:
        >>> from torch.nn import functional
        >>> features, modalities = torch.randn(6, 8, requires_grad=True), torch.arange(6) % 2
        >>> loss = functional.cross_entropy(ModalityDiscriminator(8)(features), modalities)

    Reference:
        As ``GradientReversal``.
    """

    def __init__(
        self, in_features: int, *, num_modalities: int = 2, hidden_features: int | None = None, scale: float = 1.0
    ) -> None:
        super().__init__()
        self.in_features = check_count("in_features", in_features)
        self.num_modalities = check_count("num_modalities", num_modalities)
        width = max(1, self.in_features // 4)
        self.hidden_features = width if hidden_features is None else check_count("hidden_features", hidden_features)
        self.reversal = GradientReversal(scale)
        self.hidden = nn.Linear(self.in_features, self.hidden_features)
        self.classifier = nn.Linear(self.hidden_features, self.num_modalities)

    def forward(self, features: Tensor) -> Tensor:
        """Return the scores of the modalities, (N, num_modalities), for (N, D) or (N, C, H, W)."""
        check_inputs("features", features, (2, 4), self.in_features)
        # half precision outside of autocast meets parameters in float32; under autocast this changes nothing
        reversed_features = self.reversal(features).to(self.hidden.weight.dtype)
        vectors = reversed_features.flatten(2).mean(2) if features.ndim == 4 else reversed_features
        scores: Tensor = self.classifier(self.hidden(vectors).relu())
        return scores

    def extra_repr(self) -> str:
        """Show the options."""
        return f"{self.in_features}, num_modalities={self.num_modalities}, hidden_features={self.hidden_features}"

"""Cross-modality InfoNCE: a row, or a center, finds its identity among all rows, or centers, of the other modality."""

from typing import Literal, NamedTuple

import torch
from torch import Tensor
from typing_extensions import override

from modinv._checks import check_choice, check_number
from modinv.centers import CellCenters
from modinv.directions import cosine_distances
from modinv.losses.loss import Loss
from modinv.statistics import Statistics

__all__ = ["InfoNCELoss", "InfoNCETerms", "info_nce"]


class InfoNCETerms(NamedTuple):
    """The InfoNCE loss."""

    total: Tensor  # ()


def info_nce(
    statistics: Statistics, *, level: Literal["center", "row"] = "center", temperature: float = 0.1
) -> InfoNCETerms:
    """Ask each row, or each center, which of those in the other modalities has its identity.

    With s_ij the cosine between anchor i and candidate j of another modality, the mean over the anchors of

        - mean over the candidates j of i's identity of   log (exp(s_ij / t) / sum_k exp(s_ik / t)).

    At level ``"row"`` anchors and candidates are the rows, at level ``"center"`` the centers of identity and modality,
    each of which counts once. An anchor needs a candidate of its identity and one of another.

    Cost: the Gram matrix of the directions of rows or of centers, which is not that of the features, and N x N terms.

    Args:
        statistics: of the batch.
        level: see above.
        temperature: t.

    Example:
        >>> import torch
        >>> from modinv.statistics import statistics_of
        >>> features = torch.tensor([[2.0, 0.0], [0.0, 1.0], [1.0, 0.0], [0.0, 3.0]])
        >>> statistics = statistics_of(features, torch.tensor([0, 1, 0, 1]), torch.tensor([0, 0, 1, 1]))
        >>> info_nce(statistics, temperature=1.0).total  # log(1 + exp(-1))
        tensor(0.3133, dtype=torch.float64)

    Reference: van den Oord, Li and Vinyals, "Representation learning with contrastive predictive coding", 2018, eq. 4;
    the mean over several positives: Khosla et al., "Supervised contrastive learning", 2020, eq. 2. Between centers it
    is part of the MRIC loss of HOS-Net.
    """
    compared: Statistics | CellCenters = statistics
    if level == "center":
        compared = statistics.kept(CellCenters)
        distances, votes = compared.cosine_distances, 1 / compared.times  # (N, N), (N,)
    else:
        distances = cosine_distances(statistics)  # (N, N)
        votes = distances.new_ones(len(distances))  # (N,)
    scores = -distances / temperature  # of the cosines, less a constant
    candidates, same = ~compared.same_modality, compared.same_identity
    anchors = (candidates & same).any(1) & (candidates & ~same).any(1)  # (N,)
    # Where there is no candidate the whole row stands in: finite, and left out by the weights.
    rivals = (scores + votes.log()).masked_fill(~candidates & anchors[:, None], -torch.inf)
    positives = (candidates & same) * votes  # (N, N)
    positives = positives / positives.sum(1, keepdim=True).clamp(min=1)  # one center at least, or one row
    weights = anchors * votes
    losses = rivals.logsumexp(1) - (positives * scores).sum(1)  # (N,)
    total = (weights / weights.sum().clamp(min=1) * losses).sum()
    return InfoNCETerms(total + 0.0 * distances.sum())


class InfoNCELoss(Loss[InfoNCETerms]):
    """The loss of :func:`modinv.losses.info_nce`.

    Args:
        level: ``"center"`` (default) or ``"row"``.
        temperature: default 0.1, from Khosla et al.; HOS-Net has none, which is 1.
        num_modalities: see :class:`modinv.losses.Loss`.

    Raises:
        TypeError, ValueError: at construction on an impossible option, at call on a malformed batch.
    """

    needs = "identities"

    def __init__(
        self,
        *,
        level: Literal["center", "row"] = "center",
        temperature: float = 0.1,
        num_modalities: int | None = None,
    ) -> None:
        super().__init__(num_modalities=num_modalities)
        self.level: Literal["center", "row"] = check_choice("level", level, ("center", "row"))
        self.temperature = check_number("temperature", temperature, least=0, open_least=True)

    @override
    def read(self, statistics: Statistics) -> InfoNCETerms:
        return info_nce(statistics, level=self.level, temperature=self.temperature)

    @override
    def extra_repr(self) -> str:
        return f"level={self.level!r}, temperature={self.temperature}"

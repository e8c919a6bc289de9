"""Center-guided pair mining: the other modality is drawn to an expansion, nearer than what it is an expansion of."""

from typing import NamedTuple

from torch import Tensor
from typing_extensions import override

from modinv._checks import check_count, check_margin
from modinv.centers import CellCenters
from modinv.losses.loss import Loss, farthest, hinge, nearest
from modinv.statistics import Statistics

__all__ = ["CenterGuidedPairMiningLoss", "CenterGuidedPairMiningTerms", "center_guided_pair_mining"]


class CenterGuidedPairMiningTerms(NamedTuple):
    """The pair mining loss: ``total = pairing + (expanded_rivals + base_rivals) / 2``."""

    total: Tensor  # ()
    pairing: Tensor  # (): against the distance of the expansion to its own base
    expanded_rivals: Tensor  # (): against the nearest other identity among the expanded centers
    base_rivals: Tensor  # (): against the nearest other identity among the centers of the base


def center_guided_pair_mining(
    statistics: Statistics, *, margin: float | None, num_bases: int = 2
) -> CenterGuidedPairMiningTerms:
    """Draw the center of one modality to the expansion of another, for each identity.

    Modalities 0 to B - 1 are the bases. A higher number e is an expansion of base e mod B, made from its rows by a
    network: with B = 2, 2 and 4 expand 0 (visible), 3 and 5 expand 1 (infrared). For an identity with the centers e of
    an expansion, b of its base, and o of another base, and with h(d, n) = max(0, margin + d - n),

        pairing         = h(|o - e|, |b - e|), where |b - e| has no gradient
        expanded_rivals = h(|o - e|, min over other identities' e' of the same expansion of |e - e'|)
        base_rivals     = h(|o - e|, min over other identities' b' of the same base of |b - b'|)

    Each is averaged over all (identity, expansion, other base) that have its centers, and the total is
    ``pairing + (expanded_rivals + base_rivals) / 2``. Every center counts once, however many rows it has.

    Cost: on the CPU in eager mode one pass over the features, and a Gram matrix of the centers. Elsewhere the shared
    Gram matrix and N x N terms. In float32 a distance below about 3e-4 of the centers' norm is noise.

    Args:
        statistics: of the batch.
        margin: in units of the features; None: the soft margin log(1 + exp(d - n)).
        num_bases: B.

    Example:
        >>> import torch
        >>> from modinv.statistics import statistics_of
        >>> features = torch.tensor([[0.0], [5.0], [2.0]])  # visible, infrared, visible expanded
        >>> batch = features, torch.tensor([7, 7, 7]), torch.tensor([0, 1, 2])
        >>> center_guided_pair_mining(statistics_of(*batch), margin=0.5).total  # 0.5 + 3 - 2
        tensor(1.5000, dtype=torch.float64)

    Reference: Zhang and Wang, "Diverse embedding expansion network and low-light cross-modality benchmark for
    visible-infrared person re-identification" (DEEN), 2023, as its code has it.
    """
    centers = statistics.kept(CellCenters)
    distances = centers.distances  # (C, C)
    bases, expanded = centers.modalities % num_bases, centers.modalities >= num_bases  # (C,)
    same = centers.same_identity & ~expanded & expanded[:, None]  # (C, C): row e is expanded, column a base of it
    alike = bases[:, None] == bases
    own, other = same & alike, same & ~alike
    weights = other * own.any(1)[:, None] / centers.times.outer(centers.times)

    rivals = centers.same_modality & ~centers.same_identity
    nearest_rival = nearest(distances, rivals)  # (C,)

    def mean_over(negative: Tensor, usable: Tensor) -> Tensor:
        votes = weights * usable[:, None]
        return (votes * hinge(distances - negative[:, None], margin)).sum() / votes.sum().clamp(min=1)

    pairing = mean_over(farthest(distances.detach(), own), own.any(1))
    expanded_rivals = mean_over(nearest_rival, rivals.any(1))
    base_rivals = mean_over(farthest(nearest_rival.expand_as(distances), own), (own & rivals.any(1)).any(1))
    total = pairing + (expanded_rivals + base_rivals) / 2
    return CenterGuidedPairMiningTerms(total + 0.0 * distances.sum(), pairing, expanded_rivals, base_rivals)


class CenterGuidedPairMiningLoss(Loss[CenterGuidedPairMiningTerms]):
    """The loss of :func:`modinv.losses.center_guided_pair_mining`.

    Args:
        margin: in units of the features, or None for the soft margin; default 0.2, that of DEEN's code.
        num_bases: how many modalities are no expansions; default 2.
        num_modalities: bases and expansions; default: twice the bases, one expansion of each. DEEN's two make six.

    Raises:
        TypeError, ValueError: at construction on an impossible option, at call on a malformed batch.
    """

    needs = "identities"

    def __init__(self, *, margin: float | None = 0.2, num_bases: int = 2, num_modalities: int | None = None) -> None:
        num_bases = check_count("num_bases", num_bases, least=2)
        if num_modalities is not None:
            check_count("num_modalities", num_modalities, least=num_bases + 1)  # one expansion
        super().__init__(num_modalities=2 * num_bases if num_modalities is None else num_modalities)
        self.margin, self.num_bases = check_margin(margin), num_bases

    @override
    def read(self, statistics: Statistics) -> CenterGuidedPairMiningTerms:
        return center_guided_pair_mining(statistics, margin=self.margin, num_bases=self.num_bases)

    @override
    def extra_repr(self) -> str:
        return f"margin={self.margin}, num_bases={self.num_bases}, num_modalities={self.num_modalities}"

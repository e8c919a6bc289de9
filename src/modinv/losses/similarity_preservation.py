"""Similarity preservation: identities resemble each other in one modality as they do in the other."""

from typing import NamedTuple

import torch
from torch import Tensor
from typing_extensions import override

from modinv.centers import CellCenters
from modinv.directions import inner_products
from modinv.distances import safe_sqrt
from modinv.groups import comparisons_of, pairs
from modinv.losses.loss import Loss
from modinv.statistics import Statistics

__all__ = ["SimilarityPreservationLoss", "SimilarityPreservationTerms", "similarity_preservation"]


class SimilarityPreservationTerms(NamedTuple):
    """The similarity preservation loss."""

    total: Tensor  # ()


def similarity_preservation(statistics: Statistics) -> SimilarityPreservationTerms:
    """Compare how the identities resemble each other inside one modality with how they do inside another.

    For the P identities that two modalities share, with c_p the center of identity p in modality m,

        S^m_pq = c_p . c_q,   each row of S^m scaled to length one,   mean over p and q of (S^a_pq - S^b_pq)^2,

    averaged over the pairs of modalities. No row is compared across modalities, so the modalities may lie in different
    directions: the sum with a loss that draws them together is what the reference trains.

    Cost: the Gram matrix of the centers, C of them, and products of C x C x C for each modality. Where labels cannot be
    read for free, C is N.

    Args:
        statistics: of the batch.

    Example:
        >>> import torch
        >>> from modinv.statistics import statistics_of
        >>> features = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 2.0], [3.0, 0.0]])  # turned and stretched
        >>> labels, modalities = torch.tensor([0, 1, 0, 1]), torch.tensor([0, 0, 1, 1])
        >>> similarity_preservation(statistics_of(features, labels, modalities)).total
        tensor(0., dtype=torch.float64)

    Reference: Fu, Hu, Wu, Shi, Mei and He, "CM-NAS: cross-modality neural architecture search for visible-infrared
    person re-identification", 2021, whose code compares row i of one modality with row i of the other; the centers
    are our choice. The loss is of Tung and Mori, "Similarity-preserving knowledge distillation", 2019, eq. 4.
    """
    statistics = statistics.kept(CellCenters).as_rows
    compared = comparisons_of(statistics, "identity")
    assert compared.averaging is not None
    assert compared.votes is not None
    averaging = compared.averaging.transpose(0, 1)  # (M, N, R)
    similarities = averaging.mT @ inner_products(statistics) @ averaging  # (M, R, R): center r stands for its identity
    present = compared.counts.clamp(max=1) * compared.votes  # (M, R)
    first, second = pairs(similarities)  # (P, R, R)
    votes = torch.minimum(*pairs(present))  # (P, R): 1 / k for the k centers of an identity that both have
    gaps = (_scaled(first, votes) - _scaled(second, votes)).square()
    shared = votes.sum(1).round()  # (P,)
    values = (votes[:, :, None] * votes[:, None] * gaps).sum((1, 2)) / shared.square().clamp(min=1)
    total = values.sum() / (shared > 0).sum().clamp(min=1)
    return SimilarityPreservationTerms(total + statistics.zero)


class SimilarityPreservationLoss(Loss[SimilarityPreservationTerms]):
    """The loss of :func:`modinv.losses.similarity_preservation`.

    Args:
        num_modalities: see :class:`modinv.losses.Loss`.

    Raises:
        TypeError, ValueError: at call on a malformed batch.
    """

    needs = "identities"

    @override
    def read(self, statistics: Statistics) -> SimilarityPreservationTerms:
        return similarity_preservation(statistics)


def _scaled(similarities: Tensor, votes: Tensor) -> Tensor:
    """Scale each row to length one, where each identity counts once; a row of zeros stays one."""
    lengths = safe_sqrt((similarities.square() * votes[:, None]).sum(2, keepdim=True))
    return similarities / lengths.masked_fill(lengths == 0, torch.inf)

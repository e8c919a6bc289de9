"""Class-aware discrepancy (CMMD): the second moments of an identity's directions meet across modalities."""

from typing import NamedTuple

from torch import Tensor
from typing_extensions import override

from modinv._checks import check_flag
from modinv.directions import directions, inner_products
from modinv.groups import comparisons_of, pair_weights
from modinv.losses.loss import Loss
from modinv.losses.maximum_mean_discrepancy import discrepancies
from modinv.statistics import Statistics

__all__ = ["ClassAwareDiscrepancyLoss", "ClassAwareDiscrepancyTerms", "class_aware_discrepancy"]


class ClassAwareDiscrepancyTerms(NamedTuple):
    """The class-aware discrepancy."""

    total: Tensor  # ()


def class_aware_discrepancy(statistics: Statistics, *, unbiased: bool = False) -> ClassAwareDiscrepancyTerms:
    """Compare the rows of each identity in two modalities by the squared cosine of the angle between them.

    With the rows scaled to length one, a of one modality and b of the other,

        mean (a . a')^2 + mean (b . b')^2 - 2 mean (a . b)^2  =  |E[a a^T] - E[b b^T]|_F^2,

    averaged over the identities and the pairs of modalities: the maximum mean discrepancy with a polynomial kernel of
    degree two. It sees an axis and not its sign, so features behind a ReLU are what it is made for.

    Cost: the Gram matrix of the directions, which is not that of the features, and N x N terms.

    Args:
        statistics: of the batch.
        unbiased: leave out what a row has with itself; needs two rows on each side.

    Example:
        >>> import torch
        >>> from modinv.statistics import statistics_of
        >>> features = torch.tensor([[3.0, 0.0], [1.0, 1.0]])
        >>> statistics = statistics_of(features, torch.tensor([0, 0]), torch.tensor([0, 1]))
        >>> class_aware_discrepancy(statistics).total  # 1 + 1 - 2 / 2
        tensor(1.0000, dtype=torch.float64)

    Reference: Fu, Hu, Wu, Shi, Mei and He, "CM-NAS: cross-modality neural architecture search for visible-infrared
    person re-identification", 2021, whose code calls it CMMD.
    """
    compared, rows = comparisons_of(statistics, "identity"), statistics.kept(directions)
    values = discrepancies(inner_products(rows).square()[None], statistics, compared, unbiased=unbiased)  # (P, R)
    return ClassAwareDiscrepancyTerms((pair_weights(compared, int(unbiased)) * values).sum() + rows.zero)


class ClassAwareDiscrepancyLoss(Loss[ClassAwareDiscrepancyTerms]):
    """The loss of :func:`modinv.losses.class_aware_discrepancy`.

    Args:
        unbiased: default False, as in the reference; the unbiased form can be negative.
        num_modalities: see :class:`modinv.losses.Loss`.

    Raises:
        TypeError, ValueError: at construction on an impossible option, at call on a malformed batch.
    """

    needs = "identities"

    def __init__(self, *, unbiased: bool = False, num_modalities: int | None = None) -> None:
        super().__init__(num_modalities=num_modalities)
        self.unbiased = check_flag("unbiased", unbiased)

    @override
    def read(self, statistics: Statistics) -> ClassAwareDiscrepancyTerms:
        return class_aware_discrepancy(statistics, unbiased=self.unbiased)

    @override
    def extra_repr(self) -> str:
        return f"unbiased={self.unbiased}"

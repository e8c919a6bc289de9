"""All numbers on the features of many batches in one record, which prints as a page."""

from typing import NamedTuple

from torch import Tensor
from typing_extensions import override

from modinv.diagnostics.gap import ModalityGap
from modinv.diagnostics.histograms import DistanceHistograms
from modinv.diagnostics.identities import IdentityDistances

__all__ = ["FeatureReport"]


class FeatureReport(NamedTuple):
    """What :class:`StreamingDiagnostics` found; ``print`` shows it in words.

    The first five fields are those of all rows. The others are those of a sample, which is all rows while these fit.
    """

    rows: Tensor  # (M,): how many rows of each modality
    gap: ModalityGap  # see `modality_gap`
    effective_rank: Tensor  # (M,): see `effective_rank`
    identities: IdentityDistances  # see `identity_distances`
    alignment: Tensor  # (): see `alignment`
    sample_rows: int  # how many rows the sample has
    uniformity: Tensor  # (): see `uniformity`
    nearest_mean_accuracy: Tensor  # (): see `modality_accuracy`
    linear_accuracy: Tensor  # (): see `modality_accuracy`
    histograms: DistanceHistograms  # see `distance_histograms`

    @override
    def __str__(self) -> str:
        counts = self.rows.tolist()
        both = ~(self.identities.within.isnan() | self.identities.cross.isnan())
        within, cross = (values[both].mean() for values in self.identities[1:])
        ranks = ", ".join(f"{rank:.1f}" for rank in self.effective_rank.tolist())
        sampled = f"{self.sample_rows} rows" if self.sample_rows == sum(counts) else f"{self.sample_rows} sampled rows"
        lines = {
            "rows of each modality": ", ".join(f"{count:.0f}" for count in counts),
            "gap between the means": f"{self.gap.relative:.3f} spreads; {self.gap.chance:.3f} would be chance",
            "effective rank": ranks,
            "identities": f"{len(self.identities.labels)}, {int(both.sum())} with pairs within and across modalities",
            "cosine distance of their pairs": f"{within:.3f} within a modality, {cross:.3f} across",
            "alignment across modalities": f"{self.alignment:.3f}",
            f"uniformity of {sampled}": f"{self.uniformity:.3f}",
            "modality told by the nearest mean": f"{self.nearest_mean_accuracy:.3f} of the {sampled}",
            "modality told by a linear probe": f"{self.linear_accuracy:.3f}; {1 / max(1, len(counts)):.3f} is a guess",
        }
        width = max(map(len, lines))
        return "\n".join(f"{name:{width}}  {said}" for name, said in lines.items())

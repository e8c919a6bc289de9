"""What is tried: a reading of the enhancing module, and of what stands beside it, as data."""

from collections.abc import Mapping
from typing import Any, Final, Literal, NamedTuple

__all__ = ["READINGS", "Reading"]


class Reading(NamedTuple):
    """Where the private branches are, what they learn, and how strongly they pull at the shared features."""

    place: Literal["pooled", "path", "direct", "neck", "stage", "early"] | None = None
    """A residual bottleneck on the pooled features, beside the shared path or in it; private necks and classifiers
    straight on them; private classifiers on the shared neck; a private copy of the last stage; private early stages."""
    identity: float = 1.0
    """Weight of the private classifiers' identity loss."""
    loss: Literal["intra", "hard", "center"] | None = None
    """`IntraModalityLoss`, a batch-hard triplet within the modality, or the compactness alone."""
    weight: float = 1.0
    shared: bool = False
    """Whether that loss reads the shared features, and not those of the branch."""
    pull: float | None = None
    """Norm of the branches' gradient at the shared features, as a share of that of everything else; None: as it is."""
    start: float = 0.0
    """Share of the steps before the branches count."""
    stop: float | None = None
    """Share of the steps over which they fade out."""
    teach: Literal["shared", "mutual", "other"] | None = None
    """Whether the private classifiers teach the shared one, both one another, or each row's own classifier that of the
    other modality (through the features alone), at temperature 2."""
    cross: float = 0.0
    """Weight of the identity loss by the classifier of the other modality, as it is (MPANet's idea)."""
    private_stages: int = 0
    divergence: str | None = None
    """Of a distribution consistency loss beside it."""
    strength: float = 2.0
    """How strongly it pulls before the first step: as 2-Wasserstein of full covariances does with this weight."""
    options: Mapping[str, Any] = {}
    """Its other options."""
    gray: bool = True
    """Whether half of the visible images lose their colors."""


_LOSS: Final = Reading(loss="intra", shared=True)
_TODAY: Final = Reading("pooled", loss="intra")
_STAGE: Final = Reading("stage", loss="intra")
_CLASSIFIERS: Final = Reading("direct")
_NECK: Final = Reading("neck")

_CONSISTENCY: Final = {
    "weight 0.25": Reading(divergence="wasserstein", strength=0.25),
    "weight 0.5": Reading(divergence="wasserstein", strength=0.5),
    "weight 1": Reading(divergence="wasserstein", strength=1.0),
    "weight 2": Reading(divergence="wasserstein"),
    "diagonal": Reading(divergence="wasserstein", strength=0.5, options={"covariance": "diagonal"}),
    "within": Reading(divergence="wasserstein", strength=0.5, options={"level": "within"}),
    "moments": Reading(divergence="moments", strength=0.5),
    "jeffreys": Reading(divergence="jeffreys", strength=0.5, options={"shrinkage": 0.1}),
    "bhattacharyya": Reading(divergence="bhattacharyya", strength=0.5, options={"shrinkage": 0.1}),
}
_BESIDE: Final = {
    "today": _TODAY,
    "stage": _STAGE,
    "cross": _NECK._replace(cross=1.0),
    "cross 0.3": _NECK._replace(cross=0.3),
    "cross, half": _NECK._replace(cross=0.5, identity=0.5),
}

READINGS: Final[Mapping[str, Reading]] = {
    "baseline": Reading(),
    "today": _TODAY,
    "loss 0.5": _LOSS._replace(weight=0.5),
    "loss 2": _LOSS._replace(weight=2.0),
    "classifiers": _CLASSIFIERS,
    "classifiers 0.3": _CLASSIFIERS._replace(identity=0.3),
    "classifiers + loss 0.5": _CLASSIFIERS._replace(loss="intra", shared=True, weight=0.5),
    "classifiers, teachers": _CLASSIFIERS._replace(teach="shared"),
    "classifiers, mutual": _CLASSIFIERS._replace(teach="mutual"),
    "classifiers on the neck": _NECK,
    "cross": _NECK._replace(cross=1.0),
    "cross 0.3": _NECK._replace(cross=0.3),
    "cross 3": _NECK._replace(cross=3.0),
    "cross, half": _NECK._replace(cross=0.5, identity=0.5),
    "cross, taught": _NECK._replace(teach="other"),
    "cross + loss 0.5": _NECK._replace(cross=1.0, loss="intra", shared=True, weight=0.5),
    "stage": _STAGE,
    "stage, no loss": Reading("stage"),
    "stage, pull 0.3": _STAGE._replace(pull=0.3),
    "stage, teacher": _STAGE._replace(teach="shared"),
    "today, no loss": Reading("pooled"),
    "today, pull 0.1": _TODAY._replace(pull=0.1),
    "today, late": _TODAY._replace(start=0.5),
    "today, annealed": _TODAY._replace(stop=0.5),
    "path": Reading("path", loss="intra"),
    "early": Reading("early", loss="intra", private_stages=1),
    "private stage alone": Reading(private_stages=1),
    "batch-hard 0.5": Reading(loss="hard", shared=True, weight=0.5),
    "center 0.5": Reading(loss="center", shared=True, weight=0.5),
    **{f"consistency, {name}": reading for name, reading in _CONSISTENCY.items()},
    **{
        f"{name} + consistency": reading._replace(divergence="wasserstein", strength=0.5)
        for name, reading in _BESIDE.items()
    },
    "baseline, no gray": Reading(gray=False),
    "consistency, no gray": Reading(divergence="wasserstein", strength=0.5, gray=False),
}

"""How a network is trained, beside its loss and its data."""

from typing import NamedTuple

from reid.data.transforms import Augmentation
from reid.training.precision import Precision
from reid.training.schedule import Schedule

__all__ = ["TrainingOptions"]


class TrainingOptions(NamedTuple):
    """How a network is trained.

    Args:
        steps: number of batches.
        identities: P, identities per batch.
        images: K, images of each identity in each modality.
        learning_rate: the largest, of AdamW.
        weight_decay: of AdamW, its usual value.
        schedule: of the learning rate.
        clip_norm: the largest norm of the gradient. Default: none.
        precision: of the network's products.
        checkpoint_every: steps between two checkpoints; there is always one at the end.
        augmentation: how strongly images are altered.
    """

    steps: int = 1500
    identities: int = 8
    images: int = 4
    learning_rate: float = 3e-3
    weight_decay: float = 0.01
    schedule: Schedule = Schedule()
    clip_norm: float | None = None
    precision: Precision = "float32"
    checkpoint_every: int = 250
    augmentation: Augmentation = Augmentation()

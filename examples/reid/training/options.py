"""How a network is trained, beside its loss and its data."""

from typing import Literal, NamedTuple

from reid.data.transforms import Augmentation
from reid.training.precision import Precision
from reid.training.schedule import Schedule

__all__ = ["OptimizerName", "TrainingOptions"]

OptimizerName = Literal["adamw", "sgd"]


class TrainingOptions(NamedTuple):
    """How a network is trained.

    Args:
        steps: number of batches.
        identities: P, identities per batch.
        images: K, images of each identity in each modality.
        optimizer: AdamW, or SGD with Nesterov's momentum of 0.9.
        learning_rate: the largest.
        backbone_share: of that rate, what the backbone takes; AGW's tenth spares pretrained weights.
        weight_decay: of the optimizer; the default is AdamW's usual value.
        schedule: of the learning rate.
        clip_norm: the largest norm of the gradient. Default: none.
        precision: of the network's products.
        checkpoint_every: steps between two checkpoints; there is always one at the end.
        augmentation: how strongly images are altered.
    """

    steps: int = 1500
    identities: int = 8
    images: int = 4
    optimizer: OptimizerName = "adamw"
    learning_rate: float = 3e-3
    backbone_share: float = 1.0
    weight_decay: float = 0.01
    schedule: Schedule = Schedule()
    clip_norm: float | None = None
    precision: Precision = "float32"
    checkpoint_every: int = 250
    augmentation: Augmentation = Augmentation()

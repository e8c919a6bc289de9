"""What protocols are made of: who asks, who answers, what is removed for whom, and the scores."""

from reid.protocols.modalities import Direction, of_modality, roles_of
from reid.protocols.single_shot import NUM_TRIALS, Cells, single_shot_gallery, sort_into_cells
from reid.protocols.trials import Masks, Rule, Trials, evaluate_trials, masks

__all__ = ["NUM_TRIALS", "Cells", "Direction", "Masks", "Rule", "Trials", "evaluate_trials", "masks"]
__all__ += ["of_modality", "roles_of", "single_shot_gallery", "sort_into_cells"]

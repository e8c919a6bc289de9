"""The protocols of SYSU-MM01, RegDB and LLCM as data: who asks, who answers, what is removed for whom."""

from reid.protocols.llcm import Roles, llcm_trials
from reid.protocols.modalities import Direction
from reid.protocols.regdb import regdb_trials
from reid.protocols.single_shot import NUM_TRIALS
from reid.protocols.sysu import GalleryChoice, Mode, Permutations, sysu_trials
from reid.protocols.trials import Masks, Rule, Trials, evaluate_trials, masks

__all__ = [
    "NUM_TRIALS",
    "Direction",
    "GalleryChoice",
    "Masks",
    "Mode",
    "Permutations",
    "Roles",
    "Rule",
    "Trials",
    "evaluate_trials",
    "llcm_trials",
    "masks",
    "regdb_trials",
    "sysu_trials",
]

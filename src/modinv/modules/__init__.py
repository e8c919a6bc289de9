"""Learned layers for features of several modalities: row i of the output belongs to row i of the input.

=========================  =============================================================================
class                      what it does
=========================  =============================================================================
`PerModality`              an independent branch per modality, of the user's own modules
`PerModalityBatchNorm`     batch normalisation with private statistics and parameters
`IntraModalityEnhancer`    the paper's intra-modality enhancing module: private classifiers
`ModalityInvariantHead`    the paper's modality-invariant module: shared embedding, BNNeck, classifier
`BNNeck`                   batch normalisation without a learned shift
`GeM`                      generalised-mean pooling, of the whole map or of stripes
`NonLocal`                 every position of a map sees all others
`InstanceNormGate`         a map mixed with its instance normalisation, per channel
`ModalityDiscriminator`    a classifier of modalities behind a `GradientReversal`
=========================  =============================================================================
"""

from modinv.modules.adversary import GradientReversal, ModalityDiscriminator
from modinv.modules.enhancer import EnhancedFeatures, IntraModalityEnhancer
from modinv.modules.head import InvariantFeatures, ModalityInvariantHead
from modinv.modules.instance_norm_gate import InstanceNormGate
from modinv.modules.neck import BNNeck
from modinv.modules.non_local import NonLocal
from modinv.modules.normalization import PerModalityBatchNorm
from modinv.modules.per_modality import PerModality
from modinv.modules.pooling import GeM

__all__ = [
    "BNNeck",
    "EnhancedFeatures",
    "GeM",
    "GradientReversal",
    "InstanceNormGate",
    "IntraModalityEnhancer",
    "InvariantFeatures",
    "ModalityDiscriminator",
    "ModalityInvariantHead",
    "NonLocal",
    "PerModality",
    "PerModalityBatchNorm",
]

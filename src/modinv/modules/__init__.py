"""Learned layers for features of several modalities: row i of the output belongs to row i of the input.

=========================  =============================================================================
class                      what it does
=========================  =============================================================================
`PerModality`              an independent branch per modality, of the user's own modules
`PerModalityBatchNorm`     batch normalisation with private statistics and parameters
`IntraModalityEnhancer`    the paper's intra-modality enhancing module: a private residual branch
`ModalityInvariantHead`    the paper's modality-invariant module: shared embedding, BNNeck, classifier
`GeM`                      generalised-mean pooling, of the whole map or of stripes
=========================  =============================================================================
"""

from modinv.modules.enhancer import EnhancedFeatures, IntraModalityEnhancer
from modinv.modules.head import InvariantFeatures, ModalityInvariantHead
from modinv.modules.normalization import PerModalityBatchNorm
from modinv.modules.per_modality import PerModality
from modinv.modules.pooling import GeM

__all__ = [
    "EnhancedFeatures",
    "GeM",
    "IntraModalityEnhancer",
    "InvariantFeatures",
    "ModalityInvariantHead",
    "PerModality",
    "PerModalityBatchNorm",
]

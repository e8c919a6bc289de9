"""Features to numbers that people look at: how far apart are the modalities, and which distances lie between images.

There are no gradients here. Sums are float64 (float32 on Apple's GPUs), which neither autocast nor TF32 rounds.
"""

from modinv.diagnostics.accuracy import modality_accuracy
from modinv.diagnostics.contents import BatchContents
from modinv.diagnostics.explanation import BatchExplanation, TermExplanation, explain_batch
from modinv.diagnostics.gap import ModalityGap, modality_gap
from modinv.diagnostics.histograms import DistanceHistograms, distance_histograms
from modinv.diagnostics.identities import IdentityDistances, alignment, identity_distances
from modinv.diagnostics.plots import plot_cloud, plot_gap, plot_histograms
from modinv.diagnostics.report import FeatureReport
from modinv.diagnostics.spectrum import effective_rank
from modinv.diagnostics.sphere import uniformity
from modinv.diagnostics.streaming import StreamingDiagnostics

__all__ = [
    "BatchContents",
    "BatchExplanation",
    "DistanceHistograms",
    "FeatureReport",
    "IdentityDistances",
    "ModalityGap",
    "StreamingDiagnostics",
    "TermExplanation",
    "alignment",
    "distance_histograms",
    "effective_rank",
    "explain_batch",
    "identity_distances",
    "modality_accuracy",
    "modality_gap",
    "plot_cloud",
    "plot_gap",
    "plot_histograms",
    "uniformity",
]

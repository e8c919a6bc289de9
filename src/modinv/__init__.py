"""Losses and modules for cross-modality re-identification."""

__version__ = "0.1.0"

"""The look-alike of LLCM; `reid.data_sets.llcm` makes it."""

from reid.data_sets.llcm import make_synthetic_llcm

__all__ = ["make_synthetic_llcm"]

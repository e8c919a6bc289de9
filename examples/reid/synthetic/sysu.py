"""The look-alike of SYSU-MM01; `reid.data_sets.sysu` makes it."""

from reid.data_sets.sysu import make_synthetic_sysu

__all__ = ["make_synthetic_sysu"]

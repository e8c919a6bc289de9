"""The look-alike of RegDB; `reid.data_sets.regdb` makes it."""

from reid.data_sets.regdb import make_synthetic_regdb

__all__ = ["make_synthetic_regdb"]

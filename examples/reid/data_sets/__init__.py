"""The data sets: a file for each, with its folder layout, its protocol, its look-alike and the record of them.

To add one, write its file and its tests, and name its record here.
"""

from collections.abc import Mapping
from typing import Final

from reid.data_sets.data_set import DataSet
from reid.data_sets.llcm import LLCM
from reid.data_sets.regdb import REGDB
from reid.data_sets.sysu import SYSU

__all__ = ["DATA_SETS", "DataSet"]

DATA_SETS: Final[Mapping[str, DataSet]] = {"sysu": SYSU, "regdb": REGDB, "llcm": LLCM}

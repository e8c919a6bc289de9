"""The listings of the three data sets: which images there are, and the protocol, before any image is read."""

from reid.data_sets.listing import HeldOutList, Listing
from reid.data_sets.llcm import list_llcm
from reid.data_sets.regdb import list_regdb
from reid.data_sets.sysu import list_sysu

__all__ = ["HeldOutList", "Listing", "list_llcm", "list_regdb", "list_sysu"]

"""Draws what a run did: one page with pictures, made from nothing but the files in the run's folder.

A script calls `write_report` when it is done. The page of an older folder is drawn again with::

    PYTHONPATH=examples python -m reid.report runs/NAME
"""

from reid.report.page import write_report

__all__ = ["write_report"]

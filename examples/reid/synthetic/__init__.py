"""Data sets of drawn persons, in the layouts of the real ones."""

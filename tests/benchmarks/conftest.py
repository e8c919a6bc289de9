"""Keep the benchmarks out of ``python -m pytest``: they are run by ``python -m benchmarks``."""

collect_ignore_glob = ["*.py"]

"""What it takes to compare two feature dumps outside of training: seconds, and the memory of a process of its own."""

import json
import resource
import subprocess
import sys
import time
from typing import NamedTuple

import torch

from benchmarks.page import Goal, Section, chapter, explained, number, table, verdict
from benchmarks.timing import QUICK, Effort
from modinv.divergences import divergence_between

__all__ = ["SECTION", "Dumps"]

_SECONDS, _GIB = 300, 4
_REASON = "the machine was loaded: run the command on a quiet one."


class Dumps(NamedTuple):
    """One comparison of two sample sets, each of ``rows`` x ``dimension``."""

    divergence: str
    rows: int
    dimension: int
    threads: int
    seconds: float
    peak: float  # resident memory of the whole process in GiB, the two float32 dumps included


def measure(effort: Effort) -> list[Dumps]:
    """Compare two dumps once for each divergence, in a fresh process whose peak memory is that of the comparison."""
    size = (2_000, 256) if effort == QUICK else (50_000, 2048)
    return [_in_a_fresh_process(divergence, *size) for divergence in ("wasserstein", "jeffreys")]


def write(results: list[Dumps]) -> str:
    """Return the table of seconds and memory."""
    rows = [
        (
            f"`{result.divergence}`",
            f"{result.rows:,} x {result.dimension:,}",
            str(result.threads),
            f"**{number(result.seconds)}**",
            verdict(result.seconds, most=_SECONDS),
            f"**{number(result.peak)}**",
            verdict(result.peak, most=_GIB),
        )
        for result in results
    ]
    text = """
        `modinv.divergences.divergence_between` on two float32 sample sets in memory, full covariance, computed in
        chunks in float64. There is no gradient and nothing to compile. One run each in a process of its own; the peak
        is that of the process, PyTorch and both dumps included. The target for the time is "minutes at most", read as
        five.
    """
    columns = ("divergence", "each dump", "threads", "seconds", "target", "peak, GiB", "target")
    return chapter(SECTION.title, text, explained(table(columns, rows), _REASON))


def goals(results: list[Dumps]) -> list[Goal]:
    """Return the targets of both."""
    return [
        goal
        for result in results
        for goal in (
            Goal(f"two dumps, `{result.divergence}`: seconds", result.seconds, None, most=_SECONDS),
            Goal(f"two dumps, `{result.divergence}`: GiB", result.peak, None, most=_GIB),
        )
    ]


SECTION = Section("Two feature dumps", Dumps, measure, write, goals, _REASON)


def _in_a_fresh_process(divergence: str, rows: int, dimension: int) -> Dumps:
    command = [sys.executable, "-m", "benchmarks.dumps", divergence, str(rows), str(dimension)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return Dumps(**json.loads(done.stdout))


def _compare(divergence: str, rows: int, dimension: int) -> Dumps:
    first, second = torch.randn(rows, dimension), torch.randn(rows, dimension)
    start = time.perf_counter()
    divergence_between(first, second, divergence=divergence)  # type: ignore[arg-type]
    seconds = time.perf_counter() - start
    # Linux counts in KiB, macOS in bytes.
    unit = 2**30 if sys.platform == "darwin" else 2**20
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
    return Dumps(divergence, rows, dimension, torch.get_num_threads(), seconds, peak)


if __name__ == "__main__":
    sys.stdout.write(json.dumps(_compare(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))._asdict()))

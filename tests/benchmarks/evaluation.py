"""Measure the evaluator: ``cd tests && PYTHONPATH=../examples python -m benchmarks.evaluation [QUERIES IMAGES WIDTH]``.

On one thread. Without arguments, the sizes of SYSU-MM01 and a gallery of 50,000; each in a process of its own, because
the peak of the memory of a process never falls.
"""

import resource
import subprocess
import sys
import time
from pathlib import Path

import torch

from reid.evaluation.distances import distances
from reid.evaluation.scores import Labels, evaluate, evaluate_features

__all__ = ["main"]

_SIZES = ((3803, 301, 2048), (3803, 3010, 2048), (3803, 50_000, 2048))
_LARGEST_MATRIX = 3803 * 3010


def main(arguments: list[str]) -> None:
    """Measure one problem, or each of the usual ones in a process."""
    if arguments:
        queries, images, dimension = map(int, arguments)
        sys.stdout.write(measure(queries, images, dimension) + "\n")
        return
    for size in _SIZES:
        subprocess.run([sys.executable, "-m", "benchmarks.evaluation", *map(str, size)], check=True)


def measure(queries: int, images: int, dimension: int) -> str:
    """Return a line with the seconds and the memory beside the features, and without features where that is small."""
    torch.set_num_threads(1)
    query, gallery = (torch.empty(rows, dimension).normal_() for rows in (queries, images))
    asked = Labels(torch.randint(0, 96, (queries,)), torch.randint(0, 2, (queries,)) * 3)
    shown = Labels(torch.arange(images) * 96 // images, torch.randint(1, 5, (images,)))
    before = _resident()
    start = time.perf_counter()
    evaluate_features(query, gallery, asked, shown)
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 - before
    line = f"{queries} x {images}, D = {dimension}: {seconds:.2f} s from features, {peak:.0f} MiB beside them"
    if queries * images > _LARGEST_MATRIX:
        return line
    distance = distances(query, gallery)
    match, valid = asked.identities[:, None] == shown.identities, asked.origins[:, None] != shown.origins
    times = []
    for _ in range(7):
        start = time.perf_counter()
        evaluate(distance, match, valid, shown.identities)
        times.append(time.perf_counter() - start)
    return f"{line}; {min(times):.3f} s from distances"


def _resident() -> float:
    """Return what the process holds now, in MiB."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize() / 2**20


if __name__ == "__main__":
    main(sys.argv[1:])

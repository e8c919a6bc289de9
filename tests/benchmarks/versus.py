"""Time the losses of this tree against those of another: ``cd tests && python -m benchmarks.versus SRC``.

SRC is the ``src`` folder of the other commit, of a git worktree for example. Each tree runs in a process of its own, on
one thread. The two take turns, and the best call of each counts. Printed is a table of time here over time there.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import modinv

__all__ = ["main"]

SHAPES = ((32, 512), (32, 2048), (64, 512), (64, 2048), (256, 128))  # rows per modality, features
ROUNDS, CALLS = 12, 8


def losses() -> dict[str, nn.Module]:
    """Return what is timed, by names that both trees know."""
    gaussian = modinv.GaussianDistributionConsistencyLoss
    shrunk: Any = {
        name: gaussian(divergence=name, shrinkage=0.1) for name in ("kl", "jeffreys", "bhattacharyya", "jensen_shannon")
    }
    center, triplet = modinv.HeteroCenterTripletLoss(), modinv.WeightedRegularizedTripletLoss()
    parts = {"gaussian": gaussian(), **shrunk, "center": center, "triplet": triplet}
    return {
        "wasserstein": gaussian(),
        "wasserstein, shrinkage 0.1": gaussian(shrinkage=0.1),
        "wasserstein, identity": gaussian(level="identity"),
        "wasserstein, diagonal": gaussian(covariance="diagonal"),
        "moments": gaussian(divergence="moments"),
        **shrunk,
        "hetero-center triplet": center,
        "weighted triplet": triplet,
        "sum of seven": modinv.WeightedLosses({name: (1.0, loss) for name, loss in parts.items()}),
    }


def main() -> None:
    """Print the table, or answer the questions of the process that does."""
    if sys.argv[1:] == ["--answer"]:
        _answer()
        return
    here = Path(modinv.__file__).parents[1]
    trees = [_start(source) for source in (here, Path(sys.argv[1]))]
    header = [f"{rows} x {dimension}" for rows, dimension in SHAPES]
    sys.stdout.write(f"| loss | {' | '.join(header)} |\n| --- |{' ---: |' * len(header)}\n")
    for name in losses():
        ratios = [_ratio(trees, f"{name};{rows};{dimension}") for rows, dimension in SHAPES]
        sys.stdout.write(f"| {name} | {' | '.join(f'{ratio:.2f}' for ratio in ratios)} |\n")
        sys.stdout.flush()


def _start(source: Path) -> "subprocess.Popen[str]":
    environment = {**os.environ, "PYTHONPATH": str(source)}
    command = [sys.executable, __file__, "--answer"]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=environment)


def _ratio(trees: list["subprocess.Popen[str]"], question: str) -> float:
    best = [float("inf")] * len(trees)
    for _ in range(ROUNDS):
        for place, tree in enumerate(trees):
            assert tree.stdin is not None
            assert tree.stdout is not None
            tree.stdin.write(f"{question}\n")
            tree.stdin.flush()
            best[place] = min(best[place], json.loads(tree.stdout.readline()))
    return best[0] / best[1]


def _answer() -> None:
    torch.set_num_threads(1)
    known, batches = losses(), {}
    for question in sys.stdin:
        name, *shape = question.strip().split(";")
        rows, dimension = map(int, shape)
        if (rows, dimension) not in batches:
            batches[rows, dimension] = _batch(rows, dimension)
        sys.stdout.write(f"{json.dumps(min(_seconds(known[name], batches[rows, dimension]) for _ in range(CALLS)))}\n")
        sys.stdout.flush()


def _batch(rows: int, dimension: int) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(2 * rows, dimension, generator=generator).requires_grad_()
    return features, torch.arange(2 * rows) % 8, torch.arange(2 * rows) // rows


def _seconds(loss: nn.Module, batch: tuple[Tensor, Tensor, Tensor]) -> float:
    start = time.perf_counter()
    torch.autograd.grad(loss(*batch), batch[0])
    return time.perf_counter() - start


if __name__ == "__main__":
    main()

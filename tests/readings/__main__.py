"""Train readings of the enhancing module, or write what was found: ``cd tests && python -m readings --help``.

Trainings that `docs/figures/readings.jsonl` holds already are left out, so the same command goes on after an
interruption, and a later one adds seeds.
"""
# ruff: noqa: T201  a script prints

import argparse
import json
import multiprocessing
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import partial
from pathlib import Path
from typing import Final

import torch

from readings import page
from readings.reading import READINGS
from readings.running import Job, pretrain, run

_DOCUMENTS: Final = Path(__file__).resolve().parents[2] / "docs"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line."""
    chosen = _parse(arguments)
    results = _DOCUMENTS / "figures" / "readings.jsonl"
    if chosen.command == "page":
        page.write(_DOCUMENTS, results)
        return
    done = {Job(*(record[name] for name in Job._fields)) for record in page.read(results)}
    jobs = [
        Job(reading, world, chosen.data, seed, chosen.steps)
        for seed in range(chosen.seed, chosen.seed + chosen.seeds)
        for world in chosen.worlds
        for reading in chosen.readings
    ]
    missing = [job for job in jobs if job not in done]
    print(f"{len(missing)} of {len(jobs)} models to train")
    pretrain(chosen.folder)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(chosen.workers, context, partial(torch.set_num_threads, 1)) as pool:
        for future in as_completed([pool.submit(run, job, chosen.folder) for job in missing]):
            record = future.result()
            with results.open("a", encoding="utf-8") as file:
                file.write(json.dumps(record) + "\n")
            print(f"{' '.join(str(record[name]) for name in Job._fields)}: mAP {record['mAP']:.2f}", flush=True)


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser("readings", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("page", help="write the tables and the chart of docs/readings.md")
    add = commands.add_parser("train", help="train and score models").add_argument
    add("--readings", type=_Names(READINGS), default=["baseline"], metavar="A;B", help=f"of {'; '.join(READINGS)}")
    add("--worlds", type=_Names(("sysu", "many", "hard")), default=["sysu", "many", "hard"], metavar="A;B")
    add("--data", type=int, default=1, help="seed of persons and cameras; 0 is that of the screening")
    add("--seed", type=int, default=100, help="the first one; below 100 are those of the screening")
    add("--seeds", type=int, default=1, help="how many")
    add("--steps", type=int, default=400)
    add("--workers", type=int, default=1, help="trainings at a time")
    add("--folder", type=Path, default=Path("readings-data"), help="for the worlds and the pretrained backbone")
    return parser.parse_args(arguments)


class _Names:
    """Reads names that semicolons part."""

    def __init__(self, known: Iterable[str]) -> None:
        self._known = tuple(known)

    def __call__(self, text: str) -> list[str]:
        names = text.split(";")
        if unknown := [name for name in names if name not in self._known]:
            raise argparse.ArgumentTypeError(f"must be out of {'; '.join(self._known)}, got {'; '.join(unknown)}")
        return names


if __name__ == "__main__":
    main()

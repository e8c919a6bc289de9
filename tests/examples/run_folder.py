"""Makes what a run leaves in its folder, by hand."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from reid.report.reading import Embeddings

__all__ = ["DPI", "make_embeddings", "write_embeddings", "write_log", "write_results"]

DPI = 20
"""Of the pictures: enough to be drawn, too few to be looked at."""


def scores_record(rank1: float) -> dict[str, Any]:
    cmc = [min(1.0, rank1 + 0.03 * rank) for rank in range(20)]
    return {"cmc": cmc, "mAP": rank1 / 2, "mINP": rank1 / 3, "num_queries": 9, "num_valid_queries": 9}


def write_results(folder: Path, methods: dict[str, list[float]], **provenance: Any) -> None:
    rows = [
        {
            "method": method,
            "runs": [
                {"seed": seed, "mean": scores_record(rank1), "checkpoint_sha256": f"{seed}af5"}
                for seed, rank1 in enumerate(ranks)
            ],
        }
        for method, ranks in methods.items()
    ]
    known = {"dataset": "images", "protocol": "SYSU-MM01", "options": {"learning_rate": 0.25}, **provenance}
    (folder / "results.json").write_text(json.dumps({"provenance": known, "rows": rows}), encoding="utf-8")


def write_log(path: Path, epochs: int = 3, value: str = "1.5") -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(
            ["epoch", "step", "learning_rate", "gradient_norm", "modality_gap", "peak_memory", "total", "triplet"]
        )
        writer.writerows([epoch, 8 * epoch, 0.1, 2, 3 / epoch, "nan", value, 0.5] for epoch in range(1, epochs + 1))


def make_embeddings(images: Path | None = None, people: int = 5, each: int = 4) -> Embeddings:
    """Random embeddings; odd rows are infrared; every person has an image for each camera."""
    generator = torch.Generator().manual_seed(0)
    identities = 10 * torch.arange(people).repeat_interleave(each)
    modalities = torch.arange(people * each) % 2
    centers = torch.randn(people, 8, generator=generator).repeat_interleave(each, 0)
    before, noise = torch.randn(2, people * each, 8, generator=generator)
    before += 3 * modalities[:, None]
    paths = tuple(f"cam{row % each + 1}/{identities[row]:04d}.png" for row in range(people * each))
    if images is not None:
        for row, path in enumerate(paths):
            (images / path).parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (4, 9), (10 * row, 0, 99)).save(images / path)
    cameras = tuple(row % each + 1 for row in range(people * each))
    return Embeddings(before, centers + 0.3 * noise, identities, modalities, cameras, paths)


def write_embeddings(path: Path, embeddings: Embeddings) -> None:
    parts: dict[str, Any] = {name: np.asarray(value) for name, value in embeddings._asdict().items()}
    np.savez(path, **parts)

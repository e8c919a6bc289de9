"""Makes what a run leaves in its folder, by hand."""

import json
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from reid.training.snapshot import Embeddings

__all__ = ["DPI", "make_embeddings", "write_log", "write_results"]

DPI = 20
"""Of the pictures: enough to be drawn, too few to be looked at."""


def write_results(folder: Path, *methods: str, data: Path | str = "images", **options: Any) -> None:
    cmc = [0.5 + 0.02 * rank for rank in range(20)]
    rows = [{"method": name, "runs": [{"seed": seed, "mean": {"cmc": cmc}} for seed in (0, 1)]} for name in methods]
    provenance = {"direction": "infrared-to-visible", "options": {"data": str(data), **options}}
    content = {"provenance": provenance, "rows": rows, "table": ["method  R1", *(f"{name}  50.00" for name in methods)]}
    (folder / "results.json").write_text(json.dumps(content), encoding="utf-8")


def write_log(path: Path, epochs: int = 3, value: str = "1.5") -> None:
    lines = [f"{epoch},{8 * epoch},{3 / epoch},nan,{value}" for epoch in range(1, epochs + 1)]
    path.write_text("\n".join(["epoch,step,modality_gap,peak_memory,total", *lines, ""]), encoding="utf-8")


def make_embeddings(images: Path | None = None, people: int = 5, each: int = 4) -> Embeddings:
    """Random embeddings; odd rows are infrared."""
    generator = torch.Generator().manual_seed(0)
    identities = 10 * torch.arange(people).repeat_interleave(each)
    modalities = torch.arange(people * each) % 2
    centers = torch.randn(people, 8, generator=generator).repeat_interleave(each, 0).double()
    before, noise = torch.randn(2, people * each, 8, generator=generator).double()
    paths = tuple(f"cam{row % each + 1}/{identities[row]:04d}.png" for row in range(people * each))
    for row, path in enumerate(paths if images is not None else ()):
        assert images is not None
        (images / path).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 9), (10 * row, 0, 99)).save(images / path)
    return Embeddings(before, centers + 0.3 * noise, identities, modalities, paths)

"""What was measured, kept as JSON beside the code: pages are written from it, without measuring again."""

import json
import os
import platform
import subprocess
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

import torch

__all__ = ["Measured", "load", "save"]

_HERE = Path(__file__).parent


class Measured(NamedTuple):
    """The records of one section, and where and when they were measured."""

    records: list[Any]
    origin: dict[str, str]


def save(name: str, records: list[Any], folder: Path, *, quick: bool = False) -> None:
    """Keep the records of a section, with a remark where they are of a quick run."""
    folder.mkdir(parents=True, exist_ok=True)
    origin = _origin() | ({"effort": "A quick run: not to quote."} if quick else {})
    content = {"origin": origin, "records": [record._asdict() for record in records]}
    (folder / f"{name}.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def load(name: str, record: type[Any], folder: Path) -> Measured:
    """Return the records of a section, which must have been measured."""
    path = folder / f"{name}.json"
    if not path.exists():
        raise SystemExit(f"{name} was never measured: run `python -m benchmarks {name}`, which writes {path.name}.")
    content = json.loads(path.read_text(encoding="utf-8"))
    return Measured([record(**fields) for fields in content["records"]], content["origin"])


def _origin() -> dict[str, str]:
    return {
        "date": date.today().isoformat(),
        "library": _library(),
        "processor": f"{_processor()}, {os.cpu_count()} cores, {platform.machine()}",
        "software": f"torch {torch.__version__}, Python {platform.python_version()}, {platform.system()}",
    }


def _library() -> str:
    """Return the hash of the library's tree, which is the same in every commit that holds the same library."""
    command = ["git", "rev-parse", "--short", "HEAD:src/modinv"]
    return subprocess.run(command, cwd=_HERE, capture_output=True, text=True, check=True).stdout.strip()


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    lines = information.read_text().splitlines() if information.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or "unknown processor"

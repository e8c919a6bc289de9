"""Golden numbers of published code: how the input is drawn, and what that code answered at a commit."""

import json
from pathlib import Path
from typing import Any

__all__ = ["published"]

FOLDER = Path(__file__).parent / "losses" / "published"


def published(name: str) -> Any:
    """Return what ``losses/published/NAME.json`` holds; its field ``input`` says how the input is drawn."""
    return json.loads((FOLDER / f"{name}.json").read_text())

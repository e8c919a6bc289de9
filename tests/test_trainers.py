"""The blocks of docs/trainers.md that need a trainer, where that is installed: none of the extras brings one."""

import re
from pathlib import Path
from typing import Any

import pytest

from test_documents import ROOT, code_blocks

PAGE = ROOT / "docs" / "trainers.md"
QUIET = {
    "accelerator": "cpu",
    "logger": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
    "enable_checkpointing": False,
    "log_every_n_steps": 1,
}


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # a trainer's own warnings are not this project's
@pytest.mark.parametrize("package", ["lightning", "accelerate", "transformers"])
def test_trainer_trains_logs_and_resumes_as_the_page_says(
    package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip(package)
    monkeypatch.chdir(tmp_path)
    (block,) = (
        text for text in re.findall(r"^```py\n(.*?)^```", PAGE.read_text(), re.M | re.S) if f"import {package}" in text
    )
    namespace: dict[str, Any] = {"quiet": QUIET}
    for code in (*code_blocks(PAGE), block):
        exec(compile(code, str(PAGE), "exec"), namespace)

"""The versions that are tried are those that the package, the page and the workflow name."""

import re
from pathlib import Path

from versions import HEADER, TABLE

ROOT = Path(__file__).parents[1]


def test_support_page_quotes_the_rows_that_the_command_tries() -> None:
    page = (ROOT / "docs" / "support.md").read_text()
    assert f"| {' | '.join(HEADER)} |" in page
    quoted = re.findall(r"^\| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \|", page, flags=re.MULTILINE)
    assert [",".join(row) for row in quoted] == TABLE


def test_workflow_tries_every_row_with_its_python() -> None:
    workflow = (ROOT / ".github" / "workflows" / "versions.yml").read_text()
    rows = re.findall(r'python: "([\d.]+)", row: "([\d.]+),([\d.,]+)"', workflow)
    assert {f"{python},{rest}" for _, python, rest in rows} >= set(TABLE)
    assert all(installed == tried for installed, tried, _ in rows)


def test_oldest_row_is_the_bound_of_the_package() -> None:
    project = (ROOT / "pyproject.toml").read_text()
    python, torch, numpy = (version.split(".")[:2] for version in TABLE[0].split(","))
    assert f'requires-python = ">={".".join(python)}"' in project
    assert f'"torch>={".".join(torch)}"' in project
    assert f'"numpy>={".".join(numpy)}"' in project

"""The pages of the losses are whole, and say of the costs what was measured."""

from pathlib import Path

import pytest

from benchmarks import costs
from benchmarks.store import Measured, load

ROOT = Path(__file__).parents[1]
PAGES = sorted(page for page in (ROOT / "docs" / "losses").glob("*.md") if page.stem != "index")


@pytest.fixture(scope="module")
def measured() -> Measured:
    return load("costs", costs.Cost, ROOT / "tests" / "benchmarks" / "results")


def a_cost() -> costs.Cost:
    return costs.Cost("page", "Loss", 8, 4, streams=2, products=1e-3, eager=3e-3, compiled=2e-3)


def test_every_loss_has_a_page() -> None:
    assert [page.stem for page in PAGES] == sorted(costs.losses())


@pytest.mark.parametrize("table", ["losses/index.md", "which_loss.md"])
def test_every_loss_stands_in_both_tables(table: str) -> None:
    text = (ROOT / "docs" / table).read_text()
    assert not [
        name
        for name, loss in costs.losses().items()
        if f"[`{loss.__name__}`]({name}.md)" not in text.replace("(losses/", "(")
    ]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_page_of_a_loss_has_all_its_parts(page: Path) -> None:
    text = page.read_text()
    parts = ["```text", "**Shapes.**", "**Cost.**", "## What differs from the source", "## When to use it", "```python"]
    places = [text.index(part) for part in parts]
    assert places == sorted(places)
    assert costs.losses()[page.stem].__name__ in text


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_page_says_what_was_measured(page: Path, measured: Measured) -> None:
    own = [cost for cost in measured.records if cost.page == page.stem]
    assert costs.line(own, measured.origin) in page.read_text()


def test_table_of_all_losses_says_what_was_measured(measured: Measured) -> None:
    assert costs.write(measured.records) in (ROOT / "docs" / "performance_tables.md").read_text()


def test_line_gives_milliseconds_and_times_the_products() -> None:
    assert "64 rows (P = 8, K = 4): 3 ms eager, 2 ms compiled (3 and 2)." in costs.line([a_cost()], {})


def test_line_says_that_a_run_was_quick() -> None:
    assert "not to quote" in costs.line([a_cost()], {"effort": "A quick run: not to quote."})


def test_page_of_a_loss_that_was_never_measured_says_so(tmp_path: Path) -> None:
    page = tmp_path / "new.md"
    page.write_text("before\n\n<!-- cost -->\nold\n<!-- end of cost -->\n\nafter\n")
    text = costs.rewritten(page, [a_cost()], {})
    assert "Not measured yet" in text
    assert "old" not in text
    assert text.startswith("before\n")
    assert text.endswith("\nafter\n")

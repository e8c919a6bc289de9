"""Runs docs/diagnostics.md and writes the picture that it draws."""

from typing import Any

import matplotlib as mpl

from test_documents import ROOT, code_blocks

STYLE: dict[Any, Any] = {"svg.fonttype": "none", "svg.hashsalt": "modinv", "font.size": 9}
PAGE = ROOT / "docs" / "diagnostics.md"


def write() -> None:
    """Run the blocks of the page in order and save the figure of the last one."""
    namespace: dict[str, Any] = {}
    with mpl.rc_context(STYLE):
        for block in code_blocks(PAGE):
            exec(compile(block, str(PAGE), "exec"), namespace)
        namespace["figure"].savefig(PAGE.parent / "figures" / "diagnostics.svg", metadata={"Date": None})


if __name__ == "__main__":
    write()

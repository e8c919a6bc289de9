"""The site: ``python -m sphinx -W docs build/site`` makes it; warnings are errors."""

import tempfile
import zlib
from pathlib import Path
from typing import Any

import modinv

project = "modinv"
author = "The modinv founders"
copyright = "2026, the modinv founders"  # noqa: A001
version = release = modinv.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.intersphinx", "sphinx.ext.napoleon"]

html_theme = "furo"
html_title = f"modinv {version}"
html_show_sphinx = False
html_copy_source = False
html_static_path = ["_static"]
html_css_files = ["narrow.css"]

myst_heading_anchors = 4

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
napoleon_numpy_docstring = False

# Where torch documents the types in our signatures, for a build that has no network.
TORCH = {
    "torch.Tensor": "tensors.html#torch.Tensor",
    "torch.dtype": "tensor_attributes.html#torch.dtype",
    "torch.device": "tensor_attributes.html#torch.device",
    "torch.nn.Module": "generated/torch.nn.Module.html#torch.nn.Module",
    "torch.nn.ModuleDict": "generated/torch.nn.ModuleDict.html#torch.nn.ModuleDict",
    "torch.nn.Parameter": "generated/torch.nn.parameter.Parameter.html#torch.nn.parameter.Parameter",
}


def inventory_of(places: dict[str, str]) -> str:
    """Write an inventory of Sphinx and return its path."""
    lines = "".join(f"{name} py:class 1 {place} -\n" for name, place in places.items())
    head = "# Sphinx inventory version 2\n# Project: torch\n# Version: \n# The remainder is compressed using zlib.\n"
    path = Path(tempfile.mkdtemp()) / "torch.inv"
    path.write_bytes(head.encode() + zlib.compress(lines.encode()))
    return str(path)


intersphinx_mapping = {"torch": ("https://docs.pytorch.org/docs/stable/", (None, inventory_of(TORCH)))}
intersphinx_timeout = 5


SECTIONS = ("Args:", "Attributes:", "Returns:", "Raises:", "Example:", "Reference:")


def show_formulas(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Set the indented lines of a docstring, its formulas, as they stand, and elsewhere take a bar for a bar."""
    shown: list[str] = []
    section = ""
    for before, line in zip(["", *lines], lines, strict=False):
        section = line if line.startswith(SECTIONS) else section
        formula = not section and line.startswith("    ")
        if formula and not before and not "".join(shown[-2:]).endswith("::"):
            shown += ["::", ""]
        shown.append(line if formula or section == "Example:" else without_bars(line))
    lines[:] = shown


def without_bars(line: str) -> str:
    """Escape the bars of a line that are in no code."""
    parts = line.split("``")
    parts[::2] = [part.replace("|", "\\|") for part in parts[::2]]
    return "``".join(parts)


def setup(app: Any) -> None:
    """Ask to be called before napoleon, which reads the sections."""
    app.connect("autodoc-process-docstring", show_formulas, priority=400)

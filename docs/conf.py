"""The site: `python -m sphinx -W docs build/site` makes it, warnings are errors."""

from pathlib import Path

import modinv

project = "modinv"
author = "The modinv founders"
copyright = "2026, the modinv founders"  # noqa: A001
version = release = modinv.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.intersphinx", "sphinx.ext.napoleon"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["README.md"]

html_theme = "furo"
html_title = f"modinv {version}"
html_show_sphinx = False
html_theme_options = {"navigation_with_keys": True}

myst_heading_anchors = 4
myst_enable_extensions = ["colon_fence"]

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
napoleon_numpy_docstring = False

# The second place is a copy of the few names that the pages use, so that the site is built without a network.
INVENTORY = str(Path(__file__).parent / "torch.inv")
intersphinx_mapping = {"torch": ("https://docs.pytorch.org/docs/stable/", (None, INVENTORY))}
intersphinx_timeout = 5

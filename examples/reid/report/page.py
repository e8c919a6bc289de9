"""Writes sections as one HTML file that needs nothing beside it: style and pictures are inside, no script, no link."""

import base64
from collections.abc import Sequence
from html import escape
from typing import NamedTuple

__all__ = ["Picture", "Section", "page"]

_STYLE = """
:root { color-scheme: light; }
body { margin: 0 auto; max-width: 62rem; padding: 1.5rem; background: #fff; color: #1a1a1a;
  font: 16px/1.5 system-ui, "Segoe UI", "DejaVu Sans", sans-serif; }
h1 { font-size: 1.7rem; margin: 0 0 .3rem; } h2 { font-size: 1.25rem; margin: 2.4rem 0 .5rem; }
h1, p, figcaption, td, th { overflow-wrap: anywhere; }
nav a { display: inline-block; margin: 0 1rem .2rem 0; color: #00507d; }
p { max-width: 46rem; margin: .4rem 0; }
figure { margin: 1.2rem 0; } img { width: 100%; height: auto; border: 1px solid #ddd; }
figcaption { font-size: .9rem; color: #444; }
.table { overflow-x: auto; } table { border-collapse: collapse; font-size: .95rem; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .9rem .25rem 0; text-align: left; vertical-align: top; border-bottom: 1px solid #ddd; }
thead th { border-bottom: 2px solid #1a1a1a; white-space: nowrap; } tbody th { font-weight: 600; }
.numbers tbody th { min-width: 11rem; }
.numbers td, .numbers thead th + th { text-align: right; white-space: nowrap; }
@media print { body { max-width: none; padding: 0; } nav { display: none; } figure, tr { break-inside: avoid; }
  h2 { break-after: avoid; } }
"""


class Picture(NamedTuple):
    """A picture in a file."""

    name: str
    """Of the file, without its suffix."""
    png: bytes
    caption: str
    """What is to be seen; read aloud to those who do not see it."""


class Section(NamedTuple):
    """A part of the page."""

    title: str
    sentences: Sequence[str] = ()
    table: Sequence[Sequence[str]] = ()
    """Lines of cells, the head first."""
    pictures: Sequence[Picture] = ()
    numbers: bool = False
    """Whether all columns of the table after the first are numbers."""


def page(title: str, lead: Sequence[str], sections: Sequence[Section]) -> str:
    """Write the page.

    Args:
        title: of the page.
        lead: sentences below it.
        sections: in their order; every text in them is escaped.

    Returns:
        HTML.
    """
    links = "".join(f'<a href="#s{place}">{escape(part.title)}</a>' for place, part in enumerate(sections))
    body = "\n".join(_section(place, part) for place, part in enumerate(sections))
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        f"<h1>{escape(title)}</h1>\n{_paragraphs(lead)}\n<nav>{links}</nav>\n<main>\n{body}\n</main>\n</body>\n</html>\n"
    )


def _section(place: int, part: Section) -> str:
    pictures = "\n".join(map(_figure, part.pictures))
    table = _table(part.table, numbers=part.numbers) if part.table else ""
    inside = "\n".join(filter(None, (_paragraphs(part.sentences), table, pictures)))
    return f'<section id="s{place}">\n<h2>{escape(part.title)}</h2>\n{inside}\n</section>'


def _paragraphs(sentences: Sequence[str]) -> str:
    return "\n".join(f"<p>{escape(sentence)}</p>" for sentence in sentences)


def _figure(picture: Picture) -> str:
    data, caption = base64.b64encode(picture.png).decode("ascii"), escape(picture.caption)
    image = f'<img alt="{caption}" src="data:image/png;base64,{data}">'
    return f"<figure>\n{image}\n<figcaption>{caption}</figcaption>\n</figure>"


def _table(lines: Sequence[Sequence[str]], *, numbers: bool) -> str:
    head, *body = lines
    columns = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in head)
    rows = "\n".join(
        f'<tr><th scope="row">{escape(line[0])}</th>{"".join(f"<td>{escape(cell)}</td>" for cell in line[1:])}</tr>'
        for line in body
    )
    kind = ' class="numbers"' if numbers else ""
    return (
        f'<div class="table"><table{kind}>\n<thead><tr>{columns}</tr></thead>\n<tbody>\n{rows}\n</tbody></table></div>'
    )

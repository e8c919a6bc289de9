"""Puts the report together and writes it: ``report.html``, and each picture in a file beside it."""

from pathlib import Path

from reid.report.page import Section, page
from reid.report.reading import Run, read_run
from reid.report.tables import lead_of, provenance_section, results_section
from reid.whole_file import write_whole

__all__ = ["write_report"]


def write_report(folder: Path, *, dpi: int = 150) -> Path:
    """Write a page about a run: its scores, its pictures, and how it was made.

    Args:
        folder: of the run: ``results.json``, and ``METHOD-seedN.csv`` and ``.npz`` of each model. What is missing or
            damaged becomes a sentence on the page, and so do all pictures where matplotlib is not installed.
        dpi: pixels per inch of the pictures, default 150.

    Returns:
        The page, ``FOLDER/report.html``; its pictures are also in ``FOLDER/pictures``.

    Raises:
        OSError: when there is no such folder, or it cannot be written.
        ValueError: when dpi is not positive.
    """
    if dpi < 1:
        raise ValueError(f"dpi must be at least 1, got {dpi}: give the pixels per inch, such as 150.")
    run = read_run(folder)
    sections = [results_section(run), *_pictures(run, dpi), provenance_section(run)]
    for picture in (picture for section in sections for picture in section.pictures):
        write_whole(folder / "pictures" / f"{picture.name}.png", picture.png)
    path = folder / "report.html"
    write_whole(path, page(f"Report of {folder.resolve().name}", lead_of(run), sections).encode("utf-8"))
    return path


def _pictures(run: Run, dpi: int) -> list[Section]:
    try:
        from reid.report.sections import drawn_sections  # only here: the page is written without matplotlib too
    except ImportError as error:
        sentence = f"There are no pictures, because matplotlib cannot be imported ({error}): pip install matplotlib."
        return [Section("Pictures", [sentence])]
    return drawn_sections(run, dpi=dpi)

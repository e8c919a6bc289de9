"""Draws the sections that have pictures; what a folder lacks, or what is damaged, becomes a sentence in its place."""

from collections.abc import Callable, Generator
from pathlib import Path
from typing import NamedTuple, TypeVar

from matplotlib.figure import Figure
from torch.nn import functional

from modinv.diagnostics import modality_accuracy, modality_gap
from reid.report.curves import plot_gap, plot_optimiser, plot_terms, terms_of
from reid.report.page import Picture, Section
from reid.report.reading import Embeddings, History, Model, Run, read_embeddings, read_history
from reid.report.retrievals import find_images, plot_retrievals, retrieve
from reid.report.scores import differences_of, plot_cmc, plot_differences, plot_methods
from reid.report.spaces import plot_distances, plot_map
from reid.report.style import paper, to_png

__all__ = ["drawn_sections"]


class _Drawing(NamedTuple):
    """A figure before it is painted."""

    name: str
    figure: Figure
    caption: str


_Content = TypeVar("_Content")
_Parts = Generator["_Drawing | str", None, None]
"""What a section is made of: drawings, and sentences."""


def drawn_sections(run: Run, *, dpi: int) -> list[Section]:
    """Draw everything that the folder has the numbers for.

    Args:
        run: the folder.
        dpi: pixels per inch.

    Returns:
        The sections, in the order of the page.
    """
    kinds: dict[str, Callable[[Run], _Parts]] = {
        "The methods compared": _methods,
        "CMC curves": _cmc,
        "Training": _training,
        "Modality gap by epoch": _gap,
        "Distances between images": _distances,
        "The two modalities on one map": _maps,
        "Retrievals": _retrievals,
    }
    with paper():
        return [_section(title, draw, run, dpi) for title, draw in kinds.items()]


def _section(title: str, draw: Callable[[Run], _Parts], run: Run, dpi: int) -> Section:
    sentences, pictures = [], []
    try:
        for part in draw(run):
            if isinstance(part, str):
                sentences.append(part)
            else:
                pictures.append(Picture(part.name, to_png(part.figure, dpi), part.caption))
    except Exception as error:  # whatever is wrong with one picture, a run of hours has its table and the others
        sentences.append(_left_out(error))
    return Section(title, sentences, pictures=pictures)


def _left_out(error: Exception) -> str:
    known = isinstance(error, OSError | ValueError)
    return f"Left out: {error}" if known else f"Left out: it cannot be drawn ({type(error).__name__}: {error})."


def _methods(run: Run) -> _Parts:
    if len(run.scores) < 2:
        raise ValueError(f"a comparison needs two methods, and the results hold {len(run.scores)}.")
    caption = "Rank 1, mAP and mINP of each method; dotted: the mean of the first one."
    yield _Drawing("methods", plot_methods(run.scores), caption)
    if differences := differences_of(run.scores):
        caption = (
            f"Differences to {run.scores[0].method}; with many comparisons one interval in twenty misses by chance."
        )
        yield _Drawing("differences", plot_differences(differences), caption)
    else:
        yield "There is no chart of differences: no method shares two seeds with the first one."


def _cmc(run: Run) -> _Parts:
    if not run.scores:
        raise ValueError("there are no scores in the folder.")
    yield _Drawing("cmc", plot_cmc(run.scores), "Cumulative matching characteristic of each method.")


def _training(run: Run) -> _Parts:
    histories = yield from _histories(run)
    if terms_of(histories):
        yield _Drawing("training", plot_terms(histories), "Each term of the objective by epoch.")
    yield _Drawing("optimiser", plot_optimiser(histories), "Learning rate, gradient norm and speed by epoch.")


def _gap(run: Run) -> _Parts:
    histories = yield from _histories(run)
    if not any("modality_gap" in log.columns for logs in histories.values() for log in logs):
        raise ValueError("the logs have no column modality_gap.")
    yield "The distance between the means of the two modalities, divided by the spread around them; 0 where they agree."
    yield _Drawing("modality-gap", plot_gap(histories), "Modality gap of the training batches by epoch.")


def _distances(run: Run) -> _Parts:
    for model, embeddings in (yield from _embeddings(run)):
        figure = plot_distances(embeddings, _title(model))
        caption = f"{_title(model)}: cosine distances of pairs of test images; blue and orange should not overlap."
        yield _Drawing(f"distances-{model.stem.name}", figure, caption)


def _maps(run: Run) -> _Parts:
    for model, embeddings in (yield from _embeddings(run)):
        yield _gap_sentence(model, embeddings)
        caption = f"{_title(model)}: principal components of the test embeddings, made of length 1."
        yield _Drawing(f"map-{model.stem.name}", plot_map(embeddings, _title(model)), caption)


def _retrievals(run: Run) -> _Parts:
    images = find_images(run.folder, run.provenance)
    visible_queries = run.provenance.get("direction") == "visible-to-infrared"
    shown = yield from _embeddings(run)
    if images is None:
        raise ValueError("the images are not where the provenance says that the data set is.")
    yield (
        "Queries are the first image of some people, spread evenly over their numbers and not chosen by the result. "
        "They are compared with all images of the other modality that were kept, from every camera, unlike in the "
        "protocol."
    )
    for model, embeddings in shown:
        retrievals = retrieve(embeddings, visible_queries=visible_queries)
        if not retrievals:
            raise ValueError("no person is there in both modalities.")
        figure = plot_retrievals(embeddings, retrievals, images, _title(model))
        caption = (
            f"{_title(model)}: right ones in a solid green frame with ✓, wrong ones in a dashed orange frame with ✗."
        )
        yield _Drawing(f"retrievals-{model.stem.name}", figure, caption)


def _histories(run: Run) -> Generator[str, None, dict[str, list[History]]]:
    """Read all logs; yields what is wrong with some, returns the others by method."""
    histories: dict[str, list[History]] = {}
    for model in run.models:
        log = _read(model, ".csv", read_history)
        if isinstance(log, History):
            histories.setdefault(model.method, []).append(log)
        elif log:
            yield log
    if not histories:
        raise ValueError("there is no METHOD-seedN.csv with an epoch in the folder.")
    return histories


def _embeddings(run: Run) -> Generator[str, None, list[tuple[Model, Embeddings]]]:
    """Read the embeddings of the first and the last method of the table; yields what is wrong with one of them."""
    kept = [model for model in run.models if model.stem.with_name(f"{model.stem.name}.npz").is_file()]
    lowest = list({model.method: model for model in reversed(kept)}.values())[::-1]  # a method's lowest seed
    shown = []
    for model in dict.fromkeys([*lowest[:1], *lowest[-1:]]):
        embeddings = _read(model, ".npz", read_embeddings)
        if isinstance(embeddings, Embeddings):
            shown.append((model, embeddings))
        else:
            yield embeddings
    if not shown:
        raise ValueError("there is no METHOD-seedN.npz that can be read in the folder.")
    if len(lowest) > 2:
        yield f"Shown are the first and the last of the {len(lowest)} methods, each with its lowest seed."
    return shown


def _read(model: Model, suffix: str, read: Callable[[Path], _Content]) -> _Content | str:
    """Read a file of a model, or say what is wrong with it; nothing where there is no such file."""
    path = model.stem.with_name(model.stem.name + suffix)
    if not path.is_file():
        return ""
    try:
        return read(path)
    except (OSError, ValueError) as error:
        return f"{_title(model)} is left out: {error}"


def _title(model: Model) -> str:
    return f"{model.method}, seed {model.seed}"


def _gap_sentence(model: Model, embeddings: Embeddings) -> str:
    rows = [functional.normalize(features.double(), dim=1) for features in (embeddings.before, embeddings.after)]
    gaps = [modality_gap(row, embeddings.modalities) for row in rows]
    shares = [float(modality_accuracy(row, embeddings.modalities)) for row in rows]
    return (
        f"{_title(model)}: the modality gap of these embeddings goes from {float(gaps[0].relative):.2f} to "
        f"{float(gaps[1].relative):.2f} (two samples of one distribution: about {float(gaps[1].chance):.2f}); the "
        f"nearest mean tells the modality of {shares[0]:.0%} of them before and {shares[1]:.0%} after (a guess: 50%)."
    )

"""What is read from the files of a run, and what the pictures of its report show."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.collections import LineCollection
from torch import Tensor

from examples.run_folder import DPI, make_embeddings, write_embeddings, write_log, write_results
from reid.report.curves import over_seeds, plot_gap, plot_optimiser, plot_terms
from reid.report.reading import MethodScores, Model, read_embeddings, read_history, read_run
from reid.report.retrievals import find_images, plot_retrievals, retrieve
from reid.report.scores import differences_of, plot_cmc, plot_methods
from reid.report.spaces import overlap, plot_distances, plot_map, project
from reid.report.style import named, paper, to_png


def test_log_without_its_last_half_line_is_read(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_text("epoch,step,total,new\n1,8,2.5,\n2,16,inf,3\n3,2")
    history = read_history(path)
    assert history.epochs.tolist() == [1, 2]
    assert list(history.columns) == ["total", "new"]
    assert history.columns["total"].tolist() == [2.5, math.inf]
    assert math.isnan(history.columns["new"][0])


def test_seeds_are_joined_epoch_by_epoch(tmp_path: Path) -> None:
    logs = []
    for seed, lines in enumerate(("1,4\n2,nan\n3,6", "1,2\n2,8")):
        (tmp_path / f"{seed}.csv").write_text(f"epoch,total\n{lines}")
        logs.append(read_history(tmp_path / f"{seed}.csv"))
    spread = over_seeds(logs, "total")
    assert spread.epochs.tolist() == [1, 2, 3]
    assert (spread.mean.tolist(), spread.low.tolist(), spread.high.tolist()) == ([3, 8, 6], [2, 8, 6], [4, 8, 6])
    assert len(over_seeds(logs, "absent").epochs) == 0


def test_each_term_has_a_panel_with_the_line_of_each_method(tmp_path: Path) -> None:
    write_log(tmp_path / "one.csv", epochs=1)
    log = read_history(tmp_path / "one.csv")
    with paper():
        axes = plot_terms({"a": [log], "b": [log, log]}).axes
    titles = [axis.get_title(loc="left") for axis in axes if axis.axison]
    assert titles == ["total", "triplet"]
    assert [line.get_label() for line in axes[0].get_lines()] == ["a", "b"]
    assert axes[0].get_lines()[0].get_marker() == "o"  # a line of one point is seen by its mark


def test_optimiser_is_drawn_as_far_as_it_was_logged(tmp_path: Path) -> None:
    write_log(tmp_path / "one.csv")
    with paper():
        axes = plot_optimiser({"a": [read_history(tmp_path / "one.csv")]}).axes
    assert [axis.get_title(loc="left") for axis in axes] == ["Learning rate", "Norm of the gradient"]


def test_gap_is_drawn_as_it_was_logged(tmp_path: Path) -> None:
    write_log(tmp_path / "one.csv", epochs=4)
    with paper():
        (axis,) = plot_gap({"a": [read_history(tmp_path / "one.csv")]}).axes
    assert np.asarray(axis.get_lines()[0].get_xydata()).tolist() == [[1, 3], [2, 1.5], [3, 1], [4, 0.75]]


def test_models_come_in_the_order_of_the_table(tmp_path: Path) -> None:
    write_results(tmp_path, {"+ both [more]": [0.4], "baseline": [0.4]})
    for name in ("other-seed3.npz", "baseline-seed10.csv", "baseline-seed2.csv", "both-seed0.csv", "both-seed0.pt"):
        (tmp_path / name).touch()
    models = read_run(tmp_path).models
    assert [(model.method, model.seed) for model in models] == [
        ("+ both [more]", 0),
        ("baseline", 2),
        ("baseline", 10),
        ("other", 3),
    ]
    assert models[0] == Model("+ both [more]", 0, tmp_path / "both-seed0")


def test_embeddings_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    embeddings = make_embeddings()
    write_embeddings(tmp_path / "a.npz", embeddings._replace(cameras=embeddings.cameras[1:]))
    with pytest.raises(ValueError, match="one row for each image"):
        read_embeddings(tmp_path / "a.npz")
    np.savez(tmp_path / "b.npz", before=np.zeros((2, 2)))
    with pytest.raises(ValueError, match=r"must be a whole \.npz with before"):
        read_embeddings(tmp_path / "b.npz")


@pytest.mark.parametrize(("rows", "columns"), [(9, 4), (4, 9), (7, 1), (2, 3), (1, 5)])
def test_map_is_that_of_the_principal_components(rows: int, columns: int) -> None:
    features = torch.randn(rows, columns, generator=torch.Generator().manual_seed(3)).double()
    points, shares = project(features, torch.arange(rows) % 2)
    unit = features.numpy() / np.linalg.norm(features.numpy(), axis=1, keepdims=True)
    centered = unit - unit.mean(0)
    _, sizes, directions = np.linalg.svd(centered, full_matrices=False)
    expected = np.zeros((rows, 2))
    expected[:, : len(directions[:2])] = centered @ directions[:2].T
    np.testing.assert_allclose(np.abs(points.numpy()), np.abs(expected), atol=1e-7)
    kept = np.array([*(sizes**2), 0.0])[:2] / max((sizes**2).sum(), 1e-300)
    assert shares == pytest.approx(kept, abs=1e-12)


def test_map_has_infrared_to_the_right() -> None:
    embeddings = make_embeddings()
    for sign in (1, -1):
        points = project(sign * embeddings.before, embeddings.modalities).points
        assert float(points[embeddings.modalities == 1, 0].mean()) > 0


def test_overlap_is_the_common_share() -> None:
    first, second = torch.tensor([2, 2, 0]), torch.tensor([0, 5, 15])
    assert overlap(first, second) == pytest.approx(0.25, rel=1e-12)
    assert overlap(first, 3 * first) == pytest.approx(1, rel=1e-12)
    assert overlap(first, 0 * first) == 0


def test_pictures_of_the_spaces_tell_pairs_and_shares() -> None:
    embeddings = make_embeddings()
    with paper():
        histograms = [axis.get_title(loc="left") for axis in plot_distances(embeddings, "m").axes]
        labels = [axis.get_xlabel() for axis in plot_map(embeddings, "m").axes]
    assert histograms[0].startswith("Before training, within one modality\n10 same, 80 different pairs")
    assert histograms[3].startswith("After training, across modalities\n20 same, 80 different pairs")
    share = project(embeddings.after, embeddings.modalities).shares[0]
    assert labels[1] == f"1st principal component ({share:.0%} of the variance)"


@pytest.mark.parametrize("visible_queries", [False, True])
def test_retrieval_finds_the_nearest_of_the_other_modality(visible_queries: bool) -> None:
    embeddings = make_embeddings(people=12)
    retrievals = retrieve(embeddings, visible_queries=visible_queries)
    assert len(retrievals) == 8
    for query, found in retrievals:
        assert int(embeddings.modalities[query]) == (0 if visible_queries else 1)
        gallery = [row for row in range(48) if embeddings.modalities[row] != embeddings.modalities[query]]
        assert list(found) == sorted(gallery, key=lambda row: -cosine(embeddings.after, query, row))[:10]
    assert len({int(embeddings.identities[query]) for query, _ in retrievals}) == 8


def cosine(rows: Tensor, i: int, j: int) -> float:
    a, b = rows[i].double().tolist(), rows[j].double().tolist()
    return math.fsum(x * y for x, y in zip(a, b, strict=True)) / (math.hypot(*a) * math.hypot(*b))


def test_retrieval_asks_for_nobody_who_is_in_one_modality_only() -> None:
    embeddings = make_embeddings()
    embeddings.modalities[embeddings.identities == 20] = 1
    assert 20 not in {int(embeddings.identities[query]) for query, _ in retrieve(embeddings)}
    assert retrieve(embeddings._replace(modalities=torch.ones(20).long())) == []


def test_sheet_marks_right_and_wrong_by_sign_too(tmp_path: Path) -> None:
    embeddings = make_embeddings(tmp_path)
    retrievals = retrieve(embeddings)
    with paper():
        figure = plot_retrievals(embeddings, retrievals, tmp_path, "m")
        assert to_png(figure, DPI).startswith(b"\x89PNG")
    drawn = [text.get_text() for text in figure.axes[0].texts]
    same = [bool(embeddings.identities[q] == embeddings.identities[row]) for q, found in retrievals for row in found]
    assert (drawn.count("✓"), drawn.count("✗")) == (sum(same), len(same) - sum(same))
    assert drawn.count("no\nimage") == 0
    (tmp_path / embeddings.paths[retrievals[0].query]).write_bytes(b"torn")
    with paper():
        texts = plot_retrievals(embeddings, retrievals, tmp_path, "m").axes[0].texts
    assert [text.get_text() for text in texts].count("no\nimage") == 1


def test_images_are_found_from_the_working_folder_and_beside_the_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, data = tmp_path / "runs" / "a", tmp_path / "data" / "b"
    folder.mkdir(parents=True)
    assert find_images(folder, {"dataset": "synthetic", "options": {"data": "data/b"}}) is None
    data.mkdir(parents=True)
    found = find_images(folder, {"dataset": "synthetic", "options": {"data": "data/b"}})
    assert found is not None
    assert found.resolve() == data
    monkeypatch.chdir(tmp_path)
    assert find_images(folder, {"dataset": "data/b"}) == Path("data/b")
    assert find_images(folder, {}) is None


def make_scores(*seeds: int, method: str = "m", shift: float = 0.0) -> MethodScores:
    cmc = np.array([[10.0 * seed + rank + shift for rank in range(20)] for seed in seeds])
    return MethodScores(method, seeds, cmc, cmc[:, 1] ** 2, cmc[:, 2])


def test_differences_are_taken_seed_by_seed() -> None:
    scores = [make_scores(1, 2, 3), make_scores(3, 5, 2, method="n", shift=1.5), make_scores(3, method="o")]
    differences = differences_of(scores)
    assert [(d.method, d.metric, d.seeds) for d in differences] == [("n", m, (2, 3)) for m in ("Rank 1", "mAP", "mINP")]
    assert differences[0].values == (1.5, 1.5)
    assert differences[1].values == (22.5**2 - 21**2, 32.5**2 - 31**2)


def test_error_bars_are_the_deviation_over_the_seeds() -> None:
    with paper():
        figure = plot_methods([make_scores(1, 2, 4), make_scores(1, method="n")])
    bars = [bar.get_segments() for bar in figure.axes[0].collections if isinstance(bar, LineCollection)]
    deviation = math.sqrt(sum((x - 70 / 3) ** 2 for x in (10, 20, 40)) / 2)
    assert bars[0][0][:, 0].tolist() == pytest.approx([70 / 3 - deviation, 70 / 3 + deviation], rel=1e-12)
    assert len(bars) == 1  # one seed has no bar
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["m", "n"]


def test_cmc_starts_at_rank_one() -> None:
    with paper():
        (axis,) = plot_cmc([make_scores(1, 3)]).axes
    assert np.asarray(axis.get_lines()[0].get_xydata())[:2].tolist() == [[1, 20], [2, 21]]
    assert axis.get_ylabel() == "queries found (%)"


def test_label_that_legends_would_hide_is_shown() -> None:
    assert named("_a") == " _a"
    assert named("") == " "
    assert named("one two three", 8) == "one two\nthree"

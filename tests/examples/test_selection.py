"""Tests of selection and snapshot: the best weights are kept, and pictured images are whole identities."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from reid.data.dataset import HeldOutSet
from reid.data_sets.regdb import regdb_trials
from reid.evaluation.scores import Scores
from reid.training import selection
from reid.training.checkpoint import ResumeError, read_checkpoint
from reid.training.epochs import Epoch
from reid.training.selection import BestModel
from reid.training.snapshot import Embeddings, choose_pictured, read_embeddings, write_embeddings


def epoch(number: int) -> Epoch:
    return Epoch(number, 10 * number, 1.0, 0.1, 1.0, 1.0, 1.0, math.nan, {"total": 1.0})


def held_out() -> HeldOutSet:
    identities, modalities = np.array([1, 2, 1, 2]), np.array([0, 0, 1, 1])
    trials = regdb_trials(identities, modalities, direction="visible-to-infrared")
    return HeldOutSet(torch.zeros(4, 3, 8, 4, dtype=torch.uint8), torch.from_numpy(modalities), trials)


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> nn.Linear:
    """A network whose weight is its mAP."""

    def score(network: nn.Linear, *_: object, **__: object) -> torch.Tensor:
        return network.weight.detach()

    def evaluate(weight: torch.Tensor, _: object) -> tuple[Scores, ...]:
        cmc = torch.ones(20, dtype=torch.float64)
        return (Scores(cmc, float(weight), 0.0, 2, 2), Scores(cmc, float(weight), 0.0, 2, 2))

    monkeypatch.setattr(selection, "extract_embeddings", score)
    monkeypatch.setattr(selection, "evaluate_trials", evaluate)
    return nn.Linear(1, 1)


def set_score(network: nn.Linear, value: float) -> nn.Linear:
    nn.init.constant_(network.weight, value)
    return network


def best_model(path: Path, *, every: int = 1) -> BestModel:
    return BestModel(path, held_out(), every=every, steps=50, options={"steps": 50})


def test_weights_of_the_largest_precision_are_kept_and_put_back(tmp_path: Path, network: nn.Linear) -> None:
    best = best_model(tmp_path / "best.pt")
    given = [0.25, 0.75, 0.5, 0.75, 0.625]
    found = [best.consider(epoch(number), set_score(network, value)) for number, value in enumerate(given, 1)]
    assert found == given
    assert best.state_dict() == {"precision": 0.75, "step": 20}  # the first of equal ones
    best.restore(network)
    assert network.weight.item() == 0.75
    content = read_checkpoint(tmp_path / "best.pt", "")
    assert (content["step"], content["options"]) == (20, {"steps": 50})


def test_network_is_scored_every_few_epochs_and_at_the_end(tmp_path: Path, network: nn.Linear) -> None:
    best = best_model(tmp_path / "best.pt", every=2)
    scored = [best.consider(epoch(number), network) is not None for number in range(1, 6)]
    assert scored == [False, True, False, True, True]


def test_best_score_is_carried_over(tmp_path: Path, network: nn.Linear) -> None:
    first, second = best_model(tmp_path / "best.pt"), best_model(tmp_path / "best.pt")
    first.consider(epoch(1), set_score(network, 0.75))
    second.load_state_dict(first.state_dict())
    second.consider(epoch(2), set_score(network, 0.5))
    second.restore(network)
    assert network.weight.item() == 0.75


def test_best_weights_of_another_run_in_the_folder_are_not_taken(tmp_path: Path, network: nn.Linear) -> None:
    best = best_model(tmp_path / "best.pt")
    other = BestModel(tmp_path / "best.pt", held_out(), every=1, steps=9, options={"steps": 9})
    for one in (best, other):
        one.consider(epoch(1), set_score(network, 0.75))
    with pytest.raises(ResumeError, match=r"best\.pt was made with steps 9 \(now 50\)"):
        best.restore(network)


def test_network_that_separates_the_identities_is_scored_by_the_protocol(tmp_path: Path) -> None:
    class Constant(nn.Module):
        def __init__(self, embedding: torch.Tensor) -> None:
            super().__init__()
            self.embedding = nn.Parameter(embedding)

        def forward(self, images: torch.Tensor, modalities: torch.Tensor) -> "Constant":
            return self

    eye = torch.eye(2)
    best = best_model(tmp_path / "best.pt")
    with torch.no_grad():
        assert best.consider(epoch(1), Constant(torch.cat([eye, eye]))) == 1.0
        assert best.consider(epoch(2), Constant(torch.cat([eye, eye.flip(0)]))) == 0.5
    assert best.step == 10


IDENTITIES = np.repeat([3, 5, 9, 11], [10, 20, 30, 5])


def test_pictured_images_are_all_of_some_identities() -> None:
    rows = choose_pictured(IDENTITIES, most=40)
    assert 0 < len(rows) <= 40
    assert np.array_equal(rows, np.flatnonzero(np.isin(IDENTITIES, IDENTITIES[rows])))
    assert np.array_equal(choose_pictured(IDENTITIES, most=40), rows)
    assert len(choose_pictured(IDENTITIES, most=1000)) == 65


def test_one_identity_is_pictured_however_many_images_it_has() -> None:
    assert len(choose_pictured(np.full(50, 1), most=10)) == 50


def test_embeddings_are_read_as_they_were_written(tmp_path: Path) -> None:
    labels = torch.arange(6), torch.arange(6) % 2
    written = Embeddings(torch.rand(6, 3), torch.rand(6, 3), *labels, tuple("abcdef"))
    write_embeddings(tmp_path / "model.npz", written)
    read = read_embeddings(tmp_path / "model.npz")
    assert read.paths == written.paths
    assert all(torch.equal(one, other.to(one.dtype)) for one, other in zip(read[:4], written[:4], strict=True))

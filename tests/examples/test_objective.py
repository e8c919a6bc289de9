"""Tests of reid.training.objective and reid.training.methods: every term against the loss that it stands for."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

import modinv
from reid.network.model import Outputs
from reid.training.methods import ABLATION, METHODS
from reid.training.objective import Objective

LABELS = torch.arange(4).repeat(4)  # (16,)
MODALITIES = torch.arange(16) // 8


def outputs() -> Outputs:
    generator = torch.Generator().manual_seed(0)

    def draw(columns: int) -> Tensor:
        return torch.randn(16, columns, generator=generator, dtype=torch.float64).requires_grad_()

    return Outputs(draw(6), draw(6), draw(4), draw(4), draw(4))


def expected_terms() -> dict[str, Tensor]:
    """Each term computed alone, by the library's own losses without composition."""
    given = outputs()
    assert given.private_logits is not None
    assert given.cross_logits is not None
    return {
        "identity": functional.cross_entropy(given.logits, LABELS),
        "enhanced_identity": functional.cross_entropy(given.private_logits, LABELS),
        "cross_identity": functional.cross_entropy(given.cross_logits, LABELS),
        "triplet": modinv.WeightedRegularizedTripletLoss()(given.features, LABELS, MODALITIES),
        "distribution": modinv.GaussianDistributionConsistencyLoss()(given.embedding, LABELS, MODALITIES),
        "hetero_center": modinv.HeteroCenterTripletLoss()(given.features, LABELS, MODALITIES),
    }


def test_methods_of_the_ablation_build_on_each_other() -> None:
    assert {name: list(METHODS[name].terms) for name in ABLATION} == {
        "baseline": ["triplet"],
        "enhancing": ["triplet"],
        "consistency": ["triplet", "distribution"],
        "both": ["triplet", "distribution"],
        "full": ["triplet", "distribution", "hetero_center"],
    }
    assert [name for name in ABLATION if METHODS[name].enhance] == ["enhancing", "both", "full"]


def test_methods_have_titles_of_their_own() -> None:
    assert len({method.title for method in METHODS.values()}) == len(METHODS)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("consistency-jeffreys", {"divergence": "jeffreys", "shrinkage": 0.1}),
        ("consistency-moments", {"divergence": "moments"}),
        ("consistency-diagonal", {"covariance": "diagonal"}),
    ],
)
def test_other_consistency_losses_differ_in_what_their_names_say(name: str, options: Any) -> None:
    given = outputs()
    expected = modinv.GaussianDistributionConsistencyLoss(**options)(given.embedding, LABELS, MODALITIES)
    terms = Objective(METHODS[name]).terms(outputs(), LABELS, MODALITIES)
    torch.testing.assert_close(terms.distribution, expected, rtol=1e-12, atol=1e-12)
    assert METHODS[name].terms["distribution"][:2] == METHODS["consistency"].terms["distribution"][:2]


def test_memory_joins_the_rows_of_earlier_batches() -> None:
    objective = Objective(METHODS["consistency-memory"])
    first, second = outputs(), outputs()
    second = second._replace(embedding=second.embedding + MODALITIES[:, None])
    objective.terms(first, LABELS, MODALITIES)
    together = torch.cat([second.embedding, first.embedding])
    expected = modinv.GaussianDistributionConsistencyLoss()(together, LABELS.repeat(2), MODALITIES.repeat(2))
    found = objective.terms(second, LABELS, MODALITIES).distribution
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


def test_half_precision_is_computed_in_single() -> None:
    given = outputs()
    halves = given._replace(logits=given.logits.to(torch.bfloat16), features=given.features.to(torch.bfloat16))
    terms = Objective(METHODS["baseline"]).terms(halves, LABELS, MODALITIES)
    assert terms.identity.dtype == torch.float32
    expected = functional.cross_entropy(halves.logits.float(), LABELS)
    torch.testing.assert_close(terms.identity, expected, rtol=1e-6, atol=0)


@pytest.mark.parametrize("name", ABLATION)
def test_terms_are_those_of_the_method_and_equal_the_losses_alone(name: str) -> None:
    terms = Objective(METHODS[name]).terms(outputs(), LABELS, MODALITIES)._asdict()
    terms.pop("total")
    expected = expected_terms()
    identities = {"enhanced_identity", "cross_identity"} if METHODS[name].enhance else set()
    assert terms.keys() == {"identity"} | identities | METHODS[name].terms.keys()
    for term, value in terms.items():
        torch.testing.assert_close(value, expected[term], rtol=1e-12, atol=1e-12)


def test_total_is_the_weighted_sum_with_half_of_the_consistency() -> None:
    expected = expected_terms()
    total = sum(expected.values()) - 0.5 * expected["distribution"]
    found = Objective(METHODS["full"])(outputs(), LABELS, MODALITIES)
    torch.testing.assert_close(found, total, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("progress", "weight"), [(0.0, 0.0), (0.1, 0.125), (0.4, 0.5), (1.0, 0.5)])
def test_consistency_warms_up_over_two_fifths_of_the_steps(progress: float, weight: float) -> None:
    objective = Objective(METHODS["consistency"])
    objective.set_progress(progress)
    expected = expected_terms()
    total = expected["identity"] + expected["triplet"] + weight * expected["distribution"]
    found = objective(outputs(), LABELS, MODALITIES)
    torch.testing.assert_close(found, total, rtol=1e-12, atol=1e-12)


def test_losses_on_one_feature_matrix_share_their_statistics(monkeypatch: pytest.MonkeyPatch) -> None:
    given, seen, original = outputs(), [], modinv.statistics.statistics_of

    def counting(features: Tensor, *rest: object) -> object:
        seen.append(features)
        return original(features, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr("modinv.losses.loss.statistics_of", counting)
    Objective(METHODS["full"]).terms(given, LABELS, MODALITIES)
    matrices = [given.features, given.embedding]
    assert [id(matrix) for matrix in seen] == [id(matrix) for matrix in matrices]


def test_every_matrix_that_a_method_reads_gets_a_gradient() -> None:
    given = outputs()
    Objective(METHODS["full"])(given, LABELS, MODALITIES).backward()
    for matrix in given:
        assert isinstance(matrix, Tensor)
        assert matrix.grad is not None
        assert (matrix.grad.abs().sum(1) > 0).all()


def test_a_network_without_private_classifiers_is_refused_by_a_method_that_reads_them() -> None:
    with pytest.raises(ValueError, match="build TwoStreamNetwork with enhance=True"):
        Objective(METHODS["both"]).terms(Outputs(*outputs()[:3]), LABELS, MODALITIES)

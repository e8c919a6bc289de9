"""What is said of a batch and of a loss in it."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import modinv
from batches import degenerate_batches, make_batch
from losses.catalogue import EVERY_LOSS
from modinv import Batch
from modinv.diagnostics import BatchExplanation, TermExplanation, explain_batch
from modinv.distributed import GlobalBatch

CENTER, GAUSSIAN = modinv.HeteroCenterTripletLoss(), modinv.GaussianDistributionConsistencyLoss()
DEGENERATE = degenerate_batches(torch.float64)


def term_of(explained: BatchExplanation, name: str) -> TermExplanation:
    (term,) = (term for term in explained.terms if term.name == name)
    return term


def said(loss: Callable[..., Tensor], batch: Batch) -> str:
    return "\n".join(explain_batch(loss, *batch).remarks)


def far_apart(scale: float = 1.0) -> Batch:
    """Four identities with two images in each modality, 10 apart, a little noise."""
    labels, modalities = torch.arange(16) % 4, torch.arange(16) // 8
    noise = torch.randn(16, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return Batch(scale * (functional.one_hot(labels, 8) * 50**0.5 + 0.1 * noise), labels, modalities)


@pytest.mark.parametrize("loss", EVERY_LOSS)
def test_terms_are_those_of_the_loss_with_the_gradient_that_it_has(loss: Any) -> None:
    features, labels, modalities = make_batch()
    explained = explain_batch(loss, features, labels, modalities)
    features.requires_grad_()
    terms = loss.terms(features, labels, modalities)
    value = loss(features, labels, modalities)
    (gradient,) = torch.autograd.grad(value, features)
    if isinstance(loss, modinv.WeightedLosses):
        totals = [term_of(explained, name) for name in loss.losses]
        assert [term.value for term in totals] == pytest.approx([float(term.detach()) for term in terms[1:]])
        assert [term.weight for term in totals] == list(loss.weights.values())
        assert sum(term.pull for term in totals) == pytest.approx(1)
    else:
        assert [term.name for term in explained.terms] == list(terms._fields)
        assert [term.value for term in explained.terms] == pytest.approx([float(term.detach()) for term in terms])
        assert explained.terms[0].gradient == pytest.approx(float(gradient.norm()))
        lengths = gradient.norm(dim=1)
        assert explained.terms[0].rows == int((lengths > 1e-9 * lengths.max()).sum())


@pytest.mark.parametrize("loss", EVERY_LOSS)
def test_every_degenerate_batch_is_explained(loss: Any) -> None:
    for batch in DEGENERATE.values():
        explained = explain_batch(loss, *batch)
        assert all(line for line in explained.remarks)
        assert str(explained).count("\n") >= len(explained.terms) + len(explained.remarks)


def test_contents_are_counted() -> None:
    labels, modalities = torch.tensor([7, 7, 7, 7, 9, 9, 4]), torch.tensor([0, 0, 1, 1, 0, 1, 1])
    features = torch.tensor([[0.0, 0], [0, 2], [3, 0], [3, 2], [0, 9], [0, 9], [8, 0]])
    batch = explain_batch(CENTER, features, labels, modalities).batch
    assert batch[:6] == (7, 2, (3, 4), 3, 2, (1, 1, 1, 2, 2))
    # Centers (0, 1) (3, 1) of 7, (0, 9) twice of 9, (8, 0) of 4.
    assert batch.partner == pytest.approx(3)  # of 3 3 3 3 0 0
    assert batch.rival == pytest.approx(8)  # of 8 8 √26 √26 8 8 √26
    assert batch.remarks == (
        "identities in one modality only: 1 of 3",
        "cells of one row, which have no spread: 3 of 5",
    )


def test_page_begins_with_the_batch_and_ends_with_the_remarks() -> None:
    lines = str(explain_batch(CENTER, *DEGENERATE["one modality only"])).splitlines()
    assert lines[0] == "16 rows of 24 features: 16 of modality 0, 0 of modality 1"
    assert lines[1] == "4 identities, 0 of them in two modalities or more; 4 cells of 2 to 7 rows"
    assert lines[-1] == "* total: 0, since the batch lacks an identity in two modalities"


@pytest.mark.parametrize(
    ("name", "loss", "remark"),
    [
        ("one modality only", GAUSSIAN, "total: 0, since the batch lacks two modalities"),
        ("identities that do not meet", CENTER, "total: 0, since the batch lacks an identity in two modalities"),
        ("identities that do not meet", CENTER, "let the sampler draw each in both"),
        ("one identity", modinv.WeightedRegularizedTripletLoss(), "one identity only: there are no negatives"),
        ("one identity", modinv.WeightedRegularizedTripletLoss(), "total: 0: nothing is left to compare"),
        ("constant rows", CENTER, "total: saturated: equal rows have no direction to go"),
        ("constant rows", CENTER, "the features have collapsed"),
        ("one image per identity", modinv.IntraModalityLoss(), "compactness: 0, no cell has two different rows"),
    ],
)
def test_zero_is_explained(name: str, loss: modinv.losses.Loss, remark: str) -> None:
    assert remark in said(loss, DEGENERATE[name])


def test_margin_that_all_keep_is_told_from_nothing_to_compare() -> None:
    assert "total: 0, since all rows keep the margin 0.3" in said(CENTER, far_apart())
    assert "total: 0: nothing is left to compare or to improve" in said(GAUSSIAN, DEGENERATE["identical modalities"])


def test_rows_that_keep_the_margin_are_counted() -> None:
    features, labels, modalities = far_apart()
    features[0] = features[1]  # an image of identity 0 that looks like identity 1
    explained = explain_batch(CENTER, features, labels, modalities)
    rows = term_of(explained, "total").rows
    assert 0 < rows < 16
    assert f"total: {16 - rows} of 16 rows get no gradient: they keep the margin 0.3" in "\n".join(explained.remarks)


@pytest.mark.parametrize(
    ("scale", "remark"),
    [
        (10.0, "the margin 0.3 is 0.3 % of the distance to the nearest rival"),
        (1.0, None),
        (0.01, "the margin 0.3 is 3.0"),
    ],
)
def test_margin_is_compared_with_the_distance_to_the_nearest_rival(scale: float, remark: str | None) -> None:
    remarks = said(CENTER, far_apart(scale))
    assert remark in remarks if remark else "distance to the nearest rival" not in remarks


def test_margin_of_a_loss_that_does_not_see_the_scale_is_left_alone() -> None:
    for scale in (1e-3, 1e3):
        assert "rival" not in said(modinv.IntraModalityLoss(margin=2.0), far_apart(scale))


def test_feature_that_is_not_finite_is_named() -> None:
    features, labels, modalities = make_batch()
    features[3, 2] = torch.nan
    assert "total: not finite" in said(CENTER, Batch(features, labels, modalities))


def saturated(features: Tensor, _labels: Tensor, _modalities: Tensor) -> Tensor:
    return 88 + 0 * features.sum()


def test_value_without_a_gradient_is_saturated() -> None:
    explained = explain_batch(saturated, *make_batch())
    assert explained.remarks[-1] == "total: saturated: no row can lower it"


class Proxies(nn.Module):
    """A loss from elsewhere with parameters, a margin and a mode of training."""

    def __init__(self) -> None:
        super().__init__()
        self.margin = 5.0
        self.proxies = nn.Parameter(torch.ones(24, dtype=torch.float64))
        self.calls: list[bool] = []

    def forward(self, features: Tensor, _labels: Tensor, _modalities: Tensor) -> Tensor:
        self.calls.append(self.training)
        return (self.margin + (features - self.proxies).norm(dim=1)).relu().mean()


def test_losses_from_elsewhere_and_sums_in_sums_are_explained_by_name() -> None:
    inner = modinv.WeightedLosses({"proxy": (2.0, Proxies()), "own": (1.0, CENTER)})
    losses = modinv.WeightedLosses({"inner": (0.5, inner), "mean": (-1.0, lambda f, _l, _m: f.mean())})
    explained = explain_batch(losses, *make_batch())
    names = [term.name for term in explained.terms]
    assert names == ["inner.proxy", "inner.own", "inner.own.positive", "inner.own.negative", "mean"]
    assert [term.weight for term in explained.terms] == [1.0, 0.5, 0.5, 0.5, -1.0]
    assert "inner.proxy: the margin 5 is" in said(losses, Batch(*(make_batch().features / 10, *make_batch()[1:])))


def test_nothing_changes() -> None:
    proxies = Proxies()
    memory = modinv.CrossBatchMemory(modinv.WeightedLosses({"a": (1.0, proxies), "b": (1.0, CENTER.eval())}), 40)
    batch = make_batch()
    memory(*batch)
    before, grad_before = copy.deepcopy(memory.state_dict()), batch.features.grad
    modes = [part.training for part in memory.modules()]
    explained = explain_batch(memory, *batch)
    assert [term.name for term in explained.terms] == ["total", "a", "b"]
    assert proxies.calls[1:] == [False, False]
    assert [part.training for part in memory.modules()] == modes
    assert proxies.proxies.grad is None
    assert batch.features.grad is grad_before
    assert not batch.features.requires_grad
    assert all(torch.equal(value, memory.state_dict()[name]) for name, value in before.items())


def test_failing_loss_is_left_in_its_mode() -> None:
    def fail(*_: Tensor) -> Tensor:
        raise RuntimeError("broken")

    losses = modinv.WeightedLosses({"broken": (1.0, fail)})
    with pytest.raises(RuntimeError, match="broken"):
        explain_batch(losses, *make_batch())
    assert losses.training


def test_labels_may_be_none_where_the_loss_does_not_read_them() -> None:
    features, labels, modalities = make_batch()
    explained = explain_batch(GAUSSIAN, features, None, modalities)
    assert explained.terms[0].value == explain_batch(GAUSSIAN, features, labels, modalities).terms[0].value
    assert explained.batch.identities is None
    assert "no labels" in str(explained)
    with pytest.raises(TypeError, match=r"labels must be an integer tensor \(N,\), got None"):
        explain_batch(CENTER, features, None, modalities)


def test_compiled_and_global_losses_are_explained_like_their_own() -> None:
    batch = make_batch()
    expected = explain_batch(CENTER, *batch).terms
    assert explain_batch(GlobalBatch(CENTER), *batch).terms == expected
    assert explain_batch(torch.compile(CENTER), *batch).terms == expected
    assert explain_batch(GlobalBatch(saturated), *batch).terms[0].value == 88


def test_number_of_modalities_of_the_loss_is_heard() -> None:
    explained = explain_batch(modinv.HeteroCenterTripletLoss(num_modalities=4), *make_batch())
    assert explained.batch.modality_rows == (9, 7, 0, 0)


@pytest.mark.parametrize("loss", [None, 3, nn.Identity])
def test_what_is_no_loss_is_refused(loss: Any) -> None:
    with pytest.raises(TypeError, match=r"loss must be a loss of \(features, labels, modalities\), got"):
        explain_batch(loss, *make_batch())


@pytest.mark.parametrize("returned", [1.0, torch.ones(3), torch.tensor(1)])
def test_loss_that_returns_no_scalar_is_refused(returned: Any) -> None:
    with pytest.raises(TypeError, match=r"a loss must return a floating tensor of shape \(\), got"):
        explain_batch(lambda *_: returned, *make_batch())

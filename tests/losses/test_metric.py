"""The metric losses against plain loops: hetero-center triplet, weighted regularised triplet, intra-modality."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

import modinv
import oracles
from batches import make_batch

Oracle = Callable[[Tensor, Tensor, Tensor], Tensor]
CASES: dict[str, tuple[modinv.losses.Loss, Oracle]] = {
    "hetero-center triplet": (
        modinv.HeteroCenterTripletLoss(margin=2.5),
        lambda x, y, m: oracles.hetero_center_triplet(x, y, m, 2.5),
    ),
    "weighted regularized triplet": (
        modinv.WeightedRegularizedTripletLoss(),
        lambda x, y, m: oracles.weighted_regularized_triplet(x, y),
    ),
    "intra-modality": (
        modinv.IntraModalityLoss(margin=1.6),
        lambda x, y, m: oracles.intra_modality(x, y, m, 1.6),
    ),
}
every_case = pytest.mark.parametrize("case", CASES)
BATCHES = {
    "ordinary": ((9, 7), 3),
    "more rows than features": ((40, 30), 5),
    "three modalities": ((6, 9, 7), 3),
    "identities missing from a modality": ((9, 3), 8),
    "one modality": ((9, 0), 3),
    "one identity": ((5, 4), 1),
}
every_batch = pytest.mark.parametrize(("counts", "identities"), BATCHES.values(), ids=BATCHES.keys())


@every_case
@every_batch
def test_value_and_gradient_are_those_of_the_plain_loop(case: str, counts: tuple[int, ...], identities: int) -> None:
    loss, oracle = CASES[case]
    features, labels, modalities = make_batch(counts, dimension=12, identities=identities, seed=5)
    features.requires_grad_()
    value, expected = loss(features, labels, modalities), oracle(features, labels, modalities)
    torch.testing.assert_close(value, expected.to(value.dtype), rtol=1e-11, atol=1e-12)
    (gradient,) = torch.autograd.grad(value, features)
    if expected.requires_grad:
        (expected_gradient,) = torch.autograd.grad(expected, features)
        torch.testing.assert_close(gradient, expected_gradient, rtol=1e-9, atol=1e-11)
    else:
        assert not gradient.any()


@pytest.mark.parametrize("case", ["hetero-center triplet", "intra-modality"])
def test_margin_changes_the_value_and_is_shown(case: str) -> None:
    loss = type(CASES[case][0])
    batch = make_batch()
    assert loss(margin=3.0)(*batch) > loss(margin=2.0)(*batch)  # type: ignore[call-arg]
    assert "(margin=3.0" in repr(loss(margin=3.0))  # type: ignore[call-arg]


@pytest.mark.parametrize("loss", [modinv.HeteroCenterTripletLoss, modinv.IntraModalityLoss])
@pytest.mark.parametrize("margin", [float("nan"), float("inf"), -0.1])
def test_impossible_margin_is_refused(loss: Callable[..., object], margin: float) -> None:
    with pytest.raises(ValueError, match="margin must be a finite number"):
        loss(margin=margin)


@pytest.mark.parametrize(
    ("loss", "margin"),
    [
        *((modinv.HeteroCenterTripletLoss, margin) for margin in ("soft", True)),  # None is its soft margin
        *((modinv.IntraModalityLoss, margin) for margin in ("soft", None, True)),
    ],
)
def test_margin_of_another_kind_is_refused(loss: Callable[..., object], margin: object) -> None:
    with pytest.raises(TypeError, match="margin must be a number"):
        loss(margin=margin)


@pytest.mark.parametrize("scale", [1.0, 10.0, 100.0, 1000.0])
def test_weighted_triplet_of_a_separated_batch_stays_small_at_any_distance(scale: float) -> None:
    """The published softmax loses its negatives beyond a distance of about 13 and scores such a batch highly."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(4).repeat_interleave(4)
    features = scale * (10.0 * torch.eye(4)[labels] + 0.1 * torch.randn(16, 4, generator=generator))
    loss = modinv.WeightedRegularizedTripletLoss()
    terms = loss.terms(features, labels, torch.arange(16) % 2)
    assert terms.total < 1e-4
    assert terms.negative > 13 * scale


def test_intra_modality_loss_ignores_the_gap_between_the_modalities() -> None:
    features, labels, modalities = make_batch()
    loss = modinv.IntraModalityLoss(margin=1.6)
    moved = features + 7.0 * modalities[:, None] * torch.arange(features.shape[1])
    torch.testing.assert_close(loss(moved, labels, modalities), loss(features, labels, modalities))


def test_intra_modality_loss_ignores_the_scale_of_a_modality() -> None:
    features, labels, modalities = make_batch()
    loss = modinv.IntraModalityLoss(margin=1.6)
    scaled = features * (1 + 4 * modalities[:, None])
    torch.testing.assert_close(loss(scaled, labels, modalities), loss(features, labels, modalities))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16])
@pytest.mark.parametrize("constant", [0.1, 3.0, 7.7, 1234.5])
def test_intra_modality_loss_takes_a_collapsed_modality_as_compact(dtype: torch.dtype, constant: float) -> None:
    """The mean of equal rows rounds, so that their spread is a rounding error and not zero."""
    features, labels, modalities = make_batch((9, 7), dtype=dtype)
    infrared = (modalities == 1)[:, None]
    features = features.where(~infrared, constant).requires_grad_()
    terms = modinv.IntraModalityLoss().terms(features, labels, modalities)
    visible = modinv.IntraModalityLoss().terms(
        features[modalities == 0], labels[modalities == 0], modalities[modalities == 0]
    )
    torch.testing.assert_close(terms.compactness, visible.compactness / 2, rtol=2e-3, atol=0)
    (gradient,) = torch.autograd.grad(terms.total, features)
    assert gradient.abs().max() < 10


def test_intra_modality_terms_tell_compactness_from_discrepancy() -> None:
    features = torch.tensor([[0.0], [2.0], [6.0], [8.0]])
    terms = modinv.IntraModalityLoss(margin=3.0).terms(features, torch.tensor([0, 0, 1, 1]), torch.zeros(4).long())
    torch.testing.assert_close(terms.compactness, torch.tensor(0.1))  # 1 of a variance of 10
    torch.testing.assert_close(terms.discrepancy, torch.tensor(3 - 6 / 10**0.5))
    torch.testing.assert_close(terms.total, terms.compactness + terms.discrepancy)


def test_hetero_center_triplet_counts_each_center_once() -> None:
    features, labels, modalities = make_batch()
    loss = modinv.HeteroCenterTripletLoss(margin=2.0)
    crowd = (labels == labels[0]) & (modalities == modalities[0])
    twice = [torch.cat([part, part[crowd]]) for part in (features, labels, modalities)]
    torch.testing.assert_close(loss(*twice), loss(features, labels, modalities))

"""Weighted sums of losses."""

import pytest
import torch
from torch import Tensor, nn

import modinv
from batches import make_batch


def build(**weights: float) -> modinv.WeightedLosses:
    return modinv.WeightedLosses(
        {
            "gaussian": (weights.get("gaussian", 0.5), modinv.GaussianDistributionConsistencyLoss()),
            "center": (weights.get("center", 2.0), modinv.HeteroCenterTripletLoss(margin=2.0)),
        }
    )


def test_total_is_the_weighted_sum_of_the_losses_called_alone() -> None:
    batch = make_batch()
    features = batch.features.requires_grad_()
    alone = 0.5 * modinv.GaussianDistributionConsistencyLoss()(*batch) + 2 * modinv.HeteroCenterTripletLoss(margin=2.0)(
        *batch
    )
    together = build()(*batch)
    torch.testing.assert_close(together, alone, rtol=1e-13, atol=0)
    torch.testing.assert_close(
        *(torch.autograd.grad(value, features)[0] for value in (together, alone)), rtol=1e-11, atol=1e-13
    )


def test_terms_are_the_losses_by_name_without_their_weights() -> None:
    batch = make_batch()
    terms = build().terms(*batch)
    assert terms._fields == ("total", "gaussian", "center")
    torch.testing.assert_close(terms.center, modinv.HeteroCenterTripletLoss(margin=2.0)(*batch))


def test_weights_can_be_changed_between_steps() -> None:
    batch = make_batch()
    losses = build()
    losses.weights["gaussian"] = 0.0
    torch.testing.assert_close(losses(*batch), 2 * modinv.HeteroCenterTripletLoss(margin=2.0)(*batch))


class FirstFeature(nn.Module):
    """A loss from elsewhere, that knows nothing of statistics."""

    def forward(self, features: Tensor, labels: Tensor, modalities: Tensor) -> Tensor:
        return features[:, 0].mean() * labels[0] * (modalities == 1).sum()


def test_foreign_loss_takes_part() -> None:
    batch = make_batch()
    losses = modinv.WeightedLosses(
        {"foreign": (3.0, FirstFeature()), "center": (1.0, modinv.HeteroCenterTripletLoss())}
    )
    expected = 3 * FirstFeature()(*batch) + modinv.HeteroCenterTripletLoss()(*batch)
    torch.testing.assert_close(losses(*batch), expected)


def test_parameters_of_a_loss_are_found() -> None:
    assert len(list(modinv.WeightedLosses({"layer": (1.0, nn.Linear(2, 2))}).parameters())) == 2


def test_largest_number_of_modalities_is_taken_for_all() -> None:
    losses = modinv.WeightedLosses(
        {
            "three": (1.0, modinv.GaussianDistributionConsistencyLoss(num_modalities=3)),
            "any": (1.0, modinv.HeteroCenterTripletLoss()),
        }
    )
    assert losses.num_modalities == 3
    with pytest.raises(ValueError, match="modalities must be numbers from 0 to 2"):
        losses(*make_batch((3, 3, 3, 3)))


@pytest.mark.parametrize(
    ("losses", "error", "message"),
    [
        ({}, ValueError, "at least one"),
        ({"total": (1.0, nn.Identity())}, ValueError, "'total'"),
        ({"a b": (1.0, nn.Identity())}, ValueError, "'a b'"),
        ({"a": nn.Identity()}, TypeError, r"'a' must be \(weight, loss module\)"),
        ({"a": (nn.Identity(), 1.0)}, TypeError, r"'a' must be \(weight, loss module\)"),
        ({"a": (float("nan"), nn.Identity())}, ValueError, "the weight of 'a' must be a finite number"),
    ],
)
def test_malformed_sum_is_refused(losses: dict[str, object], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        modinv.WeightedLosses(losses)  # type: ignore[arg-type]

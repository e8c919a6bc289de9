"""Losses, miners, sums and trainers of pytorch-metric-learning beside those of this library."""

from typing import Any

import pytest
import torch
from pytorch_metric_learning import distances, losses, miners, reducers, trainers
from torch import Tensor, nn
from torch.utils.data import TensorDataset

import modinv
from batches import make_batch
from quick import combined

LOSSES: dict[str, Any] = {
    "triplet": losses.TripletMarginLoss,
    "contrastive": losses.ContrastiveLoss,
    "circle": losses.CircleLoss,
    "multi-similarity": losses.MultiSimilarityLoss,
    "supervised contrastive": losses.SupConLoss,
    "NT-Xent": losses.NTXentLoss,
    "ArcFace": lambda: losses.ArcFaceLoss(4, 24),
    "proxy anchor": lambda: losses.ProxyAnchorLoss(4, 24),
}
MINERS: dict[str, Any] = {
    "none": lambda: None,
    "batch-hard": miners.BatchHardMiner,
    "multi-similarity": miners.MultiSimilarityMiner,
}
CENTER = modinv.HeteroCenterTripletLoss(margin=2.0)
# their trainer prints a tensor that is attached
their_warning = pytest.mark.filterwarnings("ignore:Converting a tensor with requires_grad=True:UserWarning")


def make_training(dtype: torch.dtype = torch.float32) -> modinv.Batch:
    """A batch with labels from 0 to 3, which losses with a proxy for each identity take."""
    features, labels, modalities = make_batch((9, 7), dtype=dtype)
    return modinv.Batch(features, (labels + 5) // 11, modalities)


@combined(loss=LOSSES, miner=MINERS)
def test_their_loss_in_a_sum_has_the_value_and_the_gradient_that_it_has_alone(loss: Any, miner: Any) -> None:
    torch.manual_seed(0)
    theirs, mine, batch = loss(), miner(), make_training()
    features = batch.features.requires_grad_()
    together = modinv.WeightedLosses({"theirs": (2.0, modinv.LabelLoss(theirs, mine)), "center": (1.0, CENTER)})
    mined = () if mine is None else (mine(features, batch.labels),)
    expected = 2 * theirs(features, batch.labels, *mined) + CENTER(*batch)
    value = together(*batch)
    wanted = [features, *theirs.parameters()]
    torch.testing.assert_close(value, expected)
    torch.testing.assert_close(*(torch.autograd.grad(part, wanted) for part in (value, expected)))


@combined(loss=["triplet", "circle", "supervised contrastive"], miner=MINERS)
def test_their_loss_does_not_see_row_order_behind_the_adapter_either(loss: str, miner: Any) -> None:
    label_loss, batch = modinv.LabelLoss(LOSSES[loss](), miner()), make_training(torch.float64)
    order = torch.randperm(16, generator=torch.Generator().manual_seed(0))
    features = batch.features.requires_grad_()
    value, shuffled = label_loss(*batch), label_loss(*(part[order] for part in batch))
    torch.testing.assert_close(shuffled, value)
    torch.testing.assert_close(*(torch.autograd.grad(part, features)[0] for part in (shuffled, value)))


@pytest.mark.parametrize("loss", ["proxy anchor", "ArcFace", "triplet"])
def test_their_loss_under_autocast_gets_what_it_gets_alone(loss: str) -> None:
    torch.manual_seed(0)
    theirs, batch = LOSSES[loss](), make_training(torch.bfloat16)
    with torch.autocast("cpu", torch.bfloat16):
        alone = theirs(batch.features, batch.labels)
        together = modinv.WeightedLosses({"theirs": (1.0, modinv.LabelLoss(theirs))})(*batch)
    torch.testing.assert_close(together.float(), alone.float(), rtol=0, atol=0)


def test_their_sum_with_its_miners_is_a_loss_of_labels() -> None:
    batch = make_training()
    theirs = losses.MultipleLosses(
        {"triplet": losses.TripletMarginLoss(), "contrastive": losses.ContrastiveLoss()},
        miners={"triplet": miners.BatchHardMiner()},
    )
    assert torch.equal(modinv.LabelLoss(theirs)(*batch), theirs(batch.features, batch.labels))


@pytest.mark.parametrize("loss", [losses.TripletMarginLoss(), losses.ProxyAnchorLoss(4, 24), losses.MultipleLosses([])])
def test_their_loss_without_the_adapter_is_answered_with_its_name(loss: nn.Module) -> None:
    with pytest.raises(TypeError, match=r"wrap it in modinv\.LabelLoss"):
        modinv.WeightedLosses({"theirs": (1.0, loss)})


def test_triplets_across_modalities_take_one_modality_as_the_reference() -> None:
    batch = make_training(torch.float64)

    def cross(features: Tensor, labels: Tensor, modalities: Tensor) -> Tensor:
        v, i = modalities == 0, modalities == 1
        return losses.TripletMarginLoss()(features[v], labels[v], ref_emb=features[i], ref_labels=labels[i])

    value = modinv.WeightedLosses({"cross": (1.0, cross)})(*batch)
    unit = nn.functional.normalize(batch.features)
    violations = [
        float(gap)
        for a, p, n in torch.cartesian_prod(*(torch.arange(16),) * 3)
        if batch.modalities[a] == 0
        and batch.modalities[p] == batch.modalities[n] == 1
        and batch.labels[a] == batch.labels[p] != batch.labels[n]
        and (gap := (unit[a] - unit[p]).norm() - (unit[a] - unit[n]).norm() + 0.05) > 0
    ]
    torch.testing.assert_close(float(value), sum(violations) / len(violations))


def test_our_loss_in_their_sum_has_the_value_and_the_gradient_that_it_has_alone() -> None:
    batch = make_training()
    features = batch.features.requires_grad_()
    ours = modinv.GivenModalities(modinv.WeightedLosses({"center": (0.5, CENTER)}))
    triplet, miner = losses.TripletMarginLoss(), miners.BatchHardMiner()
    together = losses.MultipleLosses(
        {"ours": ours, "triplet": triplet}, miners={"triplet": miner}, weights={"ours": 2.0, "triplet": 1.0}
    )
    ours.give(batch.modalities)
    value = together(features, batch.labels)
    expected = CENTER(*batch) + triplet(features, batch.labels, miner(features, batch.labels))
    torch.testing.assert_close(value, expected)
    torch.testing.assert_close(*(torch.autograd.grad(part, features)[0] for part in (value, expected)))


def test_hetero_center_triplet_is_their_hardest_triplet_of_the_centers() -> None:
    features, labels, modalities = make_training(torch.float64)
    cells = [(y, m) for y in range(4) for m in range(2) if ((labels == y) & (modalities == m)).any()]
    centers = torch.stack([features[(labels == y) & (modalities == m)].mean(0) for y, m in cells])
    of_centers = torch.tensor([y for y, _ in cells])
    euclidean = distances.LpDistance(normalize_embeddings=False)
    theirs = losses.TripletMarginLoss(margin=2.0, distance=euclidean, reducer=reducers.DoNothingReducer())
    mined = miners.BatchHardMiner(distance=euclidean)(centers, of_centers)
    expected = theirs(centers, of_centers, mined)["loss"]["losses"].mean()
    torch.testing.assert_close(CENTER(features, labels, modalities), expected)


def make_network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Linear(24, 8).double()


def options(network: nn.Module, loss: nn.Module, rows: TensorDataset, getter: Any) -> dict[str, Any]:
    return {
        "models": {"trunk": network},
        "optimizers": {"trunk_optimizer": torch.optim.SGD(network.parameters(), lr=0.1)},
        "batch_size": len(rows),
        "loss_funcs": {"metric_loss": loss},
        "dataset": rows,
        "data_and_label_getter": getter,
        "iterations_per_epoch": 5,
        "dataloader_num_workers": 0,
    }


def values_of(trainer: Any) -> list[float]:
    seen: list[float] = []
    trainer.end_of_iteration_hook = lambda self: seen.append(float(self.losses["total_loss"].detach()))
    trainer.train()
    return seen


def steps_by_hand(rows: Tensor, labels: Tensor, modalities: Tensor) -> list[float]:
    network, seen = make_network(), []
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    for _ in range(5):
        value = CENTER(network(rows), labels, modalities)
        optimizer.zero_grad()
        torch.autograd.backward(value)
        optimizer.step()
        seen.append(float(value.detach()))
    return seen


@their_warning
@pytest.mark.parametrize("mined", [{}, {"tuple_miner": miners.BatchHardMiner()}])
def test_their_trainer_takes_our_loss_with_modalities_from_its_getter(mined: dict[str, nn.Module]) -> None:
    batch, loss, network = make_training(torch.float64), modinv.GivenModalities(CENTER), make_network()

    def getter(drawn: list[Tensor]) -> tuple[Tensor, Tensor]:
        rows, labels, modalities = drawn
        loss.give(modalities)
        return rows, labels

    trainer = trainers.MetricLossOnly(
        **options(network, loss, TensorDataset(*batch), getter), mining_funcs=mined, dtype=torch.float64
    )
    torch.testing.assert_close(values_of(trainer), steps_by_hand(*batch), rtol=1e-9, atol=0)


@their_warning
def test_their_trainer_of_two_streams_takes_visible_and_infrared_rows() -> None:
    visible, labels, _ = make_batch((16,))
    infrared, loss, network = make_batch((16,), seed=1).features, modinv.GivenModalities(CENTER), make_network()
    labels = (labels + 5) // 11

    def getter(drawn: list[Tensor]) -> list[Tensor]:
        loss.give(modinv.modalities_from_blocks("vi", 2 * len(drawn[2])))
        return drawn

    rows = TensorDataset(visible, infrared, labels)
    trainer = trainers.TwoStreamMetricLoss(**options(network, loss, rows, getter), dtype=torch.float64)
    both = modinv.batch_from_streams((visible, labels), (infrared, labels))
    torch.testing.assert_close(values_of(trainer), steps_by_hand(*both), rtol=1e-9, atol=0)

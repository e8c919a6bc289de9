"""What a loss costs in calls, waits and memory: figures that are the same on every machine."""

from collections.abc import Callable
from contextlib import nullcontext
from typing import get_args

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

import modinv
import needs
from batches import make_batch
from losses.catalogue import ESTIMATED, EVERY_LOSS, GAUSSIANS, LOSSES
from modinv import Batch
from modinv.divergences import DivergenceName
from recording import record

# Calls of the backend with full covariance, forward and backward, at most. A bound may only become smaller.
CALLS: dict[DivergenceName, int] = {
    "moments": 59,
    "wasserstein": 90,
    "kl": 189,
    "jeffreys": 167,
    "bhattacharyya": 191,
    "jensen_shannon": 214,
}
SHRUNK_WASSERSTEIN = 162


def batch_of(identities: int = 8, counts: tuple[int, ...] = (32, 32), dimension: int = 256) -> Batch:
    return make_batch(counts, dimension=dimension, identities=identities, dtype=torch.float32)


@needs.counted_torch
@pytest.mark.parametrize("divergence", get_args(DivergenceName))
def test_backend_calls_stay_below_their_bound(divergence: DivergenceName) -> None:
    shrinkage = 0.0 if divergence in ("wasserstein", "moments") else 0.1
    loss = modinv.GaussianDistributionConsistencyLoss(divergence=divergence, shrinkage=shrinkage)
    assert len(record(loss, batch_of()).calls) <= CALLS[divergence]


@needs.counted_torch
def test_backend_calls_of_the_shrunk_wasserstein_distance_stay_below_their_bound() -> None:
    loss = modinv.GaussianDistributionConsistencyLoss(shrinkage=0.1)
    assert len(record(loss, batch_of()).calls) <= SHRUNK_WASSERSTEIN


# Calls of all other losses, likewise.
OTHER_CALLS = {
    "hetero-center triplet": 94,
    "intra-modality": 193,
    "batch-hard triplet intra": 88,
    "batch-hard triplet four-way": 98,
    "weighted regularized triplet squared": 96,
    "modality-shared enhancement cosine": 114,
    "cross-modality ranked list": 165,
    "hetero-center": 70,
    "hetero-center triplet soft cosine": 129,
    "hetero-center divergence": 99,
    "center-guided pair mining": 164,
    "coral within": 96,
    "maximum mean discrepancy identity unbiased": 123,
    "similarity preservation": 159,
    "sinkhorn identity": 161,
    "prediction jensen_shannon": 96,
    "info_nce center": 131,
    "weighted losses": 354,
    "weighted regularized triplet": 89,
    "batch-hard triplet": 86,
    "batch-hard triplet cross": 90,
    "weighted regularized triplet published": 125,
    "modality-shared enhancement": 84,
    "discriminative center": 140,
    "cross-modality ranked list unscaled": 129,
    "hetero-center cosine": 102,
    "hetero-center contrast": 107,
    "center cluster": 96,
    "quadruple-center triplet": 158,
    "maximum mean discrepancy": 105,
    "class-aware discrepancy": 126,
    "sinkhorn": 150,
    "prediction jeffreys": 79,
    "prediction row": 88,
    "info_nce row": 116,
}


@needs.counted_torch
@pytest.mark.parametrize("name", [name for name in LOSSES if name not in GAUSSIANS | ESTIMATED])
def test_backend_calls_of_the_other_losses_stay_below_their_bound(name: str) -> None:
    assert len(record(LOSSES[name], batch_of()).calls) <= OTHER_CALLS[name]


@pytest.mark.parametrize("loss", EVERY_LOSS)
def test_backend_calls_do_not_depend_on_the_number_of_identities(loss: nn.Module) -> None:
    assert record(loss, batch_of(identities=4)).calls == record(loss, batch_of(identities=64)).calls


@pytest.mark.parametrize("loss", EVERY_LOSS)
def test_backend_calls_do_not_depend_on_the_number_of_rows(loss: nn.Module) -> None:
    assert record(loss, batch_of(counts=(8, 12))).calls == record(loss, batch_of(counts=(64, 48))).calls


@pytest.mark.parametrize("loss", EVERY_LOSS)
def test_no_operation_makes_the_host_wait(loss: nn.Module) -> None:
    assert not record(loss, batch_of()).waits


@pytest.mark.parametrize("loss", EVERY_LOSS)
def test_no_solver_reports_back_on_a_device_that_is_not_the_host(
    loss: nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Meta tensors are not on the host either, and take the ways that an accelerator takes; only autocast lacks them.
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())
    batch = Batch(*(part.to("meta") for part in batch_of()))
    recorded = record(loss, batch)
    assert recorded.calls
    assert not recorded.solver_waits
    assert not recorded.waits


@needs.kept_fake_tensors
@pytest.mark.parametrize("loss", EVERY_LOSS)
def test_loss_runs_on_tensors_without_values(loss: nn.Module) -> None:
    with FakeTensorMode():
        features = torch.empty(64, 256, requires_grad=True)
        labels, modalities = torch.empty(64, dtype=torch.long), torch.empty(64, dtype=torch.long)
        (gradient,) = torch.autograd.grad(loss(features, labels, modalities), features)
    assert gradient.shape == (64, 256)


@pytest.mark.parametrize("counts", [(32, 32), (16, 16, 16)], ids=["two modalities", "three modalities"])
@pytest.mark.parametrize("loss", EVERY_LOSS)
def test_no_tensor_is_larger_than_the_features_for_each_modality(loss: nn.Module, counts: tuple[int, ...]) -> None:
    dimension, num_modalities = 600, len(counts)  # D^2 and N^2 D elements are more than three times what is allowed
    allowed = num_modalities * (sum(counts) + num_modalities) * dimension
    assert record(loss, batch_of(counts=counts, dimension=dimension)).largest <= allowed


def products(features: Tensor, _labels: Tensor, _modalities: Tensor) -> Tensor:
    return (features @ features.T).sum()


def test_recorder_counts_kernels_and_neither_views_nor_allocations() -> None:
    calls = record(products, batch_of()).calls
    assert calls == ["mm", "sum", "ones_like", "mm", "mm", "add"]


@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("_local_scalar_dense", lambda labels: labels.sum().item()),
        ("nonzero", lambda labels: labels.nonzero()),
        ("_unique2", lambda labels: labels.unique()),
        ("index", lambda labels: labels[labels > 0]),
        ("equal", lambda labels: torch.equal(labels, labels)),
        ("repeat_interleave", lambda labels: torch.repeat_interleave(labels.abs())),
    ],
)
def test_recorder_sees_what_waits(name: str, read: Callable[[Tensor], object]) -> None:
    def loss(features: Tensor, labels: Tensor, modalities: Tensor) -> Tensor:
        read(labels)
        return features.sum()

    assert name in record(loss, batch_of()).waits


def test_recorder_sees_solvers_that_report_back() -> None:
    def loss(features: Tensor, labels: Tensor, modalities: Tensor) -> Tensor:
        gram = features @ features.T + 1e3 * torch.eye(len(features))
        quiet, _ = torch.linalg.inv_ex(gram)
        checked, _ = torch.linalg.inv_ex(gram, check_errors=True)
        total: Tensor = torch.linalg.eigvalsh(gram).sum() + (torch.linalg.inv(gram) + quiet + checked).sum()
        return total

    assert record(loss, batch_of()).solver_waits == ["linalg_inv_ex", "_linalg_eigh", "_linalg_check_errors"]

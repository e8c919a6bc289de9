"""What a compiled loss launches, and that it computes what the eager one does: one compilation of each for both."""

import pytest
import torch
from torch import nn

import modinv
import needs
from batches import make_batch
from benchmarks.inputs import gaussian
from benchmarks.timing import forward_backward
from generated import Generated, generate
from losses.catalogue import ALGEBRA, ESTIMATED, GAUSSIANS, LOSSES
from modinv import Batch

pytestmark = [pytest.mark.slow, needs.compiled_loss]


# Kernels of a compiled loss, forward and backward, at most. A bound may only become smaller.
KERNELS = {
    "wasserstein": 24,
    "hetero-center triplet": 5,
    "intra-modality": 21,
    "batch-hard triplet intra": 5,
    "batch-hard triplet four-way": 9,
    "weighted regularized triplet squared": 5,
    "modality-shared enhancement cosine": 6,
    "cross-modality ranked list": 6,
    "hetero-center": 5,
    "hetero-center triplet soft cosine": 6,
    "hetero-center divergence": 15,
    "center-guided pair mining": 6,
    "coral within": 31,
    "maximum mean discrepancy identity unbiased": 15,
    "similarity preservation": 14,
    "sinkhorn identity": 15,
    "prediction jensen_shannon": 8,
    "info_nce center": 6,
    "weighted losses": 45,
    "moments": 20,
    "weighted regularized triplet": 5,
    "batch-hard triplet": 5,
    "batch-hard triplet cross": 5,
    "weighted regularized triplet published": 5,
    "modality-shared enhancement": 5,
    "discriminative center": 5,
    "cross-modality ranked list unscaled": 5,
    "hetero-center cosine": 6,
    "hetero-center contrast": 5,
    "center cluster": 5,
    "quadruple-center triplet": 5,
    "maximum mean discrepancy": 14,
    "class-aware discrepancy": 15,
    "sinkhorn": 8,
    "prediction jeffreys": 8,
    "prediction row": 14,
    "info_nce row": 6,
    "kl": 37,
    "jeffreys": 32,
    "bhattacharyya": 40,
    "jensen_shannon": 43,
}


# Every form of the catalogue; of the Gaussian loss, whose forms are a product, each divergence once.
COMPILED: dict[str, nn.Module] = {name: gaussian(name) for name in modinv.divergences.DIVERGENCES} | {
    name: loss for name, loss in LOSSES.items() if name not in GAUSSIANS | ESTIMATED
}
BATCH = make_batch((12, 9), dimension=24, identities=3, dtype=torch.float32)  # the size changes neither count
# The other forms of the Gaussian loss, and full covariance with more rows than features, which are other formulas.
FORMS = [(name, (9, 7)) for name in ALGEBRA if name in GAUSSIANS | ESTIMATED and "full modality" not in name]
FORMS += [(name, (14, 11)) for name in ALGEBRA if name in GAUSSIANS and "full" in name]


def assert_like_eager(found: Generated, loss: nn.Module, batch: Batch) -> None:
    expected = forward_backward(loss, batch)()
    torch.testing.assert_close(found.value, expected.value, rtol=1e-5, atol=1e-6)
    scale = float(expected.gradient.abs().max())
    assert scale > 0
    torch.testing.assert_close(found.gradient / scale, expected.gradient / scale, rtol=0, atol=2e-5)


@pytest.fixture(scope="module", params=COMPILED)
def compiled(request: pytest.FixtureRequest) -> tuple[str, Generated]:
    return request.param, generate(COMPILED[request.param], BATCH)


def test_compiled_loss_has_the_value_and_gradient_of_the_eager_one(compiled: tuple[str, Generated]) -> None:
    name, found = compiled
    assert_like_eager(found, COMPILED[name], BATCH)


@pytest.mark.parametrize(("name", "counts"), FORMS)
def test_compiled_gaussian_loss_has_the_value_and_gradient_of_the_eager_one(name: str, counts: tuple[int, int]) -> None:
    batch = make_batch(counts, dimension=16, dtype=torch.float32)
    assert_like_eager(generate(LOSSES[name], batch), LOSSES[name], batch)


@needs.counted_torch
def test_kernels_of_a_compiled_loss_stay_below_their_bound(compiled: tuple[str, Generated]) -> None:
    name, found = compiled
    assert found.kernels <= KERNELS[name]


def test_counter_counts_fused_loops_and_products_and_neither_views_nor_allocations() -> None:
    class Products(nn.Module):
        def forward(self, features: torch.Tensor, labels: torch.Tensor, modalities: torch.Tensor) -> torch.Tensor:
            return (features.T @ features).exp().sum().log()

    # Forward a product and a fused loop with the reduction; backward a fused loop, and a product for either factor.
    assert generate(Products(), BATCH).kernels == 5

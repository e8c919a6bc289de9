"""The similarity preservation loss against a plain loop, by its laws and against published code."""

from itertools import combinations

import pytest
import torch
from torch import Tensor

import oracles
from batches import make_batch
from modinv import Batch, SimilarityPreservationLoss
from published import Case, assert_reproduced, cases

from .center_checks import assert_like_the_loop, every_batch, mean


def plain_loop(features: Tensor, labels: Tensor, modalities: Tensor) -> Tensor:
    """For each pair of modalities, the tables of their shared identities' products, row by row at length one."""
    centers = oracles.centers(features, labels, modalities)
    pairs = []
    for a, b in combinations(modalities.unique().tolist(), 2):
        shared = [label for label in labels.unique().tolist() if (label, a) in centers and (label, b) in centers]
        gaps = []
        for p in shared:
            first, second = (torch.stack([centers[p, m] @ centers[q, m] for q in shared]) for m in (a, b))
            gaps.extend((first / first.norm() - second / second.norm()).square())
        if gaps:
            pairs.append(mean(gaps))
    return mean(pairs)


@every_batch
def test_value_and_gradient_are_those_of_the_plain_loop(batch: Batch) -> None:
    assert_like_the_loop(SimilarityPreservationLoss(), plain_loop, batch)


@pytest.mark.parametrize("case", cases("similarity_preservation"))
def test_published_value_and_gradient_are_reproduced(case: Case) -> None:
    assert_reproduced(SimilarityPreservationLoss(), case, rtol=1e-14)


def test_rotation_and_scale_of_one_modality_change_nothing() -> None:
    features, labels, modalities = make_batch(dimension=6)
    turn, _ = torch.linalg.qr(torch.randn(6, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64))
    turned = (7 * features @ turn).where((modalities == 1)[:, None], features)
    loss = SimilarityPreservationLoss()
    torch.testing.assert_close(loss(turned, labels, modalities), loss(features, labels, modalities))


def test_images_of_an_identity_that_only_one_modality_has_change_nothing() -> None:
    features, labels, modalities = make_batch()
    more = Batch(
        torch.cat([features, features[:2] + 5]),
        torch.cat([labels, labels.new_tensor([99, 98])]),
        torch.cat([modalities, modalities.new_tensor([0, 1])]),
    )
    loss = SimilarityPreservationLoss()
    torch.testing.assert_close(loss(*more), loss(features, labels, modalities))

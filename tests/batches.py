"""Batches for the tests: ordinary ones, and every degenerate one that training produces."""

import torch
from torch import Tensor

from modinv import Batch, batch_from_streams


def make_batch(
    counts: tuple[int, ...] = (9, 7),
    *,
    dimension: int = 24,
    identities: int = 4,
    seed: int = 0,
    gap: float = 1.0,
    dtype: torch.dtype = torch.float64,
) -> Batch:
    """Shuffled rows of correlated features; each modality has its own mean and scale, identities their own centers."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    mixing, centers = normal(dimension, dimension) / dimension**0.5, normal(identities, dimension)
    streams = []
    for number, count in enumerate(counts):
        labels = torch.randint(identities, (count,), generator=generator)
        rows = (centers[labels] + normal(count, dimension) @ mixing) * (1 + number / 2) + gap * number * normal(
            dimension
        )
        streams.append((rows, 11 * labels - 5))
    features, labels, modalities = batch_from_streams(*streams)
    order = torch.randperm(len(labels), generator=generator)
    return Batch(features[order].to(dtype), labels[order], modalities[order])


def _with_features(change: Tensor, base: Batch) -> Batch:
    return Batch(change, base.labels, base.modalities)


def degenerate_batches(dtype: torch.dtype) -> dict[str, Batch]:
    """Batches that are ordinary in training and that a loss must survive, by what is special about them."""
    base = make_batch(dtype=dtype)
    features, labels, modalities = base
    infrared = (modalities == 1)[:, None]
    twin = torch.cat([features, features])
    return {
        "identical modalities": Batch(twin, labels.repeat(2), torch.arange(2).repeat_interleave(len(labels))),
        "constant rows": _with_features(torch.ones_like(features), base),
        "zero rows": _with_features(torch.zeros_like(features), base),
        "one modality collapsed": _with_features(features.where(~infrared, 3), base),
        "one row in a cell": Batch(features[:3], torch.tensor([0, 0, 1]), torch.tensor([0, 1, 1])),
        "one row in a modality": make_batch((8, 1), dtype=dtype),
        "one image per identity": Batch(features[:8], torch.arange(4).repeat(2), torch.arange(8) // 4),
        "duplicate rows": Batch(features.repeat(2, 1), labels.repeat(2), modalities.repeat(2)),
        "rank one": _with_features(features[:, :1] * features[0], base),
        "tiny scale": _with_features(features * 1e-6, base),
        "large scale": _with_features(features * 1e4, base),
        "common offset": _with_features(features + 1e4, base),
        "one modality only": Batch(features, labels, torch.zeros_like(modalities)),
        "second modality only": Batch(features, labels, torch.ones_like(modalities)),
        "one identity": Batch(features, torch.zeros_like(labels), modalities),
        "identities that do not meet": Batch(features, 2 * labels + modalities, modalities),
        "two rows": Batch(features[:2], torch.tensor([0, 1]), torch.tensor([0, 1])),
        "one row": Batch(features[:1], labels[:1], modalities[:1]),
        "no row": Batch(features[:0], labels[:0], modalities[:0]),
        "more rows than features": make_batch((20, 17), dimension=5, dtype=dtype),
        "one feature": make_batch(dimension=1, dtype=dtype),
        "rank below rows, more rows than features": _with_features(features[:, :2].repeat(1, 4), base),
    }

"""What all diagnostics promise: degenerate batches have numbers, bad ones are seen, nothing needs a gradient."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from batches import degenerate_batches, make_batch
from modinv import Batch, _checks
from modinv.diagnostics import (
    StreamingDiagnostics,
    alignment,
    distance_histograms,
    effective_rank,
    identity_distances,
    modality_accuracy,
    modality_gap,
    uniformity,
)

DEGENERATE = degenerate_batches(torch.float64)
OF_MODALITIES: dict[str, Callable[[Tensor, Tensor], Any]] = {
    "gap": modality_gap,
    "accuracy": modality_accuracy,
    "linear accuracy": lambda features, modalities: modality_accuracy(features, modalities, classifier="linear"),
    "effective rank": effective_rank,
}


def reported(batch: Batch) -> str:
    diagnostics = StreamingDiagnostics(batch.features.shape[1], num_modalities=2)
    diagnostics.update(*batch)
    return str(diagnostics.compute())


OF_DISTANCES: dict[str, Callable[[Batch], object]] = {
    "histograms": lambda batch: distance_histograms(*batch),
    "identities": lambda batch: identity_distances(*batch),
    "alignment": lambda batch: alignment(*batch),
    "uniformity": lambda batch: uniformity(batch.features),
    "streaming": reported,
}


@pytest.mark.parametrize("name", DEGENERATE)
def test_degenerate_batch_has_numbers(name: str) -> None:
    batch = features, labels, modalities = DEGENERATE[name]
    gap = modality_gap(features, modalities)
    assert not any(value.isnan() for value in gap)
    assert all(value.isfinite() for value in gap[1:])
    assert 0 <= float(modality_accuracy(features, modalities)) <= 1
    assert 0 <= float(modality_accuracy(features, modalities, classifier="linear")) <= 1
    ranks = effective_rank(features, modalities)
    assert bool(((ranks == 0) | (ranks >= 1 - 1e-9)).all())
    assert bool((ranks <= features.shape[1] + 1e-9).all())
    histograms = distance_histograms(features, labels, modalities)
    assert sum(int(counts.sum()) for counts in histograms[1:]) == len(features) * (len(features) - 1) // 2
    _, within, cross = identity_distances(features, labels, modalities)
    assert not any(bool(((values < 0) | (values > 2 + 1e-12)).any()) for values in (within, cross))
    assert alignment(features, labels, modalities).isnan() == cross.isnan().all()
    assert uniformity(features).isnan() == (len(features) < 2)
    assert "rows of each modality" in reported(batch)


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("count", [8, 1])
def test_feature_that_is_not_finite_is_seen(value: float, count: int) -> None:
    batch = features, _, modalities = make_batch((9, count))
    features[3, 2] = value
    for measure in OF_MODALITIES.values():
        measured = measure(features, modalities)
        assert all(part.isnan().all() for part in (measured if isinstance(measured, tuple) else [measured]))
    for refusing in OF_DISTANCES.values():
        with pytest.raises(ValueError, match="features must be finite"):
            refusing(batch)


def test_unknown_modality_is_seen_where_the_host_cannot_read_it(monkeypatch: pytest.MonkeyPatch) -> None:
    features, labels, modalities = make_batch()
    monkeypatch.setattr(_checks, "host_values", lambda tensor: None)
    assert not modality_gap(features, modalities).relative.isnan()
    for modality in (2, -1):
        unknown = modalities.clone().index_fill_(0, torch.tensor([3]), modality)
        assert all(value.isnan() for value in modality_gap(features, unknown))
        assert modality_accuracy(features, unknown).isnan()
        assert modality_accuracy(features, unknown, classifier="linear").isnan()
        assert effective_rank(features, unknown).isnan().all()
        with pytest.raises(ValueError, match="modalities must be numbers from 0 to 1, got another"):
            reported(Batch(features, labels, unknown))
    assert not modality_gap(features, 2 * modalities, num_modalities=3).relative.isnan()


@pytest.mark.parametrize("measure", OF_MODALITIES.values(), ids=OF_MODALITIES)
def test_malformed_input_is_named(measure: Callable[..., object]) -> None:
    features, _, modalities = make_batch()
    with pytest.raises(ValueError, match=r"modalities must have shape \(16,\)"):
        measure(features, modalities[:5])
    with pytest.raises(TypeError, match="modalities must be an integer tensor"):
        measure(features, modalities.float())
    with pytest.raises(TypeError, match="features must be a floating tensor"):
        measure(features.long(), modalities)
    with pytest.raises(TypeError, match="features must be a floating tensor"):
        measure(features.tolist(), modalities)


@pytest.mark.parametrize("measure", [modality_gap, modality_accuracy, effective_rank])
def test_modality_beyond_the_given_number_is_named(measure: Callable[..., object]) -> None:
    features, _, modalities = make_batch()
    with pytest.raises(ValueError, match="modalities must be numbers from 0 to 1"):
        measure(features, modalities + 1, num_modalities=2)


def test_no_measure_keeps_a_gradient() -> None:
    features, labels, modalities = make_batch()
    features.requires_grad_()
    measured = [
        modality_gap(features, modalities).relative,
        modality_accuracy(features, modalities, classifier="linear"),
        effective_rank(features, modalities),
        identity_distances(features, labels, modalities).cross,
        alignment(features, labels, modalities),
        uniformity(features),
    ]
    assert not any(value.requires_grad for value in measured)

"""Tests of the BNNeck, against its formula."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from modinv.modules import BNNeck, ModalityInvariantHead


def make_features(rows: int = 8, columns: int = 6) -> Tensor:
    return torch.randn(rows, columns, generator=torch.Generator().manual_seed(rows), dtype=torch.float64) * 2 + 3


def test_neck_normalises_each_feature_over_the_rows() -> None:
    neck, rows = BNNeck(6, eps=1e-3).double(), make_features()
    with torch.no_grad():
        neck.weight.copy_(torch.arange(6))
    centered = rows - rows.mean(0)
    expected = torch.arange(6) * centered / (centered.square().mean(0) + 1e-3).sqrt()
    torch.testing.assert_close(neck(rows), expected, rtol=1e-12, atol=1e-12)


def test_gradient_passes_gradcheck() -> None:
    assert torch.autograd.gradcheck(BNNeck(3).double(), (make_features(5, 3).requires_grad_(),))


def test_shift_does_not_learn_and_scale_does() -> None:
    neck = BNNeck(6).double()
    optimizer = torch.optim.AdamW(neck.parameters(), lr=1.0)
    torch.autograd.backward(neck(make_features()).exp().sum())
    optimizer.step()
    assert not neck.bias.any()
    assert (neck.weight != 1).all()


def test_shift_of_a_loaded_neck_is_kept_as_it_is() -> None:
    published = nn.BatchNorm1d(6).double()
    nn.init.normal_(published.bias)
    neck = BNNeck(6).double()
    neck.load_state_dict(published.state_dict())
    torch.testing.assert_close(neck(make_features()), published(make_features()), rtol=0, atol=0)


def test_one_row_in_training_uses_the_running_statistics_and_leaves_them() -> None:
    neck = BNNeck(6).double()
    neck(make_features())
    before = {name: value.clone() for name, value in neck.state_dict().items()}
    row = make_features(1).requires_grad_()
    embedding = neck(row)
    torch.testing.assert_close(embedding, (row - before["running_mean"]) / (before["running_var"] + 1e-5).sqrt())
    (gradient,) = torch.autograd.grad(embedding.sum(), row)
    assert gradient.isfinite().all()
    assert all(torch.equal(value, before[name]) for name, value in neck.state_dict().items())


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("rows", [1, 8])
def test_half_precision_comes_back_in_the_type_of_the_parameters(kind: torch.dtype, rows: int) -> None:
    features = make_features(rows).to(kind)
    embedding = BNNeck(6)(features)
    assert embedding.dtype == torch.float32
    torch.testing.assert_close(embedding, BNNeck(6)(features.float()), rtol=0, atol=0)


def test_head_takes_one_row_in_training() -> None:
    assert ModalityInvariantHead(6, 3).double()(make_features(1)).logits.isfinite().all()


def test_momentum_is_the_weight_of_the_batch() -> None:
    rows = make_features()
    for momentum in (0.0, 0.25):
        neck = BNNeck(6, momentum=momentum).double()
        neck(rows)
        torch.testing.assert_close(neck.running_mean, momentum * rows.mean(0))


def test_checkpoints_of_the_head_from_before_the_neck_was_a_module_load() -> None:
    """Their names and shapes, written down: a rename would lose trained necks."""
    head = ModalityInvariantHead(6, 3, embedding_features=4)
    assert {name: tuple(value.shape) for name, value in head.state_dict().items()} == {
        "embedding.weight": (4, 6),
        "neck.weight": (4,),
        "neck.bias": (4,),
        "neck.running_mean": (4,),
        "neck.running_var": (4,),
        "neck.num_batches_tracked": (),
        "classifier.weight": (3, 4),
    }


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"num_features": 0}, ValueError, "num_features must be at least 1, got 0"),
        ({"eps": 0.0}, ValueError, "eps must be .*got 0"),
        ({"momentum": 2.0}, ValueError, r"momentum must be .*\[0, 1\], got 2"),
        ({"momentum": None}, TypeError, "momentum must be .*got None"),
    ],
)
def test_wrong_option_is_refused(options: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        BNNeck(**{"num_features": 6, **options})


def test_maps_are_refused() -> None:
    with pytest.raises(ValueError, match=r"features must have the shape \(N, D\).*got \(2, 6, 4, 4\)"):
        BNNeck(6)(torch.ones(2, 6, 4, 4))

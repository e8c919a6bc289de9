"""Tests of the shared head, against its three layers written out."""

import pytest
import torch
from torch import Tensor, nn

from modinv.modules import ModalityInvariantHead


def make_features(rows: int, columns: int) -> Tensor:
    generator = torch.Generator().manual_seed(rows + columns)
    return torch.randn(rows, columns, generator=generator, dtype=torch.float64) * 2 + 3


@pytest.mark.parametrize("embedding_features", [None, 4])
def test_the_head_is_embedding_then_neck_then_classifier(embedding_features: int | None) -> None:
    head = ModalityInvariantHead(6, 3, embedding_features=embedding_features).double()
    state = {name: value.clone() for name, value in head.state_dict().items()}
    inputs = make_features(8, 6)
    features, embedding, logits = head(inputs)
    expected = inputs if embedding_features is None else inputs @ state["embedding.weight"].T
    torch.testing.assert_close(features, expected, rtol=1e-12, atol=1e-12)
    centered = features - features.mean(0)
    normalized = centered / (centered.square().mean(0) + 1e-5).sqrt()
    torch.testing.assert_close(embedding, normalized, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(logits, normalized @ state["classifier.weight"].T, rtol=1e-12, atol=1e-12)


def test_gradients_pass_gradcheck() -> None:
    head = ModalityInvariantHead(3, 2, embedding_features=2).double()
    assert torch.autograd.gradcheck(lambda rows: tuple(head(rows)), (make_features(5, 3).requires_grad_(),))


def test_the_shift_of_the_neck_is_never_learned() -> None:
    head = ModalityInvariantHead(6, 3)
    trainable = {name for name, parameter in head.named_parameters() if parameter.requires_grad}
    assert trainable == {"neck.weight", "classifier.weight"}
    optimizer = torch.optim.SGD(head.parameters(), lr=1.0)
    output = head(make_features(8, 6).float())
    torch.autograd.backward(output.logits.exp().sum() + output.embedding.pow(3).sum())
    optimizer.step()
    assert torch.equal(head.neck.bias, torch.zeros(6))


def test_conversion_to_synchronised_layers_keeps_the_shift_of_the_neck_frozen() -> None:
    head = nn.SyncBatchNorm.convert_sync_batchnorm(ModalityInvariantHead(6, 3))
    assert isinstance(head.neck, nn.SyncBatchNorm)
    assert not head.neck.bias.requires_grad


def test_the_classifier_starts_near_zero() -> None:
    torch.manual_seed(0)
    weight = ModalityInvariantHead(200, 100).classifier.weight.detach()
    assert abs(float(weight.std()) - 0.001) < 2e-5
    assert abs(float(weight.mean())) < 3e-5


def test_modalities_are_not_read() -> None:
    head = ModalityInvariantHead(6, 3).double()
    inputs = make_features(4, 6)
    for modalities in (torch.tensor([0, 0, 0, 0]), torch.tensor([0, 1, 1, 0])):
        for found, expected in zip(head(inputs, modalities), head(inputs), strict=True):
            assert torch.equal(found, expected)


def test_row_order_does_not_matter() -> None:
    head = ModalityInvariantHead(6, 3, embedding_features=4).double()
    inputs, order = make_features(5, 6), torch.tensor([3, 1, 4, 0, 2])
    for found, expected in zip(head(inputs[order]), head(inputs), strict=True):
        torch.testing.assert_close(found, expected[order], rtol=1e-12, atol=1e-12)


def test_one_row_in_evaluation_equals_its_row_of_the_batch() -> None:
    head = ModalityInvariantHead(6, 3).double()
    inputs = make_features(5, 6)
    head(inputs)
    head.eval()
    for found, expected in zip(head(inputs[2:3]), head(inputs), strict=True):
        torch.testing.assert_close(found, expected[2:3], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("embedding_features", [None, 4])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_input_equals_the_same_input_in_float32(
    dtype: torch.dtype, embedding_features: int | None
) -> None:
    head = ModalityInvariantHead(6, 3, embedding_features=embedding_features)
    inputs = make_features(8, 6).to(dtype).requires_grad_()
    output, expected = head(inputs), head(inputs.detach().float())
    torch.testing.assert_close(output.logits, expected.logits, rtol=0, atol=0)
    torch.testing.assert_close(output.embedding, expected.embedding, rtol=0, atol=0)
    torch.autograd.backward(output.embedding.pow(3).sum())
    assert inputs.grad is not None
    assert inputs.grad.dtype == dtype
    assert inputs.grad.isfinite().all()


def test_autocast_stays_close_to_float32() -> None:
    head = ModalityInvariantHead(6, 3, embedding_features=4)
    inputs = make_features(8, 6).float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = head(inputs)
    torch.testing.assert_close(mixed.embedding.float(), head(inputs).embedding, rtol=0, atol=0.05)


@pytest.mark.slow
def test_compiled_gives_the_same_values_and_gradients() -> None:
    head = ModalityInvariantHead(6, 3, embedding_features=4).double()
    compiled = torch.compile(head, fullgraph=True, backend="aot_eager")
    plain, traced = make_features(8, 6).requires_grad_(), make_features(8, 6).requires_grad_()
    torch.autograd.backward(sum(part.pow(3).sum() for part in head(plain)))
    torch.autograd.backward(sum(part.pow(3).sum() for part in compiled(traced)))
    torch.testing.assert_close(traced.grad, plain.grad, rtol=1e-12, atol=1e-12)


def test_a_checkpoint_restores_the_head() -> None:
    head, other = ModalityInvariantHead(6, 3), ModalityInvariantHead(6, 3)
    inputs = make_features(8, 6).float()
    head(inputs)
    other.load_state_dict(head.state_dict())
    assert torch.equal(other.eval()(inputs).logits, head.eval()(inputs).logits)


def test_repr_shows_the_options() -> None:
    shown = repr(ModalityInvariantHead(6, 3, embedding_features=4))
    assert "ModalityInvariantHead(\n  6, num_classes=3, embedding_features=4\n" in shown


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((0, 3, None), ValueError, "in_features must be at least 1, got 0"),
        ((6, 0, None), ValueError, "num_classes must be at least 1, got 0"),
        ((6, 3, -1), ValueError, "embedding_features must be at least 1, got -1"),
        ((6, "3", None), TypeError, "num_classes must be .*got '3'"),
    ],
)
def test_a_wrong_option_is_refused(arguments: tuple[int, int, int], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        ModalityInvariantHead(*arguments[:2], embedding_features=arguments[2])


@pytest.mark.parametrize(
    ("inputs", "error", "message"),
    [
        (torch.ones(2, 6, 4, 4), ValueError, r"features must have the shape \(N, D\).*got \(2, 6, 4, 4\)"),
        (torch.ones(2, 5), ValueError, "features must have 6 features per row.*got 5"),
        (torch.ones(2, 6, dtype=torch.int32), TypeError, "features must be a floating tensor .*got torch.int32"),
        ([[1.0]], TypeError, "features must be a floating tensor .*got list"),
    ],
)
def test_malformed_features_are_refused(inputs: Tensor, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        ModalityInvariantHead(6, 3)(inputs)

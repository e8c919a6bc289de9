"""Weighted sums of losses."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import torch as safetensors_torch
from torch import Tensor, nn
from torch.nn import functional

import modinv
import needs
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


class ProxyLoss(nn.Module):
    """The loss from elsewhere of docs/index.md: float32 parameters meet the features that came."""

    def __init__(self) -> None:
        super().__init__()
        self.proxies = nn.Parameter(torch.randn(10, 24, generator=torch.Generator().manual_seed(0)))

    def forward(self, features: Tensor, labels: Tensor, modalities: Tensor) -> Tensor:
        similarities = functional.normalize(features) @ functional.normalize(self.proxies).T
        return functional.cross_entropy(16 * similarities, labels % 10)


def nested(loss: Any) -> modinv.WeightedLosses:
    return modinv.WeightedLosses({"inner": (1.0, modinv.WeightedLosses({"foreign": (1.0, loss)}))})


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("around", [lambda loss: modinv.WeightedLosses({"foreign": (1.0, loss)}), nested])
def test_foreign_loss_under_autocast_gets_what_it_gets_alone(kind: torch.dtype, around: Any) -> None:
    foreign, batch = ProxyLoss(), make_batch(dtype=kind)
    gradients, values = [], []
    for loss in (foreign, around(foreign)):
        features = batch.features.clone().requires_grad_()
        with torch.autocast("cpu", kind):
            values.append(loss(features, *batch[1:]).float())
        gradients.append(torch.autograd.grad(values[-1], (features, foreign.proxies)))
    assert torch.equal(*values)
    for alone, together in zip(*gradients, strict=True):
        assert torch.equal(alone, together)


def test_own_losses_beside_a_foreign_one_are_not_touched_by_autocast() -> None:
    losses = modinv.WeightedLosses({"foreign": (1.0, ProxyLoss()), "center": (1.0, modinv.HeteroCenterTripletLoss())})
    batch = make_batch(dtype=torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        center = losses.terms(*batch).center
    assert torch.equal(center, modinv.HeteroCenterTripletLoss()(*batch))


def test_function_is_a_loss_too() -> None:
    batch = make_batch()
    losses = modinv.WeightedLosses({"mean": (2.0, lambda features, labels, modalities: features.mean())})
    torch.testing.assert_close(losses(*batch), 2 * batch.features.mean())
    assert "lambda" in repr(losses)


def test_hooks_run_on_a_foreign_loss_and_not_on_one_that_reads_statistics() -> None:
    losses = modinv.WeightedLosses({"foreign": (1.0, FirstFeature()), "own": (1.0, modinv.IntraModalityLoss())})
    called: list[nn.Module] = []
    for loss in losses.losses.values():
        loss.register_forward_hook(lambda module, _inputs, _output: called.append(module))
    losses(*make_batch())
    assert called == [losses.losses["foreign"]]


def test_sum_inside_a_sum_shares_the_statistics_and_counts_with_its_weight() -> None:
    batch = make_batch()
    outer = modinv.WeightedLosses({"inner": (3.0, build()), "center": (1.0, modinv.HeteroCenterTripletLoss())})
    expected = 3 * build()(*batch) + modinv.HeteroCenterTripletLoss()(*batch)
    torch.testing.assert_close(outer(*batch), expected, rtol=1e-13, atol=0)


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_sum_inside_a_sum_is_asked_for_its_modalities(depth: int) -> None:
    loss: modinv.losses.Loss = modinv.HeteroCenterTripletLoss(num_modalities=3)
    for _ in range(depth):
        loss = modinv.WeightedLosses({"inner": (1.0, loss)})
    assert loss.num_modalities == 3
    features, labels, modalities = make_batch((4, 4, 4))
    assert torch.func.grad(lambda rows: loss(rows, labels, modalities))(features).isfinite().all()


def test_number_of_modalities_of_the_sum_cannot_be_below_that_of_a_loss() -> None:
    loss = modinv.WeightedLosses({"three": (1.0, modinv.HeteroCenterTripletLoss(num_modalities=3))}, num_modalities=2)
    assert loss.num_modalities == 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"centre": 1.0}, "weights must have the names 'gaussian', 'center', got 'gaussian', 'center', 'centre'"),
        ({"center": float("nan")}, "the weight of 'center' must be a finite number"),
        ({"center": "1"}, "the weight of 'center' must be a number"),
        ({"center": torch.ones(2)}, "the weight of 'center' must be a number"),
        ({"center": torch.ones((), requires_grad=True)}, "the weight of 'center' must be a number"),
    ],
)
def test_misspelt_weight_or_one_that_is_no_number_is_refused_at_the_next_call(
    change: dict[str, Any], message: str
) -> None:
    losses = build()
    losses.weights.update(change)
    with pytest.raises((TypeError, ValueError), match=message):
        losses(*make_batch())


def test_forgotten_weight_is_refused_at_the_next_call() -> None:
    losses = build()
    losses.weights = {"center": 1.0}
    with pytest.raises(ValueError, match="weights must have the names 'gaussian', 'center', got 'center'"):
        losses(*make_batch())


@pytest.mark.parametrize("weight", [np.float32(0.5), np.int64(2), torch.tensor(0.5), np.array(0.25)])
def test_weight_may_be_a_scalar_of_numpy_or_torch(weight: Any) -> None:
    losses, batch = build(), make_batch()
    losses.weights["gaussian"] = weight
    torch.testing.assert_close(losses(*batch), build(gaussian=float(weight))(*batch))


@pytest.mark.parametrize(
    "returned",
    [1.0, None, {"loss": torch.ones(())}, torch.ones(3), torch.ones(1), (torch.ones(()), 5), torch.tensor(1)],
)
def test_loss_that_returns_no_scalar_is_refused_by_its_name(returned: object) -> None:
    losses = modinv.WeightedLosses({"mine": (1.0, lambda *_: returned)})  # type: ignore[dict-item]
    with pytest.raises(TypeError, match=r"the loss 'mine' must return a floating tensor of shape \(\), got"):
        losses(*make_batch())


@pytest.mark.parametrize(
    "name", ["type", "class", "keys", "training", "to", "forward", "_own", "lambda", "two words", 3]
)
def test_name_that_a_module_or_a_tuple_cannot_have_is_refused(name: Any) -> None:
    with pytest.raises(ValueError, match="the name of a loss must"):
        modinv.WeightedLosses({name: (1.0, nn.Identity())})


@pytest.mark.parametrize("count", [0, -1, 2.5, "2", True])
def test_impossible_number_of_modalities_is_refused(count: Any) -> None:
    with pytest.raises((TypeError, ValueError), match="num_modalities must be"):
        modinv.WeightedLosses({"a": (1.0, nn.Identity())}, num_modalities=count)


@pytest.mark.parametrize(
    ("losses", "error", "message"),
    [
        ({}, ValueError, "at least one"),
        ({"total": (1.0, nn.Identity())}, ValueError, "'total'"),
        ({"a b": (1.0, nn.Identity())}, ValueError, "'a b'"),
        ({"a": nn.Identity()}, TypeError, r"'a' must be \(weight, loss\), got Identity"),
        ({"a": (nn.Identity(), 1.0)}, TypeError, r"'a' must be \(weight, loss\), got the loss first"),
        ({"a": (1.0, 2.0)}, TypeError, "the loss of 'a' must be a module or a function, got 2.0"),
        ({"a": (1.0, nn.Identity)}, TypeError, "the loss of 'a' must be .*, got the class Identity"),
        ([(1.0, nn.Identity())], TypeError, r"losses must be a mapping of name to \(weight, loss\), got list"),
        ({"a": (float("nan"), nn.Identity())}, ValueError, "the weight of 'a' must be a finite number"),
    ],
)
def test_malformed_sum_is_refused(losses: dict[str, object], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        modinv.WeightedLosses(losses)  # type: ignore[arg-type]


@needs.compiled_loss
def test_sum_with_a_number_of_modalities_and_a_changing_weight_compiles_without_a_break() -> None:
    losses = modinv.WeightedLosses(
        {"foreign": (1.0, FirstFeature()), "center": (1.0, modinv.HeteroCenterTripletLoss(num_modalities=3))}
    )
    batch = make_batch((4, 4, 4))
    torch.compiler.reset()
    compiled = torch.compile(losses, fullgraph=True, backend="eager")
    for weight in (1.0, 0.5, 0.25):
        losses.weights["center"] = weight
        torch.testing.assert_close(compiled(*batch), losses(*batch), rtol=1e-12, atol=0)


def test_weights_are_in_the_checkpoint_and_come_back() -> None:
    saved, other = build(gaussian=0.25).state_dict(), build(gaussian=9.0)
    other.load_state_dict(saved)
    assert other.weights == {"gaussian": 0.25, "center": 2.0}


def test_weights_of_the_checkpoint_belong_to_names_and_not_to_places() -> None:
    loss = modinv.HeteroCenterTripletLoss()
    saved = modinv.WeightedLosses({"first": (1.0, loss), "second": (2.0, loss)}).state_dict()
    other = modinv.WeightedLosses({"second": (7.0, loss), "new": (8.0, loss), "first": (9.0, loss)})
    other.load_state_dict(saved)
    assert other.weights == {"second": 2.0, "new": 8.0, "first": 1.0}


def test_checkpoint_without_weights_loads_strictly_and_leaves_them_alone() -> None:
    losses = nested(ProxyLoss())
    old = {name: value for name, value in losses.state_dict().items() if not name.endswith("_extra_state")}
    assert list(old) == ["losses.inner.losses.foreign.proxies"]
    losses.weights["inner"] = 3.0
    losses.load_state_dict(old)
    assert losses.weights == {"inner": 3.0}
    with pytest.raises(RuntimeError, match="Missing key"):
        losses.load_state_dict({})


def test_weights_go_through_a_file_of_tensors_alone(tmp_path: Path) -> None:
    losses, other = build(gaussian=0.1), build()
    module = nn.ModuleDict({"loss": losses})
    torch.save(module.state_dict(), tmp_path / "a.pt")
    safetensors_torch.save_file(module.state_dict(), tmp_path / "a.safetensors")
    for saved in (
        torch.load(tmp_path / "a.pt", weights_only=True),
        safetensors_torch.load_file(tmp_path / "a.safetensors"),
    ):
        other.weights["gaussian"] = 5.0
        nn.ModuleDict({"loss": other}).load_state_dict(saved)
        assert other.weights["gaussian"] == 0.1

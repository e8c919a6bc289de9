"""``torch.optim.swa_utils.AveragedModel`` averages the modules of this library: nothing of our own is needed."""

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

import modinv

MODALITIES = torch.arange(8) % 2


class Network(nn.Module):
    """The modules with parameters, buffers and a frozen parameter, one behind the other."""

    def __init__(self) -> None:
        super().__init__()
        self.enhance = modinv.IntraModalityEnhancer(6)
        self.head = modinv.ModalityInvariantHead(6, 3)

    def forward(self, features: Tensor, modalities: Tensor) -> Tensor:
        logits: Tensor = self.head(self.enhance(features, modalities).features).logits
        return logits


def train(network: Network, after_each: Callable[[int], None], steps: int = 4) -> None:
    """Train, and call something after each step."""
    generator, optimizer = torch.Generator().manual_seed(0), torch.optim.SGD(network.parameters(), lr=0.1)
    for step in range(steps):
        optimizer.zero_grad()
        torch.autograd.backward(network(torch.randn(8, 6, generator=generator), MODALITIES).pow(2).sum())
        optimizer.step()
        after_each(step)


def floats(module: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in module.state_dict().items() if value.is_floating_point()}


@pytest.mark.parametrize("buffers", [False, True])
def test_average_is_that_of_the_formula_over_parameters_and_if_asked_over_buffers(buffers: bool) -> None:
    torch.manual_seed(0)
    network = Network()
    average = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(0.75), use_buffers=buffers)
    parameters, states = {name for name, _ in network.named_parameters()}, []

    def update(step: int) -> None:
        states.append(floats(network))
        average.update_parameters(network)

    train(network, update)
    expected = states[0]
    for state in states[1:]:
        for name, value in state.items():
            averaged = buffers or name in parameters
            expected[name] = 0.75 * expected[name] + 0.25 * value if averaged else value
    torch.testing.assert_close(floats(average.module), expected)


def test_rate_of_mpanet_can_change_from_epoch_to_epoch() -> None:
    torch.manual_seed(0)
    network, rates, weights = Network(), [0.2 * min(100 / (epoch + 1), 1) for epoch in (0, 99, 150, 300)], []
    rate = [0.0]
    average = AveragedModel(network, avg_fn=lambda old, new, _: torch.lerp(old, new, rate[0]))

    def update(step: int) -> None:
        rate[0] = rates[step]
        weights.append(network.head.classifier.weight.detach().clone())
        average.update_parameters(network)

    train(network, update)
    expected = weights[0]
    for step, weight in enumerate(weights[1:], start=1):
        expected = (1 - rates[step]) * expected + rates[step] * weight
    torch.testing.assert_close(average.state_dict()["module.head.classifier.weight"], expected)


def test_average_is_not_moved_by_a_call_and_resumes_from_its_state() -> None:
    torch.manual_seed(0)
    network = Network()
    average = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(0.5)).eval().requires_grad_(False)
    train(network, lambda step: average.update_parameters(network))
    before = floats(average)
    features = torch.randn(8, 6, requires_grad=True)
    torch.autograd.backward(average(features, MODALITIES).sum())
    assert features.grad is not None  # through the average, which has no gradient itself
    assert all(torch.equal(value, before[name]) for name, value in floats(average).items())
    resumed = AveragedModel(Network(), multi_avg_fn=get_ema_multi_avg_fn(0.5))
    resumed.load_state_dict(average.state_dict())
    others = (resumed, copy.deepcopy(average))
    for each in (average, *others):
        each.update_parameters(network)
    for other in others:
        torch.testing.assert_close(floats(other), floats(average), rtol=0, atol=0)

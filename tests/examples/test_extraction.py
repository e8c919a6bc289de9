"""Tests of reid.network.extraction: the features of images, whatever the batch and the mode."""

import pytest
import torch

import modinv
from examples.tiny_training import assert_same, tiny_data
from reid.network.extraction import extract_embeddings
from reid.network.model import TwoStreamNetwork


def test_embeddings_do_not_depend_on_the_batch_size() -> None:
    data, network = tiny_data(), TwoStreamNetwork(5)
    parts = [extract_embeddings(network, data.images, data.modalities, batch_size=size) for size in (7, 50)]
    assert parts[0].shape == (50, 384)
    torch.testing.assert_close(*parts, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("training", [True, False])
def test_extraction_changes_neither_the_mode_nor_the_statistics_of_the_network(training: bool) -> None:
    data, network = tiny_data(), TwoStreamNetwork(5).train(training)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    embeddings = extract_embeddings(network, data.images, data.modalities)
    assert network.training is training
    assert not embeddings.requires_grad
    assert_same(network.state_dict(), before)


def test_extraction_sends_each_row_through_its_modality() -> None:
    data, network = tiny_data(), TwoStreamNetwork(5)
    swapped = modinv.INFRARED - data.modalities
    embeddings = extract_embeddings(network, data.images, data.modalities)
    assert not torch.allclose(embeddings, extract_embeddings(network, data.images, swapped), rtol=1e-2)


def test_extraction_takes_the_type_of_the_network() -> None:
    data, network = tiny_data(), TwoStreamNetwork(5).double()
    assert extract_embeddings(network, data.images, data.modalities).dtype == torch.float64


def test_flip_gives_the_mean_over_the_image_and_its_mirror_image() -> None:
    data, network = tiny_data(), TwoStreamNetwork(5)
    one, other = (
        extract_embeddings(network, images, data.modalities) for images in (data.images, data.images.flip(-1))
    )
    averaged = extract_embeddings(network, data.images, data.modalities, flip=True)
    torch.testing.assert_close(averaged, (one + other) / 2)
    assert not torch.allclose(averaged, one, rtol=1e-2)

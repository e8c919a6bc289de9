"""Tests of reid.network.flip: features worked out by hand."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from reid.data.transforms import normalize
from reid.network.extraction import extract_embeddings
from reid.network.flip import FlipAveraged


class Given(NamedTuple):
    embedding: Tensor


class FirstColumn(nn.Module):
    """Embeds an image as its first column, plus its modality."""

    def __init__(self) -> None:
        super().__init__()
        self.shift = nn.Parameter(torch.zeros(1))
        self.dropout = nn.Dropout(0.5)

    def forward(self, images: Tensor, modalities: Tensor) -> Given:
        return Given(self.dropout(images[:, 0, :, 0] + modalities[:, None] + self.shift))


def test_embedding_is_the_mean_over_the_image_and_its_mirror_image() -> None:
    images = torch.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5).float()
    averaged = FlipAveraged(FirstColumn().eval())(images, torch.tensor([0, 10])).embedding
    # First and last column are 4 apart.
    assert torch.equal(averaged, images[:, 0, :, 0] + 2 + torch.tensor([[0.0], [10.0]]))


def test_features_are_extracted_with_it_as_without() -> None:
    images, modalities = torch.arange(120, dtype=torch.uint8).reshape(2, 3, 4, 5), torch.tensor([0, 1])
    network = FirstColumn()
    embeddings = extract_embeddings(FlipAveraged(network), images, modalities)
    pixels = normalize(images)[:, 0]
    expected = (pixels[:, :, 0] + pixels[:, :, -1]) / 2 + modalities[:, None]
    torch.testing.assert_close(embeddings, expected)
    assert network.training


def test_mode_of_the_network_is_kept() -> None:
    network = FirstColumn().eval()
    assert not FlipAveraged(network).training
    assert not network.training

"""A network from elsewhere is scored like a checkpoint of the same network."""

from pathlib import Path

import numpy as np
import pytest
import torch

from reid.experiments.checkpoint_features import extract_features
from reid.experiments.foreign_features import save_test_features
from reid.network.model import TwoStreamNetwork
from reid.synthetic.sysu import make_synthetic_sysu
from reid.training.checkpoint import write_checkpoint

SIZE = (32, 16)


def test_features_of_a_foreign_network_are_saved_as_a_checkpoint_gives_them(tmp_path: Path) -> None:
    root, checkpoint = tmp_path / "sysu", tmp_path / "net.pt"
    make_synthetic_sysu(root, train=2, val=1, test=5, size=SIZE, images_per_camera=2, progress=False)
    torch.manual_seed(0)
    network = TwoStreamNetwork(3).eval()
    options = {"data_set": "sysu", "size": list(SIZE), "backbone": "small", "private_stages": 0}
    write_checkpoint(checkpoint, {"step": 1, "options": options, "model": network.state_dict()})

    def embed(images: torch.Tensor, modalities: torch.Tensor) -> torch.Tensor:
        return network(images, modalities).embedding

    file = save_test_features(tmp_path / "mine.features", embed, root, "sysu", size=SIZE, batch_size=7)
    assert file == tmp_path / "mine.features.npz"
    expected = extract_features(checkpoint, root, "sysu", flip=False, device="cpu")
    with np.load(file) as saved:
        np.testing.assert_allclose(saved["features"], expected.features.numpy(), rtol=1e-5, atol=1e-6)
        for name in ("identities", "cameras", "numbers", "modalities"):
            assert np.array_equal(saved[name], getattr(expected, name))


def test_folder_that_is_no_data_set_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="exp"):
        save_test_features(tmp_path / "x", lambda images, _: images.flatten(1), tmp_path, "sysu")

"""Extracts the features of a data set's test images with a checkpoint of the example."""

import sys
from pathlib import Path
from typing import Any, Literal

import torch

from reid.data import llcm, regdb, sysu
from reid.data.images import load_images
from reid.data.layout import ImageList
from reid.evaluation.saved_features import LabelledFeatures
from reid.network.extraction import extract_embeddings
from reid.network.flip import FlipAveraged
from reid.network.model import TwoStreamNetwork
from reid.training.checkpoint import read_checkpoint

__all__ = ["extract_features"]


def extract_features(
    checkpoint: Path, root: Path, data_set: Literal["sysu", "regdb", "llcm"], *, flip: bool, device: str
) -> LabelledFeatures:
    """Embed the test images as the training did, with the network that the checkpoint describes.

    Args:
        checkpoint: of `reproduce_sysu.py`.
        root: folder of the data set. Of RegDB, the split is the one that the checkpoint was trained on.
        data_set: which one it is.
        flip: whether to average the features of each image and its mirror image.
        device: where the network runs.

    Returns:
        The features, on the device, with the labels of the images.

    Raises:
        OSError, ValueError: one sentence, when the checkpoint or the data set is not what it should be.

    """
    if not checkpoint.is_file():
        raise FileNotFoundError(f"{checkpoint} does not exist; give the .pt file of a training.")
    content = read_checkpoint(checkpoint)
    options = content["options"]
    if options.get("data_set") != data_set:
        raise ValueError(
            f"{checkpoint} was trained on {options.get('data_set')!r}, not on {data_set!r}; name the data set that it "
            "was trained on."
        )
    network = _network(checkpoint, content).to(device)
    listed = _test_images(root, data_set, options)
    height, width = options["size"]
    images = load_images(listed.paths, (height, width), progress=sys.stderr.isatty())
    embeddings = extract_embeddings(
        FlipAveraged(network) if flip else network, images, torch.from_numpy(listed.modalities)
    )
    return LabelledFeatures(
        embeddings.to(device), listed.identities, listed.cameras, listed.numbers, listed.modalities, (checkpoint,)
    )


def _test_images(root: Path, data_set: str, options: dict[str, Any]) -> ImageList:
    if data_set == "regdb":
        return regdb.read_images(root, options["split"], "test")
    return sysu.read_images(root, "test") if data_set == "sysu" else llcm.read_images(root, "test")


def _network(checkpoint: Path, content: dict[str, Any]) -> TwoStreamNetwork:
    options, state = content["options"], content["model"]
    try:
        classifier = state["head.classifier.weight"]  # (C, D)
        network = TwoStreamNetwork(
            len(classifier),
            backbone=options["backbone"],
            enhance=any(name.startswith("enhancer.") for name in state),
            private_stages=options["private_stages"],
        ).to(classifier.dtype)
        network.load_state_dict(state)
    except (KeyError, RuntimeError) as error:
        raise ValueError(
            f"{checkpoint} does not fit the network that it describes ({str(error).splitlines()[0]}); "
            "evaluate it with the version of the example that wrote it."
        ) from error
    return network.eval()

"""Extracts the features of a data set's test images with a checkpoint of the example."""

import sys
from pathlib import Path
from typing import Any

import torch

from reid.data.images import load_images
from reid.data.reading import Source, list_source
from reid.data_sets import DATA_SETS
from reid.data_sets.features import LabelledFeatures
from reid.network.extraction import extract_embeddings
from reid.network.model import TwoStreamNetwork
from reid.training.checkpoint import read_checkpoint

__all__ = ["extract_features"]


def extract_features(checkpoint: Path, root: Path, data_set: str, *, flip: bool, device: str) -> LabelledFeatures:
    """Embed the test images as the training did, with the network that the checkpoint describes.

    Where there are splits, the one that the checkpoint was trained on is taken. `flip` averages the features of each
    image and its mirror image.

    Raises:
        OSError, ValueError: one sentence, when the checkpoint or the data set is not what it should be.
    """
    if not checkpoint.is_file():
        raise FileNotFoundError(f"{checkpoint} does not exist; give the .pt file of a training.")
    content = read_checkpoint(
        checkpoint, "copy it again, or give what another network makes of the test images with --features"
    )
    if (found := content["options"].get("data_set")) != data_set:
        raise ValueError(
            f"{checkpoint} was trained on {found!r}, not on {data_set!r}; name the data set that it was trained on."
        )
    network, size, split = _described(checkpoint, content)
    # The trials of the listing are not read, so they may be any.
    known = DATA_SETS[data_set]
    options = (known.without_exp or known.options)._replace(**({} if split is None else {"split": split}))
    listing = list_source(Source(root, data_set, options))
    listed = listing.test.images
    images = load_images(listed.paths, size, progress=sys.stderr.isatty())
    embeddings = extract_embeddings(network.to(device), images, torch.from_numpy(listed.modalities), flip=flip)
    return LabelledFeatures(
        embeddings.to(device), *listed[1:], files=(checkpoint,), split=split, remarks=listing.remarks
    )


def _described(checkpoint: Path, content: dict[str, Any]) -> tuple[TwoStreamNetwork, tuple[int, int], int | None]:
    """Build the network of a checkpoint, and tell the size of its images and its split of RegDB."""
    options, state = content["options"], content["model"]
    try:
        classifier = state["head.classifier.weight"].real  # (C, D)
        network = TwoStreamNetwork(
            len(classifier),
            backbone=options["backbone"],
            enhance=any(name.startswith("enhancer.") for name in state),
            private_stages=options["private_stages"],
        ).to(classifier.dtype)
        network.load_state_dict(state)
        height, width = map(int, options["size"])
        split = int(options["split"]) if "split" in DATA_SETS[options["data_set"]].options._fields else None
    except (ArithmeticError, LookupError, TypeError, AttributeError, RuntimeError, ValueError) as error:
        raise ValueError(
            f"{checkpoint} does not fit the network that it describes ({f'{error!r}'.splitlines()[0]:.200}); "
            "evaluate it with the version of the example that wrote it."
        ) from error
    return network.eval(), (height, width), split

"""Extracts the features of images with a trained network."""

import torch
from torch import Tensor, nn
from tqdm import tqdm

from reid.data.transforms import normalize

__all__ = ["extract_embeddings"]


@torch.no_grad()
def extract_embeddings(
    model: nn.Module,
    images: Tensor,
    modalities: Tensor,
    *,
    batch_size: int = 256,
    flip: bool = False,
    progress: bool = True,
) -> Tensor:
    """Embed images as they are, without augmentation, with a network in evaluation mode: ``(N, D)`` on the CPU.

    Args:
        model: the network; its mode is put back.
        images, modalities: ``(N, 3, H, W)`` uint8 and ``(N,)``, on the CPU.
        batch_size: images at a time; it does not change the result.
        flip: whether to average the features of each image and its mirror image, before they are normalised, as CAJ
            and DEEN do. It costs a second pass, and lifts the scores: say so where you use it.
        progress: whether to show a bar, which only a terminal shows.
    """
    parameter, was_training = next(model.parameters()), model.training
    device, kind = parameter.device, parameter.dtype
    model.eval()
    batches = list(zip(torch.split(images, batch_size), torch.split(modalities, batch_size), strict=True))
    bar = tqdm(batches, "embedding", unit="batch", disable=None if progress else True, leave=False)
    parts = []
    for some, which in bar:
        pixels = normalize(some.to(device)).to(kind)
        passes = [
            model(view, which.to(device)).embedding for view in ((pixels, pixels.flip(-1)) if flip else (pixels,))
        ]
        parts.append((sum(passes) / len(passes)).cpu())
    model.train(was_training)
    return torch.cat(parts)

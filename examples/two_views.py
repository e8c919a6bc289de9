"""Two modalities that are neither visible nor infrared: the upper and the lower half of 1,797 real handwritten digits.

A query is an upper half, the gallery holds the lower halves, a match is the same digit. Each half has an encoder of its
own. The script compares losses over several seeds, each with its own split, and prints mAP with 95 % intervals::

    python -m pip install . scikit-learn && python examples/two_views.py

The images are scikit-learn's ``load_digits``, test set of "Optical recognition of handwritten digits", UCI, 1998.
"""

from argparse import ArgumentParser
from collections.abc import Callable, Mapping

import torch
from scipy import stats
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional

import modinv

UPPER, LOWER = 0, 1  # the two modalities; their numbers are all that the losses see
NUM_TRAINING = 400
BATCH = 64  # of each half, drawn apart: no image shows both of its halves at once

METHODS: Mapping[str, Callable[[], dict[str, tuple[float, modinv.losses.Loss]]]] = {
    "identity loss": dict,
    "+ distribution consistency": lambda: {"gaussian": (1.0, modinv.GaussianDistributionConsistencyLoss())},
    "+ hetero-center triplet": lambda: {"center": (1.0, modinv.HeteroCenterTripletLoss())},
    "+ both": lambda: {
        "gaussian": (1.0, modinv.GaussianDistributionConsistencyLoss()),
        "center": (1.0, modinv.HeteroCenterTripletLoss()),
    },
}


def main() -> None:
    """Train every method with every seed and print the table."""
    parser = ArgumentParser(description="Compare losses on the halves of handwritten digits.")
    parser.add_argument("--seeds", type=int, default=8, help="how many, each with a split of its own (default: 8)")
    parser.add_argument("--first-seed", type=int, default=100, help="the first of them (default: 100)")
    parser.add_argument("--steps", type=int, default=300, help="steps of each training (default: 300)")
    options = parser.parse_args()
    seeds = range(options.first_seed, options.first_seed + options.seeds)
    baseline: list[float] = []
    print(f"{'method':28}{'mAP':>7}{'against the first':>27}")  # noqa: T201
    for name, losses in METHODS.items():
        scores = [score(seed, losses(), options.steps) for seed in seeds]
        baseline = baseline or scores
        print(f"{name:28}{sum(scores) / len(scores):7.2f}{gain(scores, baseline):>27}")  # noqa: T201


def score(seed: int, losses: dict[str, tuple[float, modinv.losses.Loss]], steps: int) -> float:
    """Train one encoder for each half and return the mAP in percent, over digits that were not trained on."""
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    pixels, digits = (torch.as_tensor(array) for array in load_digits(return_X_y=True))
    upper, lower = (pixels.float() / 16).split(32, dim=1)  # (1797, 32) each
    training, test = torch.randperm(len(digits), generator=generator).split([NUM_TRAINING, len(digits) - NUM_TRAINING])
    encoders, classifier = nn.ModuleList([encoder(), encoder()]), nn.Linear(32, 10)
    consistency = modinv.WeightedLosses(losses) if losses else None
    optimizer = torch.optim.AdamW([*encoders.parameters(), *classifier.parameters()], lr=3e-3)
    for _ in range(steps):
        first, second = training[torch.randint(NUM_TRAINING, (2, BATCH), generator=generator)]
        batch = modinv.batch_from_streams(
            (encoders[UPPER](upper[first]), digits[first]), (encoders[LOWER](lower[second]), digits[second])
        )
        loss = functional.cross_entropy(classifier(batch.features), batch.labels)
        if consistency is not None:
            loss = loss + consistency(*batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        queries, gallery = encoders[UPPER](upper[test]), encoders[LOWER](lower[test])
    return mean_average_precision(queries, gallery, digits[test])


def encoder() -> nn.Module:
    """Return the network of one half: two layers, 32 features."""
    return nn.Sequential(nn.Linear(32, 128), nn.ReLU(), nn.Linear(128, 32))


def mean_average_precision(queries: Tensor, gallery: Tensor, labels: Tensor) -> float:
    """Return the mAP in percent of cosine similarities, where row i of both sides carries label i."""
    similarities = functional.normalize(queries) @ functional.normalize(gallery).T
    matches = labels[similarities.argsort(dim=1, descending=True)] == labels[:, None]
    precision = matches.cumsum(1) / torch.arange(1, len(labels) + 1)
    return float(100 * ((precision * matches).sum(1) / matches.sum(1)).mean())


def gain(scores: list[float], baseline: list[float]) -> str:
    """Return the mean difference of paired scores, with its 95 % interval by Student's t."""
    differences = torch.tensor(scores, dtype=torch.float64) - torch.tensor(baseline, dtype=torch.float64)
    if len(differences) < 2 or not differences.any():
        return ""
    error = float(differences.std()) / len(differences) ** 0.5
    low, high = stats.t.interval(0.95, len(differences) - 1, loc=float(differences.mean()), scale=error)
    return f"{float(differences.mean()):+.2f} ({low:+.2f} … {high:+.2f})"


if __name__ == "__main__":
    main()

"""Draw the picture of the front page: two clouds, their means drawn together, and their covariances too.

python docs/figures/two_clouds.py    # writes docs/figures/two_clouds.svg
"""

from pathlib import Path

import matplotlib
import torch
from torch import Tensor

import modinv

matplotlib.use("svg")
matplotlib.rcParams.update({"svg.hashsalt": "modinv", "svg.fonttype": "none", "font.family": "sans-serif"})
from matplotlib import pyplot  # noqa: E402
from matplotlib.axes import Axes  # noqa: E402

COLORS, NAMES, GRAY = ("#2a7de1", "#e4572e"), ("visible", "infrared"), "#808080"


def main() -> None:
    """Move the rows of two modalities by a loss's gradient alone, and draw them."""
    torch.manual_seed(0)
    stretched = torch.tensor([[1.3, 0.7], [0.7, 0.9]])
    visible = torch.randn(80, 2) @ stretched + torch.tensor([-2.0, 0.8])
    infrared = torch.randn(80, 2) * torch.tensor([0.5, 1.3]) + torch.tensor([2.4, -0.8])
    rows, modalities = torch.cat([visible, infrared]), modinv.modalities_from_blocks("vi", 160)
    panels = {
        "two modalities": rows,
        "means drawn together": moved(rows, modalities, covariance=False),
        "means and covariances drawn together": moved(rows, modalities, covariance=True),
    }
    figure, axes = pyplot.subplots(1, 3, figsize=(9.6, 2.9), sharex=True, sharey=True, layout="constrained")
    for axis, (title, points) in zip(axes, panels.items(), strict=True):
        draw(axis, title, points, modalities)
    axes[0].legend(frameon=False, labelcolor=GRAY, loc="upper left")
    path = Path(__file__).with_suffix(".svg")
    figure.savefig(path, transparent=True, metadata={"Date": None})


def moved(rows: Tensor, modalities: Tensor, *, covariance: bool) -> Tensor:
    """Return the rows after 400 steps along the gradient of the mean part or of the whole loss."""
    points = rows.clone().requires_grad_()
    loss = modinv.GaussianDistributionConsistencyLoss()
    labels = torch.zeros_like(modalities)
    for _ in range(400):
        terms = loss.terms(points, labels, modalities)
        (gradient,) = torch.autograd.grad(terms.total if covariance else terms.mean, points)
        points = (points - 4.0 * gradient).detach().requires_grad_()
    return points.detach()


def draw(axis: Axes, title: str, points: Tensor, modalities: Tensor) -> None:
    """Draw the points of both modalities, and for each the ellipse of two standard deviations."""
    angles = torch.linspace(0, 2 * torch.pi, 100)
    circle = torch.stack([angles.cos(), angles.sin()])
    for modality, (name, color) in enumerate(zip(NAMES, COLORS, strict=True)):
        cloud = points[modalities == modality]
        axis.scatter(*cloud.T, s=9, color=color, alpha=0.55, linewidths=0, label=name)
        ellipse = cloud.mean(0)[:, None] + 2 * torch.linalg.cholesky(cloud.T.cov()) @ circle
        axis.plot(*ellipse, color=color, linewidth=1.6)
    axis.set_title(title, color=GRAY, fontsize=11)
    axis.set(xticks=[], yticks=[], aspect="equal")
    for spine in axis.spines.values():
        spine.set_color("#80808060")


if __name__ == "__main__":
    main()

"""The BNNeck: a batch normalisation without a learned shift, between the metric losses and the identity loss."""

from torch import Tensor, nn
from torch.nn import functional
from typing_extensions import override

from modinv._checks import check_count, check_eps, check_inputs, check_number

__all__ = ["BNNeck"]


class BNNeck(nn.BatchNorm1d):
    """Normalise each feature over the rows, with a learned scale and a shift that stays at zero.

    Metric losses use the features before the neck. The identity loss and retrieval use those after it. It is a
    ``BatchNorm1d`` whose ``bias`` does not learn, so it loads the necks of the field.
    ``SyncBatchNorm.convert_sync_batchnorm`` converts it, with the shift still fixed.

    One row in training has no variance. PyTorch's layer raises then. This one uses the running statistics and leaves
    them as they are; once converted it raises too. Features in half precision come back in the type of the parameters.
    Its statistics mix all rows: in training one row that is not finite spoils the batch.

    Args:
        num_features: Columns D of the input.
        eps: Added to the variance, from 1e-25 to 1e38. Default 1e-5, as in PyTorch.
        momentum: Weight of the batch in the running statistics, 0 to 1. Default 0.1, as in PyTorch.

    Raises:
        TypeError: For an option of another type, or inputs that are not floating point.
        ValueError: For an option out of range, or inputs that are not (N, D).

    Example:
        >>> import torch
        >>> neck = BNNeck(8)
        >>> neck(torch.randn(6, 8)).shape, neck.bias.requires_grad
        (torch.Size([6, 8]), False)

    Reference:
        Luo, Gu, Liao, Lai, Jiang: Bag of tricks and a strong baseline for deep person re-identification,
        CVPR Workshops 2019, section 3.5.
    """

    def __init__(self, num_features: int, *, eps: float = 1e-5, momentum: float = 0.1) -> None:
        super().__init__(
            check_count("num_features", num_features),
            eps=check_eps(eps),
            momentum=check_number("momentum", momentum, least=0.0, most=1.0),
        )
        self.bias.requires_grad_(False)

    @override
    def forward(self, features: Tensor) -> Tensor:
        """Return the normalised rows, (N, D), in the type of the parameters."""
        check_inputs("features", features, (2,), self.num_features)
        # half precision outside of autocast meets parameters in float32; under autocast this changes nothing
        rows = features.to(self.weight.dtype)
        if self.training and rows.shape[0] == 1:
            return functional.batch_norm(
                rows, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps
            )
        return super().forward(rows)

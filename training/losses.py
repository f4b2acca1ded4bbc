"""What training minimises."""

from torch import Tensor
from torch.nn import functional as F


def mse(predicted: Tensor, target: Tensor) -> Tensor:
    """Mean squared error on ab/128, the reference recipe; both (B, 2, H, W), the result a scalar."""
    return F.mse_loss(predicted, target)

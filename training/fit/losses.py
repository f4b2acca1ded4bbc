"""What training minimises. Predictions and targets are ab/128, (B, 2, H, W); every loss is a scalar."""

from torch import Tensor
from torch.nn import functional as F

from training.quantization import Rarity

SMOOTH_L1_BETA = 0.05
"""Where smooth L1 goes over from a square to a straight line: 6.4 in units of a* and b*."""

MOMENTS_WEIGHT = 1.0


def mse(predicted: Tensor, target: Tensor) -> Tensor:
    """Mean squared error: the reference recipe."""
    return F.mse_loss(predicted, target)


def smooth_l1(predicted: Tensor, target: Tensor) -> Tensor:
    """Huber's loss (divided by beta): draws towards the median of the plausible colours, not towards their mean."""
    return F.smooth_l1_loss(predicted, target, beta=SMOOTH_L1_BETA)


def rarity_weighted_mse(predicted: Tensor, target: Tensor, rarity: Rarity) -> Tensor:
    """Mean squared error in which a pixel counts as much as its true colour is rare."""
    loss: Tensor = (rarity(target) * (predicted - target).square()).mean()
    return loss


def moments(predicted: Tensor, target: Tensor) -> Tensor:
    """Mean squared error plus the squared error of every picture's colourfulness.

    The mean of the plausible colours is duller than any of them; how colourful a picture is as a whole can be
    predicted without knowing which of the colours is right. Colourfulness is Hasler and Süsstrunk's, in the ab plane.
    """
    excess = _colorfulness(predicted) - _colorfulness(target)
    return mse(predicted, target) + MOMENTS_WEIGHT * excess.square().mean()


def _colorfulness(ab: Tensor) -> Tensor:
    flat = ab.flatten(2)
    variance = flat.var(dim=2, correction=0).sum(dim=1)
    mean = flat.mean(dim=2).square().sum(dim=1)
    # The root's slope at 0 is infinite: a grey answer must still have a gradient.
    return (variance + 1e-6).sqrt() + 0.3 * (mean + 1e-6).sqrt()

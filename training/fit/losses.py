"""What training minimises. Predictions and targets are ab/128, (B, 2, H, W); every loss is a scalar."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from service.imaging import color
from service.network.preprocessing import AB_SCALE, IMAGENET_MEAN, IMAGENET_STD
from training.fit.quantization import Rarity

SMOOTH_L1_BETA = 0.05
"""Where smooth L1 goes over from a square to a straight line: 6.4 in units of a* and b*."""

MOMENTS_WEIGHT = 1.0

DISTANCE_MOMENTS_WEIGHT = 5.0
"""With it both parts pull about as hard as in `moments`: errors are some 0.1, and a distance's slope is always 1."""

DISTANCE_CHROMA_WEIGHT = 10.0
"""A picture that lacks 0.02 of chroma (2.5 in a* and b*) asks for it 0.4 times as hard as its distance resists."""


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
    return mse(predicted, target) + MOMENTS_WEIGHT * _colorfulness_error(predicted, target)


def _colorfulness_error(predicted: Tensor, target: Tensor) -> Tensor:
    return (_colorfulness(predicted) - _colorfulness(target)).square().mean()


def _colorfulness(ab: Tensor) -> Tensor:
    flat = ab.flatten(2)
    variance = flat.var(dim=2, correction=0).sum(dim=1)
    mean = flat.mean(dim=2).square().sum(dim=1)
    # The root's slope at 0 is infinite: a grey answer must still have a gradient.
    return (variance + 1e-6).sqrt() + 0.3 * (mean + 1e-6).sqrt()


def distance(predicted: Tensor, target: Tensor) -> Tensor:
    """Mean Euclidean distance in the ab plane: draws towards the geometric median of the plausible colours.

    That is a colour that occurs where most of them agree, when their mean would be a duller one that does not.
    """
    # The root's slope at 0 is infinite.
    return ((predicted - target).square().sum(dim=1) + 1e-6).sqrt().mean()


def distance_moments(predicted: Tensor, target: Tensor) -> Tensor:
    """`distance` plus the squared error of every picture's colourfulness, see `moments`.

    Beware: colourfulness is mostly a root mean square of chroma, distance a mean. So a few glowing spots are the
    cheapest colour there is, and networks learn to paint them.
    """
    return distance(predicted, target) + DISTANCE_MOMENTS_WEIGHT * _colorfulness_error(predicted, target)


def distance_chroma(predicted: Tensor, target: Tensor) -> Tensor:
    """`distance` plus the squared error of every picture's mean chroma, which no spots make cheaper.

    A median is duller than a mean. Asked for chroma in training, the network puts it where that costs least.
    """
    error = (_mean_chroma(predicted) - _mean_chroma(target)).square().mean()
    return distance(predicted, target) + DISTANCE_CHROMA_WEIGHT * error


def _mean_chroma(ab: Tensor) -> Tensor:
    return (ab.square().sum(dim=1) + 1e-6).sqrt().mean(dim=(1, 2))


def laplace(log_scale: Tensor, predicted: Tensor, target: Tensor) -> Tensor:
    """Mean negative log-likelihood of the errors under Laplace distributions, less log 2; teaches `log_scale` alone.

    `log_scale`: (B, 1, H, W), of `Prediction`. A pixel's two errors share one scale.
    """
    error = (predicted.detach() - target).abs().mean(dim=1, keepdim=True)
    return (log_scale + error * (-log_scale).exp()).mean()


class Perceptual(nn.Module):
    """How different two coloured pictures look to the first stages of an ImageNet trunk.

    As LPIPS without its learned weights (Zhang et al. 2018, "The Unreasonable Effectiveness of Deep Features as a
    Perceptual Metric"): features of several depths, each made of unit length, their squared distances.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, layers: Sequence[nn.Module], bfloat16: bool) -> None:
        """`layers`: the trunk's first; they must not learn, and they are not made part of this module."""
        super().__init__()
        self._layers = tuple(layers)
        self._bfloat16 = bfloat16
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(1, 3, 1, 1))

    def forward(self, lightness: Tensor, predicted: Tensor, target: Tensor) -> Tensor:
        """`lightness`: L* (B, 1, H, W), common to both pictures."""
        seen = self._features(self._picture(lightness, predicted))
        with torch.no_grad():
            true = self._features(self._picture(lightness, target))
        differences = [(_unit(s) - _unit(t)).square().sum(dim=1).mean() for s, t in zip(seen, true, strict=True)]
        return torch.stack(differences).sum()

    def _features(self, x: Tensor) -> list[Tensor]:
        features = []
        with torch.autocast(x.device.type, torch.bfloat16, enabled=self._bfloat16):
            for index, layer in enumerate(self._layers):
                x = layer(x)
                if index in (1, 3, 6):
                    features.append(x)
        return features

    def _picture(self, lightness: Tensor, ab: Tensor) -> Tensor:
        linear = color.lab_to_linear_rgb(torch.cat((lightness, ab * AB_SCALE), dim=1))
        # sRGB's companding without its straight part near 0, where the power's slope is infinite.
        rgb = 1.055 * linear.clamp(1e-3, 1).pow(1 / 2.4) - 0.055
        return ((rgb - self.mean) / self.std).contiguous(memory_format=torch.channels_last)


def _unit(features: Tensor) -> Tensor:
    features = features.float()
    return features / (features.square().sum(dim=1, keepdim=True) + 1e-6).sqrt()

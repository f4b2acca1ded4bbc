"""The Fréchet distance between coloured and true pictures, over features of the ImageNet MobileNetV2.

Heusel et al. 2017, "GANs Trained by a Two Time-Scale Update Rule Converge to a Local Nash Equilibrium", with another
network than their Inception: comparable neither with published FIDs nor, because fewer photographs than features make
the covariance singular and the distance too large, with sets of another size. It compares the rows of one run.
"""

import logging
from pathlib import Path

import torch
from torch import Tensor, nn

from service.network.backbones import BackboneName, BackboneWeightsError, build_backbone, load_imagenet_weights
from service.network.preprocessing import IMAGENET_MEAN, IMAGENET_STD

FEATURES = BackboneName.MOBILENET_V2.width

logger = logging.getLogger(__name__)


class FeatureExtractor(nn.Module):
    """Globally average-pooled features of MobileNetV2: uint8 sRGB (B, 3, 224, 224) → (B, 1280)."""

    mean: Tensor
    std: Tensor

    def __init__(self, trunk: nn.Sequential) -> None:
        super().__init__()
        self.trunk = trunk
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(1, 3, 1, 1))
        self.eval()

    @torch.inference_mode()
    def forward(self, rgb: Tensor) -> Tensor:
        """See the class."""
        normalised = ((rgb.float() / 255 - self.mean) / self.std).to(memory_format=torch.channels_last)
        features: Tensor = self.trunk(normalised)
        return features.mean(dim=(2, 3))


def load_feature_extractor(weights: Path | None) -> FeatureExtractor | None:
    """With ImageNet weights from a file, else from torchvision's hub; None, and a warning, where neither can be had.

    Raises:
        BackboneWeightsError: The file that was named cannot be read or does not fit.
    """
    trunk = build_backbone(BackboneName.MOBILENET_V2)
    try:
        load_imagenet_weights(trunk, BackboneName.MOBILENET_V2, weights)
    except BackboneWeightsError as error:
        if weights is not None:
            raise
        logger.warning("no Fréchet distance: %s", error)
        return None
    return FeatureExtractor(trunk.to(memory_format=torch.channels_last))


class FeatureStatistics:
    """Mean and covariance of features that come in batches, in float64; none of them is kept."""

    def __init__(self) -> None:
        self._count = 0
        self._sum = torch.zeros(FEATURES, dtype=torch.float64)
        self._products = torch.zeros(FEATURES, FEATURES, dtype=torch.float64)

    def add(self, features: Tensor) -> None:
        """`features`: (B, 1280)."""
        features = features.double()
        self._count += len(features)
        self._sum += features.sum(dim=0)
        # In place: new matrices of 13 MB at every step would break up the heap.
        self._products.addmm_(features.T, features)

    @property
    def mean(self) -> Tensor:
        """(1280,)."""
        return self._sum / self._count

    @property
    def covariance(self) -> Tensor:
        """(1280, 1280), unbiased; needs two pictures or more."""
        return (self._products - self._count * torch.outer(self.mean, self.mean)) / (self._count - 1)


def frechet_distance(first: FeatureStatistics, second: FeatureStatistics) -> float:
    """|μ₁ − μ₂|² + tr(Σ₁ + Σ₂ − 2 (Σ₁Σ₂)^½), at least 0 but for rounding."""
    covariance, other = first.covariance, second.covariance
    # Σ₁Σ₂ has the eigenvalues of Σ₁^½ Σ₂ Σ₁^½, which is symmetric: no complex roots, however singular both are.
    values, vectors = torch.linalg.eigh(covariance)
    root = (vectors * values.clamp(min=0).sqrt()) @ vectors.T
    product = root @ other @ root
    shared = torch.linalg.eigvalsh((product + product.T) / 2).clamp(min=0).sqrt().sum()
    means = (first.mean - second.mean).square().sum()
    return float(means + covariance.trace() + other.trace() - 2 * shared)

"""The network: preprocessing, encoder, backbone, fusion and decoder wired together."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from service.network.backbones import BackboneName, build_backbone
from service.network.decoder import Decoder
from service.network.encoder import Encoder
from service.network.fusion import Fusion
from service.network.preprocessing import AB_SCALE, Preprocessing
from service.network.saturation import saturate


@dataclass(frozen=True)
class ColorizerConfig:
    """Everything needed to rebuild the network before its weights are loaded."""

    backbone: BackboneName
    encoder_widths: tuple[int, int, int, int, int] = (32, 64, 128, 256, 512)
    fusion_width: int = 512
    decoder_widths: tuple[int, int, int, int] = (256, 128, 64, 32)
    dropout: float = 0.1
    saturation_gain: float = 1.0
    saturation_exponent: float = 0.0


class Colorizer(nn.Module):
    """Predicts CIELAB's a* and b* from L*."""

    def __init__(self, config: ColorizerConfig) -> None:
        super().__init__()
        self.config = config
        self.preprocessing = Preprocessing()
        self.encoder = Encoder(config.encoder_widths)
        self.backbone = build_backbone(config.backbone)
        self.fusion = Fusion(config.encoder_widths[-1], config.backbone.width, config.fusion_width)
        self.decoder = Decoder(
            config.fusion_width, config.encoder_widths[-2::-1], config.decoder_widths, config.dropout
        )

    def forward(self, lightness: Tensor) -> Tensor:
        """L* (B, 1, 224, 224) in [0, 100] → ab/128 (B, 2, 224, 224) in (-1, 1), the scale of the loss."""
        encoder_input, backbone_input = self.preprocessing(lightness)
        *skips, encoded = self.encoder(encoder_input)
        fused = self.fusion(encoded, self.backbone(backbone_input))
        ab: Tensor = self.decoder(fused, skips[::-1])
        return ab

    @torch.inference_mode()
    def predict(self, lightness: Tensor) -> Tensor:
        """L* (B, 1, 224, 224) in [0, 100] → a*, b* (B, 2, 224, 224), float32, with the calibrated saturation."""
        ab: Tensor = self(lightness)
        return saturate(ab.float() * AB_SCALE, self.config.saturation_gain, self.config.saturation_exponent)

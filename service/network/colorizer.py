"""The network: preprocessing, encoder, backbone, fusion and decoder wired together."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from service.network.backbones import BackboneName, build_backbone, trunk_maps
from service.network.chroma import ChromaMap, Uncalibrated, with_error
from service.network.decoder import SKIP_STRIDES, Decoder, Prediction
from service.network.encoder import STRIDES, Encoder
from service.network.fusion import Fusion
from service.network.preprocessing import AB_SCALE, HINT_CHANNELS, Preprocessing


@dataclass(frozen=True)
class ColorizerConfig:
    """Everything needed to rebuild the network before its weights are loaded.

    The defaults of `fusion_strides`, `hints` and `confidence` are the published network's.
    """

    backbone: BackboneName
    encoder_widths: tuple[int, int, int, int, int] = (32, 64, 128, 256, 512)
    fusion_width: int = 512
    decoder_widths: tuple[int, int, int, int] = (256, 128, 64, 32)
    dropout: float = 0.1
    fusion_strides: tuple[int, ...] = (32,)
    """Where trunk and encoder are joined: 32 and any of 16, 8 and 4."""
    hints: bool = False
    """Whether the encoder takes hints."""
    confidence: bool = False
    """Whether the decoder says how far off its colours will be."""
    calibrated: bool = False
    """Whether it has a `ChromaMap`."""

    def __post_init__(self) -> None:
        if 32 not in self.fusion_strides or not set(self.fusion_strides) <= {32, 16, 8, 4}:
            raise ValueError(f"fusion_strides must be 32 and any of 16, 8 and 4, not {self.fusion_strides}")

    def uncalibrated(self) -> "ColorizerConfig":
        """The same network without its calibration, which was fitted to weights that will change."""
        return replace(self, calibrated=False)


class Colorizer(nn.Module):
    """Predicts CIELAB's a* and b* from L*."""

    def __init__(self, config: ColorizerConfig) -> None:
        super().__init__()
        self.config = config
        widths = dict(zip(STRIDES, config.encoder_widths, strict=True))
        self.preprocessing = Preprocessing()
        self.encoder = Encoder(1 + HINT_CHANNELS * config.hints, config.encoder_widths)
        self.backbone = build_backbone(config.backbone)
        self.fusion = Fusion(widths, config.backbone.widths, config.fusion_width, config.fusion_strides)
        self.decoder = Decoder(
            config.fusion_width,
            [widths[stride] for stride in SKIP_STRIDES],
            config.decoder_widths,
            config.dropout,
            config.confidence,
        )
        self.calibration: nn.Module = ChromaMap() if config.calibrated else Uncalibrated()

    def forward(self, lightness: Tensor, hints: Tensor | None = None) -> Prediction:
        """L* (B, 1, H, W) in [0, 100], H and W multiples of 32 → `Prediction`, on the scale of the loss.

        `hints`: (B, 3, H, W), a* and b* divided by 128, and 1 where they are meant; all 0 elsewhere. None: no hints.

        Raises:
            ValueError: There are hints, but `ColorizerConfig.hints` says that the network takes none.
        """
        prediction: Prediction = self.decoder(self.fused(lightness, hints))
        return prediction

    def fused(self, lightness: Tensor, hints: Tensor | None) -> dict[int, Tensor]:
        """What the decoder is given, by stride; see `forward`."""
        if hints is None and self.config.hints:
            hints = lightness.new_zeros(len(lightness), HINT_CHANNELS, *lightness.shape[2:])
        elif hints is not None and not self.config.hints:
            raise ValueError("this network takes no hints")
        encoder_input, backbone_input = self.preprocessing(lightness, hints)
        maps = trunk_maps(self.config.backbone, list(self.backbone), backbone_input)
        fused: dict[int, Tensor] = self.fusion(self.encoder(encoder_input), maps)
        return fused

    @torch.inference_mode()
    def predict(self, lightness: Tensor, hints: Tensor | None = None) -> Tensor:
        """L* (B, 1, H, W) in [0, 100] → a*, b* (B, 2, H, W), float32, calibrated.

        `hints`: as `forward`'s, but a* and b* as they are.
        """
        return self.predict_with_error(lightness, hints)[:, :2]

    @torch.inference_mode()
    def predict_with_error(self, lightness: Tensor, hints: Tensor | None = None) -> Tensor:
        """What `predict` answers, and third how far off a* and b* are expected to be, in their units: (B, 3, H, W)."""
        prediction = self(lightness, None if hints is None else scale_hints(hints))
        ab: Tensor = self.calibration(prediction.raw, prediction.expected_error, lightness)
        return with_error(ab, prediction.expected_error)


def scale_hints(hints: Tensor) -> Tensor:
    """Hints as they are given to `Colorizer.predict`, (B, 3, H, W), on the scale of its targets."""
    return torch.cat((hints[:, :2] / AB_SCALE, hints[:, 2:]), dim=1)

"""What is asked for, and what comes of it."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from service.engine.choice import BackboneChoice
from service.imaging.adjust import UNCHANGED, Adjustment
from service.imaging.formats import ImageFormat
from service.imaging.recompose import Output
from service.imaging.writing.tiff import Compression


@dataclass(frozen=True, slots=True)
class Order:
    """What a client wants done with a photograph."""

    backbone: BackboneChoice
    format: ImageFormat | None = None
    """None: the best of `accepted`."""
    accepted: Mapping[ImageFormat, float] | None = None
    """How welcome each format is, from 0 to 1; None: all are. Among the best, the photograph's own comes first."""
    depth: int | None = None
    """Bits a sample; None: the photograph's own, where the format has them."""
    quality: int = 90
    compression: Compression = Compression.DEFLATE
    adjustment: Adjustment = UNCHANGED
    output: Output = Output.IMAGE
    max_side: int | None = None
    """The longer side of the answer in pixels, at most; None: the photograph's own size."""
    page: int | None = None
    """Of a file with several pictures, from 1; None: the first."""
    find_borders: bool = True
    """Whether borders around pictures are looked for, and left neutral."""
    keep_metadata: bool = True
    model: str = ""
    """What is written into the answer's metadata about the networks."""
    hints: Tensor | None = None
    """Colours that are known, at the network's size: (3, 224, 224), see `Colorizer.predict`."""

    @property
    def parameters(self) -> dict[str, str]:
        """What the answer's metadata say of how it was made."""
        adjustment = self.adjustment
        return {
            "backbone": self.backbone.value,
            "saturation": f"{adjustment.saturation:g}",
            "strength": f"{adjustment.strength:g}",
            "warmth": f"{adjustment.warmth:g}",
            "border": "auto" if self.find_borders else "keep",
        }


@dataclass(frozen=True, slots=True)
class ColoredPhotograph:
    """The answer."""

    data: memoryview
    format: ImageFormat
    width: int
    height: int
    notes: tuple[str, ...]
    """What whoever sent the photograph should know of how it was read."""
    seconds: Mapping[str, float]
    """Time spent in each stage: decode, queue, inference, recompose, encode."""

"""What can be asked for in the query of POST /colorize."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from service.engine.choice import BackboneChoice
from service.engine.order import Order
from service.imaging.adjust import Adjustment
from service.imaging.formats import ImageFormat
from service.imaging.recompose import Output
from service.imaging.writing.tiff import Compression


class TiffCompression(StrEnum):
    """The values of `compression`."""

    NONE = "none"
    LZW = "lzw"
    DEFLATE = "deflate"


def _number(value: object) -> object:
    """A query's digits → the number that they are."""
    return int(value) if isinstance(value, str) and value.isdecimal() else value


class Parameters(BaseModel):
    """All but `backbone`, whose default is a setting. A misspelt parameter is refused, not ignored."""

    model_config = ConfigDict(extra="forbid")

    format: Annotated[
        ImageFormat | None, Field(description="Of the answer; default: the photograph's own, or what Accept prefers")
    ] = None
    depth: Annotated[
        Literal[8, 16] | None,
        BeforeValidator(_number),
        Field(description="Bits a sample; default: the photograph's own, in PNG and TIFF. The other formats have 8"),
    ] = None
    quality: Annotated[int, Field(ge=1, le=100, description="Of JPEG, WebP and AVIF")] = 90
    compression: Annotated[TiffCompression, Field(description="Of TIFF; without loss")] = TiffCompression.DEFLATE
    saturation: Annotated[float, Field(ge=0, le=3, description="Factor on the colours; 0 is grey")] = 1.0
    strength: Annotated[float, Field(ge=0, le=1, description="From 0, grey, to 1, all of the colours")] = 1.0
    warmth: Annotated[float, Field(ge=-1, le=1, description="From -1, bluish, to 1, as if under a low sun")] = 0.0
    max_side: Annotated[
        int | None, Field(ge=16, description="Pixels of the answer's longer side, at most; for previews")
    ] = None
    page: Annotated[int | None, Field(ge=1, description="Of a TIFF with several; default: the first picture")] = None
    border: Annotated[
        Literal["auto", "keep"],
        Field(description="auto: borders, album pages and wedges around a picture stay neutral; keep: coloured"),
    ] = "auto"
    output: Annotated[
        Output,
        Field(
            description="ab: the colours alone, a* in red, b* in green, the middle level is 0, a step is 1 in 8 bits, "
            "1/256 in 16; confidence: how sure the network is of them, as grey. Both as PNG or TIFF"
        ),
    ] = Output.IMAGE
    metadata: Annotated[
        Literal["keep", "strip"],
        Field(description="strip: of EXIF, IPTC and XMP the answer has nothing that was in the photograph's"),
    ] = "keep"

    @model_validator(mode="after")
    def _formats_hold_it(self) -> "Parameters":
        """Refuses what no answer could be."""
        if self.format is not None:
            if self.depth is not None and self.depth not in self.format.depths:
                raise ValueError(f"format={self.format} has 8 bits a sample; depth=16 needs png or tiff")
            if self.output is not Output.IMAGE and not self.format.lossless:
                raise ValueError(f"output={self.output} is written as png or tiff, not as {self.format}")
        return self

    def order(self, backbone: BackboneChoice, accepted: Mapping[ImageFormat, float] | None, model: str) -> Order:
        """What the engine is asked for; see `Order`."""
        return Order(
            backbone,
            self.format,
            accepted,
            depth=self.depth,
            quality=self.quality,
            compression=Compression[self.compression.name],
            adjustment=Adjustment(self.saturation, self.strength, self.warmth),
            output=self.output,
            max_side=self.max_side,
            page=self.page,
            find_borders=self.border == "auto",
            keep_metadata=self.metadata == "keep",
            model=model,
        )

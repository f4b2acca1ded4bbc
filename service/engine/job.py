"""One photograph's own work, in the steps that lanes take: what lies between them is the engine's."""

from collections.abc import Sequence
from importlib.metadata import version

import torch
from torch import Tensor
from torch.nn import functional as F

from service.engine.order import Order
from service.imaging.borders.boxes import Box
from service.imaging.borders.pictures import find_pictures
from service.imaging.formats import ImageFormat, choose
from service.imaging.metadata.facts import Facts, stripped
from service.imaging.metadata.renewal import renewed
from service.imaging.photograph import Original, Photograph, inspect
from service.imaging.recompose import Output, Painting, Part, layout_of
from service.imaging.upsample import reduce
from service.imaging.writing.answer import Encoding, sheet
from service.network.chroma import confidence
from service.network.preprocessing import INPUT_SIZE

_AROUND = 13
"""Pixels of the network's, across: three of the cells of four that it tells its error for."""

_SOFTWARE = f"Autochrome {version('autochrome')}"


class Job:
    """From a file to the answer's file."""

    def __init__(self, data: bytes, order: Order, max_pixels: int) -> None:
        """Reads the header, as it says what the photograph will cost, or that it is none.

        Raises:
            ImageError: The bytes are not a photograph we can read, or the answer does not fit the format asked for.
        """
        self._order = order
        self.original: Original = inspect(data, max_pixels, order.page)
        self.encoding = _encoding(order, self.original)
        longer = max(self.original.width, self.original.height)
        self._scale = min(order.max_side or longer, longer) / longer
        self.width, self.height = (
            max(1, round(side * self._scale)) for side in (self.original.width, self.original.height)
        )
        self.encoding.format.check_fits(self.width, self.height)
        self.notes: tuple[str, ...] = ()
        """What whoever sent the photograph should know of how it was read."""
        self._photograph: Photograph | None = None
        self._boxes: list[Box] = []
        self._canvases: list[Tensor] = []

    @property
    def needed(self) -> int:
        """The most that the work takes in memory, the answer included, in bytes."""
        original, pixels = self.original, self.width * self.height
        transparent = original.transparent and self._order.output is Output.IMAGE
        written = self.encoding.memory_bytes(pixels, transparent)
        # A smaller one is made beside the photograph, in whose place it then is; with alpha, of floats.
        shrunk = 0
        if self._scale < 1:
            shrunk = original.kept_bytes * pixels // original.pixels
            shrunk += original.transparent * (8 * original.pixels + 4 * original.height * self.width)
        return original.kept_bytes + max(original.decoder_bytes, shrunk + written)

    def read(self) -> list[Tensor]:
        """Decodes the photograph; answers what the network is to see, one input for each picture in it.

        Raises:
            ImageError: It cannot be decoded to the end.
        """
        order, photograph = self._order, self.original.decode()
        if self._scale < 1:
            photograph = photograph.shrunk(self.width, self.height)
        # Hints are places in the whole.
        found = find_pictures(photograph.lightness.numpy()) if order.find_borders and order.hints is None else None
        self._boxes = [Box(0, 0, self.height, self.width)] if found is None else found
        self._canvases = [
            reduce(photograph.lightness[box.top : box.bottom, box.left : box.right], INPUT_SIZE) for box in self._boxes
        ]
        self._photograph, self.notes = photograph, photograph.notes
        if order.hints is not None:
            return [torch.cat((canvas, order.hints)) for canvas in self._canvases]
        return self._canvases

    def prepare(self, answers: Sequence[Tensor]) -> Painting:
        """What paints the answer from the networks' own, one for each of what `read` gave: (3, 224, 224)."""
        photograph, order = self._photograph, self._order
        assert photograph is not None
        fields = [self._field(answer, canvas) for answer, canvas in zip(answers, self._canvases, strict=True)]
        image = order.output is Output.IMAGE
        alpha = photograph.alpha if image else None
        layout = layout_of(self.width, self.height, order.output.channels + (alpha is not None), self.encoding.depth)
        self._sheet = sheet(self.encoding, layout, self._facts() if image else Facts(), colors=image)
        parts = [Part(box, field) for box, field in zip(self._boxes, fields, strict=True)]
        return Painting(photograph.lightness, alpha, parts, self._sheet, order.output)

    def finish(self) -> memoryview:
        """The answer's file, once all is painted."""
        return self._sheet.finish()

    def _field(self, answer: Tensor, canvas: Tensor) -> Tensor:
        if self._order.output is Output.CONFIDENCE:
            # One place's error is a guess from few channels; that of its surroundings is what is to be seen.
            error = F.avg_pool2d(answer[2:], _AROUND, stride=1, padding=_AROUND // 2, count_include_pad=False)
            return confidence(error).expand(2, -1, -1)
        return self._order.adjustment.apply(answer[:2], canvas)

    def _facts(self) -> Facts:
        order, facts = self._order, self.original.facts
        return renewed(
            facts if order.keep_metadata else stripped(facts),
            width=self.width,
            height=self.height,
            software=_SOFTWARE,
            model=order.model,
            parameters=order.parameters,
            scale=self._scale,
        )


def _encoding(order: Order, original: Original) -> Encoding:
    image = order.output is Output.IMAGE
    own, depth = (original.format, order.depth or original.depth) if image else (ImageFormat.PNG, order.depth or 16)
    longer = max(original.width, original.height)
    longer = min(longer, order.max_side or longer)
    candidates = [format for format in ImageFormat if (image or format.lossless) and format.longest_side >= longer]
    if order.depth is not None:
        candidates = [format for format in candidates if order.depth in format.depths]
    format = order.format or choose(own, candidates, order.accepted)
    return Encoding(format, depth if depth in format.depths else 8, order.quality, order.compression)

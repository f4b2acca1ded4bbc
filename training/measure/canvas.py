"""The shape in which the network sees a whole photograph."""

from enum import StrEnum

from torch import Tensor
from torch.nn import functional as F

from service.imaging.upsample import reduce
from service.network.preprocessing import INPUT_SIZE

LONGEST_SIDE = 2 * INPUT_SIZE

_COARSEST_STRIDE = 32


class Canvas(StrEnum):
    """A square, into which the photograph is squeezed, or a rectangle of nearly its own aspect ratio."""

    SQUARE = "square"
    ASPECT = "aspect"

    def size(self, height: int, width: int) -> tuple[int, int]:
        """Height and width at which the network sees a photograph of this size, in pixels.

        The rectangle's short side is 224, its long side the multiple of 32 nearest to the aspect ratio, at most 448.
        """
        if self is Canvas.SQUARE:
            return INPUT_SIZE, INPUT_SIZE
        long = max(height, width) / min(height, width) * INPUT_SIZE
        long_side = min(LONGEST_SIDE, round(long / _COARSEST_STRIDE) * _COARSEST_STRIDE)
        return (long_side, INPUT_SIZE) if height > width else (INPUT_SIZE, long_side)

    def reduce(self, lightness: Tensor) -> Tensor:
        """L* (H, W) of a photograph → the network's input (1, 1, h, w), float32, in the same units."""
        if self is Canvas.SQUARE:
            return reduce(lightness, INPUT_SIZE)[None]
        size = self.size(*lightness.shape)
        # The filter of the service's own `reduce`.
        reduced = F.interpolate(lightness[None, None], size, mode="bicubic", antialias=True)
        return reduced.clamp(0, 100)

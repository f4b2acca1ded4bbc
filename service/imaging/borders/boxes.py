"""Rectangles of a photograph."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Box:
    """Rows `top` to `bottom` and columns `left` to `right`, half-open: in pixels of a photograph, or in cells."""

    top: int
    left: int
    bottom: int
    right: int

    @property
    def height(self) -> int:
        """Rows; not positive where there is nothing inside."""
        return self.bottom - self.top

    @property
    def width(self) -> int:
        """Columns; not positive where there is nothing inside."""
        return self.right - self.left

    @property
    def area(self) -> int:
        """Pixels, or cells."""
        return max(self.height, 0) * max(self.width, 0)

    @property
    def slices(self) -> tuple[slice, slice]:
        """What it is of an array."""
        return slice(self.top, self.bottom), slice(self.left, self.right)

    def side(self, number: int) -> int:
        """Where a side is: 0 is the upper, 1 the right, 2 the lower and 3 the left one."""
        return (self.top, self.right, self.bottom, self.left)[number]

    def turned(self, width: int) -> "Box":
        """Where it is after `np.rot90` of an array so wide: its right side is then above."""
        return Box(width - self.right, self.top, width - self.left, self.bottom)

    def moved(self, down: int, right: int) -> "Box":
        """The same rectangle elsewhere."""
        return Box(self.top + down, self.left + right, self.bottom + down, self.right + right)

    def meets(self, other: "Box") -> bool:
        """Whether they have anything in common."""
        return min(self.bottom, other.bottom) > max(self.top, other.top) and min(self.right, other.right) > max(
            self.left, other.left
        )

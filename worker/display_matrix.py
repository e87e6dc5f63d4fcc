"""How a stored picture has to be turned and mirrored so that it looks as in a player.

Source: ISO 14496-12, 8.2.2 (matrix of the track header) as FFmpeg hands it on, nine int32: a point (x, y) of the stored
picture is shown at (a x + c y, b x + d y), y pointing down. Only the eight placements that map pixels to pixels are
applied, quarter turns with or without a mirror; every other matrix is ignored, and so are the absurd ones of damaged
files.
Imports numpy and the standard library only: the decoder process uses this file.
"""

import math
import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_MATRIX = struct.Struct("=9i")
_NEGLIGIBLE = 0.01
"""Share of the largest element under which another one is rounding: real files carry cos 90 degrees as a few units."""


@dataclass(frozen=True, slots=True)
class Orientation:
    """One of the eight placements: first transpose, then flip."""

    rotation_degrees: int = 0
    """Clockwise turn of the displayed picture, 0, 90, 180 or 270; a mirror left to right comes before it."""
    is_transposed: bool = False
    flips_horizontally: bool = False
    flips_vertically: bool = False

    def apply(self, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return a view of `picture` (H, W, 3) as a viewer sees it, (W, H, 3) where it is transposed."""
        turned = picture.swapaxes(0, 1) if self.is_transposed else picture
        return turned[:: -1 if self.flips_vertically else 1, :: -1 if self.flips_horizontally else 1]


UPRIGHT = Orientation()


def parse_display_matrix(content: bytes) -> Orientation:
    """Return the orientation that a display matrix asks for; UPRIGHT where it is not one of the eight placements."""
    if len(content) < _MATRIX.size:
        return UPRIGHT
    a, b, _, c, d, *_ = _MATRIX.unpack_from(content)
    largest = max(abs(a), abs(b), abs(c), abs(d))
    straight = min(abs(a), abs(d)) > _NEGLIGIBLE * largest >= max(abs(b), abs(c))
    transposed = min(abs(b), abs(c)) > _NEGLIGIBLE * largest >= max(abs(a), abs(d))
    if not straight and not transposed:
        return UPRIGHT
    return Orientation(
        # the second column turns with the picture, mirrored or not
        rotation_degrees=round(math.degrees(math.atan2(-c, d)) / 90) * 90 % 360,
        is_transposed=transposed,
        flips_horizontally=(c if transposed else a) < 0,
        flips_vertically=(b if transposed else d) < 0,
    )


def orientation_of_rotation(rotation_degrees: int) -> Orientation:
    """Return the orientation of a clockwise turn without a mirror; UPRIGHT where it is no multiple of 90 degrees."""
    units = {0: (1, 0), 90: (0, 1), 180: (-1, 0), 270: (0, -1)}.get(rotation_degrees % 360)
    if units is None:
        return UPRIGHT
    cosine, sine = units
    return parse_display_matrix(_MATRIX.pack(cosine, sine, 0, -sine, cosine, 0, 0, 0, 1))

"""Text on pictures: anti-aliased, in DejaVu Sans, each string rendered once. OpenCV's own letters blur when small."""

from functools import lru_cache
from pathlib import Path

import matplotlib as mpl
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

__all__ = ["draw_text", "measure_text"]

Picture = NDArray[np.uint8]
Color = tuple[int, int, int]


def measure_text(text: str, *, pixels: int, bold: bool = False) -> tuple[int, int]:
    """Return width and height of a line of text whose font is `pixels` high."""
    height, width = _render(text, pixels, bold).shape
    return width, height


def draw_text(
    picture: Picture, text: str, *, left: int, top: int, pixels: int, color: Color, bold: bool = False
) -> None:
    """Draw a line of text into `picture` (H, W, 3) uint8, in place; what lies outside is cut off."""
    mask = _render(text, pixels, bold)  # (h, w) in 0..1
    height, width, _ = picture.shape
    x0, y0 = max(left, 0), max(top, 0)
    x1, y1 = min(left + mask.shape[1], width), min(top + mask.shape[0], height)
    if x0 >= x1 or y0 >= y1:
        return
    alpha = mask[y0 - top : y1 - top, x0 - left : x1 - left, None]
    area = picture[y0:y1, x0:x1]
    area[:] = (area * (1 - alpha) + np.array(color, np.float32) * alpha).astype(np.uint8)


@lru_cache(maxsize=2048)
def _render(text: str, pixels: int, bold: bool) -> NDArray[np.float32]:
    font = _load_font(pixels, bold)
    ascent, descent = font.getmetrics()
    width = max(1, round(font.getlength(text)))
    image = Image.new("L", (width, ascent + descent))
    ImageDraw.Draw(image).text((0, 0), text, fill=255, font=font)
    return np.asarray(image, np.float32) / np.float32(255)


@lru_cache(maxsize=8)
def _load_font(pixels: int, bold: bool) -> ImageFont.FreeTypeFont:
    # the one font that comes with a library we have, whatever the system
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(Path(mpl.get_data_path()) / "fonts" / "ttf" / name, pixels)

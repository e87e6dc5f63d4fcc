"""Varied views of aligned gray stills: pose, light, sharpness and noise, each slowly changing over a clip.

Stills from 48-pixel thumbnails and sharp photos shall end up alike: views are blurred, sharpened, and reduced and
enlarged again at random.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

MASTER_SIDE = 96
"""Side in pixels at which stills are kept in memory; more than any view shows of a 48-pixel face."""


@dataclass(frozen=True, slots=True)
class ViewRanges:
    """How far views may depart from the still; all are bounds of uniform draws."""

    rotation_degrees: float = 14.0
    scale: float = 0.16
    shift: float = 0.07
    """Of the side."""
    stretch: float = 0.10
    """Of width against height, and of shear."""
    gamma: float = 0.35
    """Of the logarithm of the exponent."""
    contrast: float = 0.30
    brightness: float = 25.0
    """In gray levels."""


RANGES = ViewRanges()


@dataclass(frozen=True, slots=True)
class View:
    """What one frame of a clip looks like."""

    matrix: NDArray[np.float64]
    """(2, 3) affine map from master to view pixels."""
    gamma: float
    gain: float
    offset: float


def draw_path(rng: np.random.Generator, frames: int, *, size: int, ranges: ViewRanges = RANGES) -> list[View]:
    """Draw a slow path through poses and light: one end to another in a straight line, with a little tremor."""
    ends = rng.uniform(-1, 1, size=(2, 9))
    # Ends are halfway alike, so that a clip moves but does not tumble.
    ends[1] = 0.6 * ends[0] + 0.4 * ends[1]
    mirror = rng.random() < 0.5
    views = []
    for t in np.linspace(0, 1, frames):
        p = (1 - t) * ends[0] + t * ends[1] + (rng.normal(0, 0.03, 9) if frames > 1 else 0)
        views.append(_view(p, size=size, mirror=mirror, ranges=ranges))
    return views


def _view(p: NDArray[np.float64], *, size: int, mirror: bool, ranges: ViewRanges) -> View:
    """Nine numbers about -1..1 -> a view."""
    angle = np.deg2rad(p[0] * ranges.rotation_degrees)
    scale = np.exp(p[1] * ranges.scale)
    stretch, shear = np.exp(p[2] * ranges.stretch / 2), p[3] * ranges.stretch
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    linear = turn @ np.array([[stretch, shear], [0, 1 / stretch]]) * scale * size / MASTER_SIDE
    if mirror:
        linear = linear @ np.diag([-1.0, 1.0])
    # The face's middle stays near the view's: p is an offset from there.
    master_centre, view_centre = (MASTER_SIDE - 1) / 2, (size - 1) / 2
    offset = view_centre + p[4:6] * ranges.shift * size - linear @ np.full(2, master_centre)
    return View(
        matrix=np.hstack([linear, offset[:, None]]),
        gamma=float(np.exp(p[6] * ranges.gamma)),
        gain=float(np.exp(p[7] * ranges.contrast)),
        offset=float(p[8] * ranges.brightness),
    )


def render(master: NDArray[np.uint8], view: View, *, size: int) -> NDArray[np.uint8]:
    """Master (96, 96) uint8 gray -> view (size, size) uint8 gray."""
    warped = cv2.warpAffine(master, view.matrix, (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    levels = np.arange(256) / 255
    light = ((levels**view.gamma - 0.5) * view.gain + 0.5) * 255 + view.offset
    table = np.clip(light, 0, 255).round().astype(np.uint8)
    return np.asarray(cv2.LUT(warped, table), np.uint8)


def degrade(frames: NDArray[np.uint8], rng: np.random.Generator, *, soften: bool = True) -> NDArray[np.uint8]:
    """Blur, sharpen, reduce, add noise or cover a patch, the same way over all frames of a clip (T, S, S) uint8.

    Without `soften` nothing is blurred or reduced.
    """
    size = frames.shape[1]
    result = frames
    kind = rng.random()
    if kind < 0.25 and soften:
        sigma = rng.uniform(0.4, 1.4)
        result = np.stack([cv2.GaussianBlur(frame, (0, 0), sigma) for frame in result])
    elif kind < 0.45 and soften:
        small = int(rng.integers(size // 3, size * 3 // 4))
        result = np.stack(
            [cv2.resize(cv2.resize(f, (small, small), interpolation=cv2.INTER_AREA), (size, size)) for f in result]
        )
    elif 0.45 <= kind < 0.65:
        amount = rng.uniform(0.3, 1.5)
        result = np.stack(
            [cv2.addWeighted(f, 1 + amount, cv2.GaussianBlur(f, (0, 0), 1.0), -amount, 0) for f in result]
        )
    if rng.random() < 0.25:
        noise = rng.normal(0, rng.uniform(1, 9), result.shape)
        result = np.clip(result + noise, 0, 255).astype(np.uint8)
    if rng.random() < 0.25:
        height, width = rng.integers(size // 8, size // 2, 2)
        y, x = rng.integers(0, size - height), rng.integers(0, size - width)
        result = result.copy()
        result[:, y : y + height, x : x + width] = rng.integers(0, 256)
    return np.asarray(result, np.uint8)

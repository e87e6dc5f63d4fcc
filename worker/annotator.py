"""Draws faces onto a frame: hidden where asked, a box and a label in the expression's colour, bars of all seven.

Sizes follow the shorter side of the picture, so that text can be read at 360p and does not shout at 2160p. The bars
stand beside the face where there is room that no other face needs; where there is none, one stacked bar inside the box
says the same without words.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from model.labels import EMOTIONS, Emotion
from worker.contract import Box, FaceRow
from worker.shown_faces import Shown
from worker.text import Color, draw_text, measure_text

__all__ = ["Annotator"]

Picture = NDArray[np.uint8]

MIN_TEXT_PIXELS = 12
TEXT_SHARE = 1 / 38
"""Height of the text by the shorter side of the picture."""
PANEL = (18, 18, 18)
PANEL_OPACITY = 0.72
TRACK_OF_A_BAR = (74, 74, 74)
WHITE, BLACK = (255, 255, 255), (0, 0, 0)
BLUR_MARGIN = 0.25
"""Of the box's size, on each side: detectors' boxes end at the chin and in the middle of the forehead."""
BLUR_CELLS = 5
"""A hidden face keeps so many values across and down, whatever its size."""


@dataclass(frozen=True, slots=True)
class Rectangle:
    """Whole pixels, right and bottom excluded."""

    left: int
    top: int
    right: int
    bottom: int

    def is_inside(self, width: int, height: int) -> bool:
        """Return whether a picture of this size holds all of it."""
        return self.left >= 0 and self.top >= 0 and self.right <= width and self.bottom <= height

    def overlaps(self, other: "Rectangle") -> bool:
        """Return whether the two share a pixel."""
        return (
            self.left < other.right and other.left < self.right and self.top < other.bottom and other.top < self.bottom
        )


class Annotator:
    """Draws onto the frames of one video, one after another; remembers on which side of a face its bars stand."""

    def __init__(self, *, colors: Mapping[Emotion, str], blur_faces: bool = False) -> None:
        self._colors = {emotion: _parse_color(color) for emotion, color in colors.items()}
        self._blur_faces = blur_faces
        self._sides: dict[int, int] = {}

    def draw(self, picture: Picture, shown: Shown) -> None:
        """Draw the faces of one frame into its `picture` (H, W, 3) uint8 RGB, in place."""
        height, width, _ = picture.shape
        if self._blur_faces:
            for area in shown.hidden:
                _hide(picture, area)
        scale = _Scale.of(width, height)
        boxes = [_to_rectangle(face.box) for face in shown.faces]
        labels = _place_labels(shown.faces, boxes, scale, width=width)
        taken = [*boxes, *(label.place for label in labels)]
        for face, box, label in zip(shown.faces, boxes, labels, strict=True):
            self._draw_box(picture, face, box, scale)
            panel = self._place_panel(face.track, box, taken, scale, width=width, height=height)
            if panel is None:
                self._draw_stacked_bar(picture, face, box, scale)
            else:
                taken.append(panel)
                self._draw_panel(picture, face, panel, scale)
            self._draw_label(picture, face, label, scale)
        seen = {face.track for face in shown.faces}
        self._sides = {track: side for track, side in self._sides.items() if track in seen}

    def _draw_box(self, picture: Picture, face: FaceRow, box: Rectangle, scale: "_Scale") -> None:
        corners = (box.left, box.top), (box.right - 1, box.bottom - 1)
        # a dark rim, so that the colour is seen on any ground
        cv2.rectangle(picture, *corners, BLACK, scale.line + 2)
        cv2.rectangle(picture, *corners, self._colors[face.emotion], scale.line)

    def _draw_label(self, picture: Picture, face: FaceRow, label: "_Label", scale: "_Scale") -> None:
        color, place = self._colors[face.emotion], label.place
        self._fill(picture, place.left, place.top, place.right, place.bottom, color)
        draw_text(
            picture,
            label.text,
            left=place.left + scale.gap,
            top=place.top + scale.gap // 2,
            pixels=scale.text,
            color=_contrast(color),
            bold=True,
        )

    def _place_panel(
        self, track: int, box: Rectangle, taken: list[Rectangle], scale: "_Scale", *, width: int, height: int
    ) -> Rectangle | None:
        places = list(_iter_panel_places(box, scale, height=height))
        sides = list(range(len(places)))
        if track in self._sides:  # where it stood in the frame before, if it can: bars that jump cannot be read
            sides = [self._sides[track], *(side for side in sides if side != self._sides[track])]
        for side in sides:
            place = places[side]
            if place.is_inside(width, height) and not any(place.overlaps(other) for other in taken if other != box):
                self._sides[track] = side
                return place
        return None

    def _draw_panel(self, picture: Picture, face: FaceRow, panel: Rectangle, scale: "_Scale") -> None:
        area = picture[panel.top : panel.bottom, panel.left : panel.right]
        area[:] = cv2.addWeighted(area, 1 - PANEL_OPACITY, np.full_like(area, PANEL), PANEL_OPACITY, 0)
        left = panel.left + scale.gap + scale.names + scale.gap
        for place, emotion in enumerate(EMOTIONS):
            top = panel.top + scale.gap + place * scale.row
            is_leading = emotion is face.emotion
            draw_text(
                picture,
                emotion.value,
                left=panel.left + scale.gap,
                top=top,
                pixels=scale.text,
                color=WHITE if is_leading else (205, 205, 205),
                bold=is_leading,
            )
            bar_top, bar_bottom = top + scale.row // 5, top + scale.row - scale.row // 4
            self._fill(picture, left, bar_top, left + scale.bar, bar_bottom, TRACK_OF_A_BAR)
            filled = round(scale.bar * face.probabilities[emotion])
            self._fill(picture, left, bar_top, left + filled, bar_bottom, self._colors[emotion])

    def _draw_stacked_bar(self, picture: Picture, face: FaceRow, box: Rectangle, scale: "_Scale") -> None:
        bottom = box.bottom - scale.line
        top = max(box.top, bottom - max(4, scale.row // 2))
        left, total = float(box.left + scale.line), box.right - box.left - 2 * scale.line
        for emotion in EMOTIONS:
            right = left + total * face.probabilities[emotion]
            self._fill(picture, round(left), top, round(right), bottom, self._colors[emotion])
            left = right

    def _fill(self, picture: Picture, left: int, top: int, right: int, bottom: int, color: Color) -> None:
        picture[max(0, top) : max(0, bottom), max(0, left) : max(0, right)] = color


@dataclass(frozen=True, slots=True)
class _Scale:
    """Sizes in pixels that follow from the size of the picture."""

    text: int
    line: int
    gap: int
    row: int
    """Height of one line of the panel."""
    names: int
    """Width of the longest name."""
    bar: int

    @classmethod
    def of(cls, width: int, height: int) -> "_Scale":
        text = max(MIN_TEXT_PIXELS, round(min(width, height) * TEXT_SHARE))
        names = [measure_text(emotion.value, pixels=text, bold=True) for emotion in EMOTIONS]
        return cls(
            text=text,
            line=max(2, text // 6),
            gap=max(3, text // 3),
            row=max(height for _, height in names),
            names=max(width for width, _ in names),
            bar=4 * text,
        )

    @property
    def panel(self) -> tuple[int, int]:
        """Width and height of the bars with their names."""
        return 3 * self.gap + self.names + self.bar, 2 * self.gap + self.row * len(EMOTIONS)


def _iter_panel_places(box: Rectangle, scale: _Scale, *, height: int) -> Iterator[Rectangle]:
    """Yield where the bars of a face may stand: right, left, below, above."""
    wide, high = scale.panel
    gap = scale.gap + scale.line
    top = max(0, min(box.top, height - high))
    yield Rectangle(box.right + gap, top, box.right + gap + wide, top + high)
    yield Rectangle(box.left - gap - wide, top, box.left - gap, top + high)
    yield Rectangle(box.left, box.bottom + gap, box.left + wide, box.bottom + gap + high)
    above = box.top - scale.row - 3 * scale.gap - high  # the label is between
    yield Rectangle(box.left, above, box.left + wide, above + high)


@dataclass(frozen=True, slots=True)
class _Label:
    """What stands on a face's box."""

    text: str
    place: Rectangle


def _place_labels(faces: Sequence[FaceRow], boxes: Sequence[Rectangle], scale: _Scale, *, width: int) -> list[_Label]:
    """Return a label for each face: number, expression and probability where there is room, else the number alone."""
    labels = [_place_label(f"#{face.track}", box, scale, width=width) for face, box in zip(faces, boxes, strict=True)]
    for index, (face, box) in enumerate(zip(faces, boxes, strict=True)):
        text = f"#{face.track} {face.emotion.value} {face.probabilities[face.emotion]:.0%}"
        full = _place_label(text, box, scale, width=width)
        others = [
            place
            for other, (label, box) in enumerate(zip(labels, boxes, strict=True))
            if other != index
            for place in (label.place, box)
        ]
        if not any(full.place.overlaps(other) for other in others):
            labels[index] = full
    return labels


def _place_label(text: str, box: Rectangle, scale: _Scale, *, width: int) -> _Label:
    """Return a label on the box, or inside it where the box touches the upper edge."""
    wide, high = measure_text(text, pixels=scale.text, bold=True)
    wide, high = wide + 2 * scale.gap, high + scale.gap
    left = max(0, min(box.left - scale.line, width - wide))
    top = box.top - high if box.top >= high else max(0, box.top)
    return _Label(text, Rectangle(left, top, left + wide, top + high))


def _hide(picture: Picture, box: Box) -> None:
    """Replace the area of a face by a few values, smoothly blended: what was there cannot be computed back."""
    height, width, _ = picture.shape
    x0, y0, x1, y1 = box
    margin_x, margin_y = (x1 - x0) * BLUR_MARGIN, (y1 - y0) * BLUR_MARGIN
    left, top = max(0, int(x0 - margin_x)), max(0, int(y0 - margin_y))
    right, bottom = min(width, int(x1 + margin_x) + 1), min(height, int(y1 + margin_y) + 1)
    if left >= right or top >= bottom:
        return
    area = picture[top:bottom, left:right]
    cells = cv2.resize(area, (BLUR_CELLS, BLUR_CELLS), interpolation=cv2.INTER_AREA)
    area[:] = cv2.resize(cells, (right - left, bottom - top), interpolation=cv2.INTER_LINEAR)


def _to_rectangle(box: Box) -> Rectangle:
    left, top, right, bottom = (round(edge) for edge in box)
    return Rectangle(left, top, max(right, left + 1), max(bottom, top + 1))


def _parse_color(text: str) -> Color:
    red, green, blue = bytes.fromhex(text.removeprefix("#"))
    return red, green, blue


def _contrast(color: Color) -> Color:
    """Return black or white, whichever can be read on a colour."""
    red, green, blue = color
    return BLACK if 0.299 * red + 0.587 * green + 0.114 * blue > 95 else WHITE

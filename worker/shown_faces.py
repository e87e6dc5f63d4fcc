"""Which faces to draw and to hide at a time of the video, also between analysed frames.

With `sample_fps` most frames have no row of their own: their faces move in a straight line from the row before to the
row after. To hide a face more is done, because one frame in which it shows is one too many: its place in both rows
counts, and so do short stretches in which the detector missed it.
"""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from worker.contract import Box, FaceRow, FrameRow
from worker.rows import SECONDS_DECIMALS

__all__ = ["FaceTimeline", "Shown"]

MAX_MISSED_SECONDS = 2.0
"""A face that is gone for longer than this and back under the same number was really away."""


@dataclass(frozen=True, slots=True)
class Shown:
    """The faces of one frame."""

    faces: tuple[FaceRow, ...]
    """To draw, with their boxes at that time."""
    hidden: tuple[Box, ...]
    """Where there is, or may be, a face."""


class FaceTimeline:
    """The rows of a video, asked for any of its times."""

    def __init__(self, rows: Sequence[FrameRow]) -> None:
        self._rows = rows
        self._times = [row.pts_seconds for row in rows]
        self._missed: dict[int, list[Box]] = {}
        for index, box in _iter_missed(rows):
            self._missed.setdefault(index, []).append(box)

    def at(self, pts_seconds: float) -> Shown:
        """Return the faces of the frame that is shown at a time."""
        time = round(pts_seconds, SECONDS_DECIMALS)  # as rows are
        index = max(0, bisect_right(self._times, time) - 1)
        row = self._rows[index]
        following = self._rows[index + 1] if index + 1 < len(self._rows) else None
        if following is None or time <= row.pts_seconds:
            boxes = [face.box for face in row.faces]
            return Shown(row.faces, (*boxes, *self._missed.get(index, ())))
        share = (time - row.pts_seconds) / (following.pts_seconds - row.pts_seconds)
        after = {face.track: face.box for face in following.faces}
        faces = tuple(
            face.model_copy(update={"box": _blend(face.box, after.get(face.track, face.box), share)})
            for face in row.faces
        )
        united = [_unite(face.box, after.pop(face.track, face.box)) for face in row.faces]
        missed = [*self._missed.get(index, ()), *self._missed.get(index + 1, ())]
        return Shown(faces, (*united, *after.values(), *missed))


def _iter_missed(rows: Sequence[FrameRow]) -> Iterator[tuple[int, Box]]:
    """Yield the place of a row and a box for each face that was seen shortly before and after, but not there."""
    last_seen: dict[int, tuple[int, Box]] = {}
    for index, row in enumerate(rows):
        for face in row.faces:
            before, box = last_seen.get(face.track, (index, face.box))
            if row.pts_seconds - rows[before].pts_seconds <= MAX_MISSED_SECONDS:
                for missed in range(before + 1, index):
                    yield missed, _unite(box, face.box)
            last_seen[face.track] = index, face.box


def _blend(before: Box, after: Box, share: float) -> Box:
    x0, y0, x1, y1 = (a + (b - a) * share for a, b in zip(before, after, strict=True))
    return x0, y0, x1, y1


def _unite(one: Box, other: Box) -> Box:
    return min(one[0], other[0]), min(one[1], other[1]), max(one[2], other[2]), max(one[3], other[3])

"""Windows and their probabilities -> the rows of a segment, with tracklet numbers for `tracking.stitch` to replace."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from model.labels import EMOTIONS
from worker.clips import Window
from worker.contract import FaceRow, FrameRow, Point, SegmentRows
from worker.faces import Face
from worker.shots import Signature, encode_signature, is_cut

PIXEL_DECIMALS = 1
PROBABILITY_DECIMALS = 5
SCORE_DECIMALS = 3
SECONDS_DECIMALS = 6


class SegmentBuilder:
    """Collects the rows of one segment, window after window."""

    def __init__(self, segment: int) -> None:
        self._segment = segment
        self._rows: list[FrameRow] = []
        self._cuts: list[int] = []
        self._tracklets = 0
        self._first: tuple[int, Signature] | None = None
        self._last: Signature | None = None

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, window: Window, probabilities: Sequence[NDArray[np.float32]]) -> None:
        """Append a window, given one (T, 7) array of probabilities for each of its clips."""
        start = len(self._rows)
        if window.first_signature is not None:
            if self._last is None:
                self._first = (start, window.first_signature)
            elif is_cut(self._last, window.first_signature):
                # Between two windows is the only place where `stitch` can end all tracks.
                self._cuts.append(start)
            self._last = window.last_signature
        self._cuts += [start + cut for cut in window.cuts]
        self._rows += self._create_rows(window, probabilities)
        self._tracklets += len(window.clips)

    def build(self) -> SegmentRows:
        """Return the segment collected so far."""
        return SegmentRows(
            segment=self._segment,
            rows=tuple(self._rows),
            cuts=tuple(self._cuts),
            first_signature="" if self._first is None else encode_signature(self._first[1]),
            first_signature_row=0 if self._first is None else self._first[0],
            last_signature="" if self._last is None else encode_signature(self._last),
        )

    def _create_rows(self, window: Window, probabilities: Sequence[NDArray[np.float32]]) -> list[FrameRow]:
        faces: list[list[FaceRow]] = [[] for _ in window.frames]
        for tracklet, (clip, clip_probabilities) in enumerate(zip(window.clips, probabilities, strict=True)):
            for (index, face), row in zip(clip.tracklet.places, clip_probabilities, strict=True):
                faces[index].append(
                    create_face_row(window.frames[index].faces[face], row, track=self._tracklets + tracklet)
                )
        return [
            FrameRow(frame=frame.number, pts_seconds=round(frame.pts_seconds, SECONDS_DECIMALS), faces=tuple(found))
            for frame, found in zip(window.frames, faces, strict=True)
        ]


def create_face_row(face: Face, probabilities: NDArray[np.float32], *, track: int) -> FaceRow:
    """Round a face and its (7,) probabilities to what a client reads; the emotion is that of the rounded ones."""
    rounded = {
        emotion: round(float(p), PROBABILITY_DECIMALS) for emotion, p in zip(EMOTIONS, probabilities, strict=True)
    }
    x0, y0, x1, y1 = (round(x, PIXEL_DECIMALS) for x in face.box.tolist())
    left_eye, right_eye, nose, left_mouth, right_mouth = (_point(*xy) for xy in face.landmarks.tolist())
    return FaceRow(
        track=track,
        box=(x0, y0, x1, y1),
        score=round(face.score, SCORE_DECIMALS),
        landmarks=(left_eye, right_eye, nose, left_mouth, right_mouth),
        emotion=max(rounded, key=rounded.__getitem__),
        probabilities=rounded,
    )


def _point(x: float, y: float) -> Point:
    return round(x, PIXEL_DECIMALS), round(y, PIXEL_DECIMALS)

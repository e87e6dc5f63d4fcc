"""Smoothing over time, computed when rows are read: a box filter over the probabilities of each track.

A face's smoothed probabilities are the mean over its track's faces at most `smoothing_seconds / 2` away in presentation
time, so variable frame rate and gaps need no special case. Boxes, scores and landmarks stay as they were.
Sums are kept in integers: float sums would depend on where the reading began, integer sums are exact, so a page is
bit-identical to the same stretch of the whole.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from model.labels import EMOTIONS
from worker.contract import FaceRow, FrameRow

__all__ = ["half_window_seconds", "iter_smoothed"]

_FIXED_POINT = 1 << 40
"""Steps per unit of probability; finer than float32."""
_TOLERANCE_SECONDS = 1e-6
"""Presentation times are rounded to the microsecond at worst; a frame on the window's border counts on both sides."""


@dataclass(slots=True)
class _TrackSum:
    """Sums over the faces of one track that stand in the window."""

    faces: int = 0
    totals: list[int] = field(default_factory=lambda: [0] * len(EMOTIONS))


def half_window_seconds(smoothing_seconds: float) -> float:
    """Return how far, before and after a row, other rows take part in its mean."""
    return smoothing_seconds / 2 + _TOLERANCE_SECONDS


def iter_smoothed(
    rows: Iterable[FrameRow], *, smoothing_seconds: float, is_complete: bool = True
) -> Iterator[FrameRow]:
    """Yield rows with smoothed probabilities, as soon as their windows are known.

    Args:
        rows: Rows in presentation order; those before the first are taken not to exist.
        smoothing_seconds: Width of the window; 0 yields the rows as they are.
        is_complete: Whether the video ends with the last row. If not, rows whose window reaches beyond it are withheld,
            since their values would change.
    """
    if smoothing_seconds <= 0:
        yield from rows
        return
    half = half_window_seconds(smoothing_seconds)
    sums: dict[int, _TrackSum] = {}
    behind: deque[FrameRow] = deque()  # emitted, still inside the window of the next one
    ahead: deque[FrameRow] = deque()  # summed up, not yet emitted

    def emit() -> FrameRow:
        center = ahead.popleft()
        while behind and behind[0].pts_seconds < center.pts_seconds - half:
            _remove(sums, behind.popleft())
        behind.append(center)
        return _smooth(center, sums)

    for row in rows:
        while ahead and ahead[0].pts_seconds + half < row.pts_seconds:
            yield emit()
        _add(sums, row)
        ahead.append(row)
    while is_complete and ahead:
        yield emit()


def _add(sums: dict[int, _TrackSum], row: FrameRow) -> None:
    for face in row.faces:
        track = sums.setdefault(face.track, _TrackSum())
        track.faces += 1
        track.totals = [a + b for a, b in zip(track.totals, _fixed(face), strict=True)]


def _remove(sums: dict[int, _TrackSum], row: FrameRow) -> None:
    for face in row.faces:
        track = sums[face.track]
        track.faces -= 1
        track.totals = [a - b for a, b in zip(track.totals, _fixed(face), strict=True)]
        if not track.faces:
            del sums[face.track]


def _fixed(face: FaceRow) -> list[int]:
    return [round(face.probabilities[emotion] * _FIXED_POINT) for emotion in EMOTIONS]


def _smooth(row: FrameRow, sums: dict[int, _TrackSum]) -> FrameRow:
    return row.model_copy(update={"faces": tuple(_smooth_face(face, sums[face.track]) for face in row.faces)})


def _smooth_face(face: FaceRow, track: _TrackSum) -> FaceRow:
    scale = track.faces * _FIXED_POINT
    # one digit more than the stored probabilities carry
    probabilities = {emotion: round(total / scale, 6) for emotion, total in zip(EMOTIONS, track.totals, strict=True)}
    dominant = EMOTIONS[track.totals.index(max(track.totals))]
    return face.model_copy(update={"emotion": dominant, "probabilities": probabilities})

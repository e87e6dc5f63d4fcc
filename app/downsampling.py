"""A video's rows as few points: for each track the means of its probabilities over equal spans of time.

A row counts for as long as its frame is shown, up to the next row; so a mean over a span is a mean over time, and
variable frame rate and sampling need no special case. Rows are read once and dropped: what is kept does not grow with
the video, but for a track's few sums in each span. Times are whole microseconds, so that spans meet without gaps.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from model.labels import EMOTIONS
from worker.contract import FrameRow

__all__ = ["Downsampled", "DownsampledTrack", "downsample"]

_MICROSECONDS = 1_000_000
_SLIVER = 2
"""Microseconds; less than that of a row in a span is the rounding of times, not a sight."""


@dataclass(slots=True)
class DownsampledTrack:
    """One track, from the first span that saw it to the last one."""

    track: int
    first_span: int
    seen: list[float]
    """For each span the share of its analysed time in which the track was in the picture, 0..1."""
    means: list[tuple[float, ...] | None]
    """For each span the mean probabilities in the order of EMOTIONS; None where the track was not seen."""


@dataclass(slots=True)
class Downsampled:
    """What all spans hold."""

    spans: int
    end_seconds: float
    """The spans divide the time from 0 to here equally."""
    rows: int
    positions: list[int]
    """For each span, as far as rows reach, the place of the row that is shown at its beginning."""
    cuts: list[float]
    """Times at which faces stay in the picture, but each of them is a new track; at most one a span."""
    without_face: list[tuple[float, float]]
    """Stretches of time without any face, none shorter than a span."""
    tracks: list[DownsampledTrack]


@dataclass(slots=True)
class _Sums:
    """What is summed up of one track: by span its microseconds, then the probabilities times them."""

    by_span: dict[int, list[float]] = field(default_factory=dict)

    def add(self, span: int, microseconds: int, probabilities: Sequence[float]) -> None:
        sums = self.by_span.setdefault(span, [0.0] * (1 + len(EMOTIONS)))
        sums[0] += microseconds
        for index, probability in enumerate(probabilities, start=1):
            sums[index] += microseconds * probability


def downsample(rows: Iterable[FrameRow], *, spans: int, end_seconds: float, rows_end_seconds: float) -> Downsampled:
    """Return the means of rows over equal spans of time.

    Args:
        rows: Rows from the first on, raw or smoothed; perhaps not all of them yet.
        spans: How many there shall be, at least 1.
        end_seconds: Where the last span ends; no row begins later.
        rows_end_seconds: Until when the last row is shown.
    """
    end = max(round(end_seconds * _MICROSECONDS), spans)
    tracks: dict[int, _Sums] = {}
    analysed = [0] * spans
    positions: list[int] = []
    cuts: dict[int, float] = {}
    without_face: list[tuple[int, int]] = []
    before: set[int] = set()
    count = 0
    for row, start, until in _iter_shown(rows, min(round(rows_end_seconds * _MICROSECONDS), end)):
        first, last = min(start * spans // end, spans - 1), min((until - 1) * spans // end, spans - 1)
        now = {face.track for face in row.faces}
        if before and now and before.isdisjoint(now):
            cuts.setdefault(first, row.pts_seconds)
        before = now
        if not now:
            is_going_on = without_face and without_face[-1][1] == start
            without_face.append((without_face.pop()[0] if is_going_on else start, until))
        faces = [(face.track, [face.probabilities[emotion] for emotion in EMOTIONS]) for face in row.faces]
        for span in range(first, last + 1):
            shown = max(min(until, -(-(span + 1) * end // spans)) - max(start, -(-span * end // spans)), 1)
            if shown <= _SLIVER and first < last:
                continue
            if span >= len(positions):
                # a span before it that no row touched is one that the first row had not reached
                positions += [count] * (span + 1 - len(positions))
            analysed[span] += shown
            for track, probabilities in faces:
                tracks.setdefault(track, _Sums()).add(span, shown, probabilities)
        count += 1
    return Downsampled(
        spans=spans,
        end_seconds=end / _MICROSECONDS,
        rows=count,
        positions=positions,
        cuts=list(cuts.values()),
        without_face=[
            (start / _MICROSECONDS, until / _MICROSECONDS)
            for start, until in without_face
            if (until - start + _SLIVER) * spans >= end
        ],
        tracks=[_create_track(track, sums, analysed) for track, sums in sorted(tracks.items())],
    )


def _iter_shown(rows: Iterable[FrameRow], rows_end: int) -> Iterator[tuple[FrameRow, int, int]]:
    """Yield each row with the microseconds at which it is shown first, and at which it is no longer."""
    previous: tuple[FrameRow, int] | None = None
    for row in rows:
        start = round(row.pts_seconds * _MICROSECONDS)
        if previous is not None:
            yield *previous, max(start, previous[1] + 1)
        previous = row, start
    if previous is not None:
        yield *previous, max(rows_end, previous[1] + 1)


def _create_track(track: int, sums: _Sums, analysed: Sequence[int]) -> DownsampledTrack:
    first, last = min(sums.by_span), max(sums.by_span)
    found = [sums.by_span.get(span) for span in range(first, last + 1)]
    return DownsampledTrack(
        track=track,
        first_span=first,
        seen=[entry[0] / analysed[span] if entry is not None else 0.0 for span, entry in enumerate(found, start=first)],
        means=[tuple(total / entry[0] for total in entry[1:]) if entry is not None else None for entry in found],
    )

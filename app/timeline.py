"""Timeline of a video: for each track, spans of time with one dominant expression.

Labels flicker between classes of almost equal probability, so a span ends only when another class leads by a margin
(hysteresis), and spans shorter than a minimum join the neighbour that their own probabilities fit better.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from model.labels import EMOTIONS, Emotion
from worker.contract import FrameRow

__all__ = ["Span", "create_timeline"]


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of one track during which one expression dominates."""

    track: int
    start_seconds: float
    end_seconds: float
    """When the first analysed frame after the span is shown; spans of a track follow each other without overlap."""
    emotion: Emotion
    mean_probability: float
    """Mean of the dominant class over the span's frames, 0..1."""
    frames: int


@dataclass(frozen=True, slots=True)
class _Sight:
    """One face of a track, and how long its frame is shown."""

    start_seconds: float
    end_seconds: float
    probabilities: tuple[float, ...]  # (7,) in the order of EMOTIONS


@dataclass(frozen=True, slots=True)
class _Run:
    """Consecutive sights with one label."""

    label: int
    sights: tuple[_Sight, ...]

    @property
    def seconds(self) -> float:
        return self.sights[-1].end_seconds - self.sights[0].start_seconds

    def mean(self, label: int) -> float:
        return sum(sight.probabilities[label] for sight in self.sights) / len(self.sights)


def create_timeline(
    rows: Iterable[FrameRow], *, min_span_seconds: float = 0.5, margin: float = 0.1, max_gap_seconds: float = 0.5
) -> list[Span]:
    """Return the spans of all tracks, in the order of tracks and times.

    Args:
        rows: All rows, raw or smoothed.
        min_span_seconds: Shorter spans join a neighbour; a track shorter than this is one span.
        margin: Lead in probability, 0..1, that another class needs to begin a new span.
        max_gap_seconds: A track unseen for longer than this ends its span, and begins a new one when it is back.
    """
    tracks: dict[int, list[_Sight]] = {}
    for row, end_seconds in _with_ends(rows):
        for face in row.faces:
            probabilities = tuple(face.probabilities[emotion] for emotion in EMOTIONS)
            tracks.setdefault(face.track, []).append(_Sight(row.pts_seconds, end_seconds, probabilities))
    return [
        _create_span(track, run)
        for track, sights in sorted(tracks.items())
        for stretch in _split_at_gaps(sights, max_gap_seconds)
        for run in _join_short(_split_at_changes(stretch, margin), min_span_seconds)
    ]


def _with_ends(rows: Iterable[FrameRow]) -> Iterator[tuple[FrameRow, float]]:
    """Yield each row with the time at which the next one is shown; the last is shown as long as the one before it."""
    previous: FrameRow | None = None
    shown_seconds = 0.0
    for row in rows:
        if previous is not None:
            shown_seconds = row.pts_seconds - previous.pts_seconds
            yield previous, row.pts_seconds
        previous = row
    if previous is not None:
        yield previous, previous.pts_seconds + shown_seconds


def _split_at_gaps(sights: Sequence[_Sight], max_gap_seconds: float) -> Iterator[Sequence[_Sight]]:
    begin = 0
    for index, (before, after) in enumerate(pairwise(sights), start=1):
        if after.start_seconds - before.end_seconds > max_gap_seconds:
            yield sights[begin:index]
            begin = index
    yield sights[begin:]


def _split_at_changes(sights: Sequence[_Sight], margin: float) -> list[_Run]:
    runs: list[_Run] = []
    label = _argmax(sights[0].probabilities)
    begin = 0
    for index, sight in enumerate(sights):
        leader = _argmax(sight.probabilities)
        if sight.probabilities[leader] > sight.probabilities[label] + margin:
            runs.append(_Run(label, tuple(sights[begin:index])))
            label, begin = leader, index
    runs.append(_Run(label, tuple(sights[begin:])))
    return runs


def _join_short(runs: list[_Run], min_span_seconds: float) -> list[_Run]:
    seconds = [run.seconds for run in runs]  # beside the runs: the search for the shortest is then one fast min()
    while len(runs) > 1 and min(seconds) < min_span_seconds:
        shortest = seconds.index(min(seconds))
        neighbours = [index for index in (shortest - 1, shortest + 1) if 0 <= index < len(runs)]
        target = max(neighbours, key=lambda index: runs[shortest].mean(runs[index].label))
        label = runs[target].label
        first, last = min(shortest, target), max(shortest, target)
        # both neighbours of the short run may have the label that it takes
        if first == shortest and first > 0 and runs[first - 1].label == label:
            first -= 1
        if last == shortest and last + 1 < len(runs) and runs[last + 1].label == label:
            last += 1
        joined = _Run(label, tuple(sight for run in runs[first : last + 1] for sight in run.sights))
        runs[first : last + 1] = [joined]
        seconds[first : last + 1] = [joined.seconds]
    return runs


def _create_span(track: int, run: _Run) -> Span:
    return Span(
        track=track,
        start_seconds=run.sights[0].start_seconds,
        end_seconds=run.sights[-1].end_seconds,
        emotion=EMOTIONS[run.label],
        mean_probability=run.mean(run.label),
        frames=len(run.sights),
    )


def _argmax(values: Sequence[float]) -> int:
    return max(range(len(values)), key=values.__getitem__)

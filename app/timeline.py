"""Timeline of a video: for each track, spans of time with one dominant expression.

Labels flicker between classes of almost equal probability, so a span ends only when another class leads by a margin
(hysteresis), and spans shorter than a minimum join the neighbour that their own probabilities fit better.
Rows are read once and dropped: what is kept are sums over stretches with one label.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush

from model.labels import EMOTIONS, Emotion
from worker.contract import FrameRow

__all__ = ["DEFAULT_HYSTERESIS", "DEFAULT_MIN_SPAN_SECONDS", "Span", "create_timeline"]

DEFAULT_MIN_SPAN_SECONDS = 0.5
DEFAULT_HYSTERESIS = 0.1


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


@dataclass(slots=True)
class _Run:
    """Consecutive faces of one track with one label."""

    label: int
    start_seconds: float
    end_seconds: float
    frames: int = 0
    sums: list[float] = field(default_factory=lambda: [0.0] * len(EMOTIONS))

    @property
    def seconds(self) -> float:
        return self.end_seconds - self.start_seconds

    def mean(self, label: int) -> float:
        return self.sums[label] / self.frames

    def add(self, probabilities: Sequence[float], *, end_seconds: float) -> None:
        self.frames += 1
        self.end_seconds = end_seconds
        self.sums = [a + b for a, b in zip(self.sums, probabilities, strict=True)]

    def append(self, later: "_Run") -> None:
        self.frames += later.frames
        self.end_seconds = later.end_seconds
        self.sums = [a + b for a, b in zip(self.sums, later.sums, strict=True)]


def create_timeline(
    rows: Iterable[FrameRow],
    *,
    min_span_seconds: float = DEFAULT_MIN_SPAN_SECONDS,
    margin: float = DEFAULT_HYSTERESIS,
    max_gap_seconds: float = 0.5,
) -> list[Span]:
    """Return the spans of all tracks, in the order of tracks and times.

    Args:
        rows: All rows, raw or smoothed.
        min_span_seconds: Shorter spans join a neighbour; a track shorter than this is one span.
        margin: Lead in probability, 0..1, that another class needs to begin a new span.
        max_gap_seconds: A track unseen for longer than this ends its span, and begins a new one when it is back.
    """
    spans: list[Span] = []
    seen: dict[int, list[_Run]] = {}
    for row, end_seconds in _with_ends(rows):
        for face in row.faces:
            runs = seen.setdefault(face.track, [])
            if runs and row.pts_seconds - runs[-1].end_seconds > max_gap_seconds:
                spans += _create_spans(face.track, runs, min_span_seconds)
                runs.clear()
            probabilities = [face.probabilities[emotion] for emotion in EMOTIONS]
            leader = probabilities.index(max(probabilities))
            if not runs or probabilities[leader] > probabilities[runs[-1].label] + margin:
                runs.append(_Run(leader, row.pts_seconds, end_seconds))
            runs[-1].add(probabilities, end_seconds=end_seconds)
    for track, runs in seen.items():
        spans += _create_spans(track, runs, min_span_seconds)
    return sorted(spans, key=lambda span: (span.track, span.start_seconds))


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


def _create_spans(track: int, runs: list[_Run], min_span_seconds: float) -> list[Span]:
    return [
        Span(
            track=track,
            start_seconds=run.start_seconds,
            end_seconds=run.end_seconds,
            emotion=EMOTIONS[run.label],
            mean_probability=run.mean(run.label),
            frames=run.frames,
        )
        for run in _join_short(runs, min_span_seconds)
    ]


def _join_short(runs: list[_Run], min_span_seconds: float) -> list[_Run]:
    """Join runs with a neighbour until none is too short or one is left: the shortest first, of equal ones the first.

    A heap and links between neighbours: an hour that flickers with every frame has as many runs as frames.
    """
    kept: list[_Run | None] = [*runs]
    before = list(range(-1, len(runs) - 1))
    after = list(range(1, len(runs) + 1))
    short = [(run.seconds, index) for index, run in enumerate(runs) if run.seconds < min_span_seconds]
    heapify(short)
    while short:
        seconds, index = heappop(short)
        run = kept[index]
        if run is None or run.seconds != seconds:
            continue  # joined since it was put here
        neighbours = {
            place: neighbour
            for place in (before[index], after[index])
            if 0 <= place < len(kept) and (neighbour := kept[place]) is not None
        }
        if not neighbours:
            break
        target = max(neighbours, key=lambda place: run.mean(neighbours[place].label))
        label = neighbours[target].label
        # both neighbours of the short run may have the label that it takes
        places = sorted([index, *(place for place, neighbour in neighbours.items() if neighbour.label == label)])
        joined = kept[places[0]]
        assert joined is not None, "only what is kept is linked"
        joined.label = label
        for place in places[1:]:
            later = kept[place]
            assert later is not None, "only what is kept is linked"
            joined.append(later)
            kept[place] = None
        after[places[0]] = after[places[-1]]
        if after[places[0]] < len(kept):
            before[after[places[0]]] = places[0]
        if joined.seconds < min_span_seconds:
            heappush(short, (joined.seconds, places[0]))
    return [run for run in kept if run is not None]

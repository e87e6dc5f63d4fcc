"""Summary of a video: for each track its span of time, its mean probabilities and how often each emotion led.

Rows are read once and dropped, so a video of any length takes the memory of its tracks. Free of torch and numpy.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from model.labels import EMOTIONS, Emotion
from worker.contract import FaceRow, FrameRow, TrackSummary

__all__ = ["summarise"]


def summarise(rows: Iterable[FrameRow]) -> list[TrackSummary]:
    """Sum up rows with final track numbers, in order of time; one entry per track, by its number."""
    tallies: dict[int, _Tally] = {}
    for row in rows:
        for face in row.faces:
            tally = tallies.setdefault(face.track, _Tally(start_seconds=row.pts_seconds))
            tally.add(face, pts_seconds=row.pts_seconds)
    return [tally.to_summary(track) for track, tally in sorted(tallies.items())]


@dataclass(slots=True)
class _Tally:
    """What is summed up of one track."""

    start_seconds: float
    end_seconds: float = 0.0
    frames: int = 0
    sums: dict[Emotion, float] = field(default_factory=lambda: dict.fromkeys(EMOTIONS, 0.0))
    leads: dict[Emotion, int] = field(default_factory=lambda: dict.fromkeys(EMOTIONS, 0))

    def add(self, face: FaceRow, *, pts_seconds: float) -> None:
        self.frames += 1
        self.end_seconds = pts_seconds
        self.leads[face.emotion] += 1
        for emotion, probability in face.probabilities.items():
            self.sums[emotion] += probability

    def to_summary(self, track: int) -> TrackSummary:
        means = {emotion: self.sums[emotion] / self.frames for emotion in EMOTIONS}
        return TrackSummary(
            track=track,
            frames=self.frames,
            start_seconds=self.start_seconds,
            end_seconds=self.end_seconds,
            emotion=max(EMOTIONS, key=means.__getitem__),
            mean_probabilities=means,
            shares={emotion: self.leads[emotion] / self.frames for emotion in EMOTIONS},
        )

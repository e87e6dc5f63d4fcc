"""Recipe for rows: what a worker would have stored, without a worker."""

from collections.abc import Mapping, Sequence

from model.labels import EMOTIONS, Emotion
from worker.contract import FaceRow, FrameRow


def create_face(track: int, emotion: Emotion = Emotion.HAPPINESS, *, probability: float = 0.7) -> FaceRow:
    """Return a face with one probable expression; the others share the rest."""
    rest = round((1 - probability) / (len(EMOTIONS) - 1), 6)
    return FaceRow(
        track=track,
        box=(10.0 * track, 20.5, 10.0 * track + 60, 90.25),
        score=0.998,
        landmarks=((1.0, 2.0), (3.0, 4.0), (5.0, 6.0), (7.0, 8.0), (9.0, 10.0)),
        emotion=emotion,
        probabilities={other: probability if other is emotion else rest for other in EMOTIONS},
    )


def create_rows(
    faces: Sequence[Sequence[FaceRow]], *, frames_per_second: float = 25.0, times: Mapping[int, float] | None = None
) -> list[FrameRow]:
    """Return one row for each list of faces, evenly spaced in time but for the frames that `times` names."""
    return [
        FrameRow(
            frame=frame, pts_seconds=(times or {}).get(frame, round(frame / frames_per_second, 6)), faces=tuple(found)
        )
        for frame, found in enumerate(faces)
    ]

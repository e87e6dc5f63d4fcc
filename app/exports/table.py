"""Rows as a table: one line a face and frame, and one for each frame without a face. CSV and Parquet share it."""

from collections.abc import Iterator

from model.labels import EMOTIONS
from worker.contract import FaceRow, FrameRow

__all__ = ["COLUMNS", "FRAME_COLUMNS", "Cell", "iter_cells"]

_LANDMARKS = ("left_eye", "right_eye", "nose", "left_mouth", "right_mouth")
"""Left and right as seen in the image."""

FRAME_COLUMNS: tuple[str, ...] = ("frame", "pts_seconds")
"""Filled in every line; the others are empty where a frame has no face."""
COLUMNS: tuple[str, ...] = (
    *FRAME_COLUMNS,
    "track",
    "x1",
    "y1",
    "x2",
    "y2",
    "score",
    "emotion",
    *(emotion.value for emotion in EMOTIONS),
    *(f"{landmark}_{axis}" for landmark in _LANDMARKS for axis in "xy"),
)
"""Columns are only ever added, at the end."""

Cell = int | float | str | None


def iter_cells(row: FrameRow) -> Iterator[list[Cell]]:
    """Yield the lines of a row, cells in the order of COLUMNS, None where empty."""
    start: list[Cell] = [row.frame, row.pts_seconds]
    if not row.faces:
        yield start + [None] * (len(COLUMNS) - len(start))
    for face in row.faces:
        yield start + _face_cells(face)


def _face_cells(face: FaceRow) -> list[Cell]:
    return [
        face.track,
        *face.box,
        face.score,
        face.emotion.value,
        *(face.probabilities[emotion] for emotion in EMOTIONS),
        *(coordinate for point in face.landmarks for coordinate in point),
    ]

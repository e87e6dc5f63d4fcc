"""Whole results as files, for the API and the command line alike: JSON, and CSV with one line a face and frame.

Both are written as a stream of pieces, so that the result of a long video never stands in memory as a whole.
"""

import csv
import io
from collections.abc import Iterable, Iterator
from itertools import islice

from pydantic import BaseModel, TypeAdapter

from model.labels import EMOTIONS
from worker.contract import FaceRow, FrameRow, JobOptions, ModelVersion, TrackSummary, VideoFacts

__all__ = ["CSV_COLUMNS", "ResultHead", "Summary", "iter_csv", "iter_json"]

_ROWS_A_PIECE = 500
_LANDMARKS = ("left_eye", "right_eye", "nose", "left_mouth", "right_mouth")
"""Left and right as seen in the image."""

CSV_COLUMNS: tuple[str, ...] = (
    "frame",
    "pts_seconds",
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

_ROW_LIST: TypeAdapter[list[FrameRow]] = TypeAdapter(list[FrameRow])


class Summary(BaseModel):
    """What the whole video comes to."""

    tracks: list[TrackSummary]


class ResultHead(BaseModel):
    """Everything of a result but its rows."""

    video: VideoFacts
    model: ModelVersion
    options: JobOptions
    smoothing_seconds: float = 0.0
    summary: Summary


def iter_json(head: ResultHead, rows: Iterable[FrameRow]) -> Iterator[bytes]:
    """Yield one JSON object: the head's fields and `rows`, as the API returns them."""
    opened = head.model_dump_json().removesuffix("}")
    yield f'{opened},"rows":['.encode()
    separator = b"\n"  # a line break between pieces keeps lines bearable for editors
    remaining = iter(rows)
    while piece := list(islice(remaining, _ROWS_A_PIECE)):
        yield separator + _ROW_LIST.dump_json(piece)[1:-1]
        separator = b",\n"
    yield b"\n]}\n"


def iter_csv(rows: Iterable[FrameRow]) -> Iterator[bytes]:
    """Yield CSV with a header line, UTF-8, CRLF (RFC 4180).

    A frame without a face has one line, its face columns empty: so every analysed frame is there.
    """
    yield _csv_lines([CSV_COLUMNS])
    remaining = iter(rows)
    while piece := list(islice(remaining, _ROWS_A_PIECE)):
        yield _csv_lines(cells for row in piece for cells in _iter_cells(row))


def _csv_lines(lines: Iterable[Iterable[object]]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text).writerows(lines)
    return text.getvalue().encode()


def _iter_cells(row: FrameRow) -> Iterator[list[object]]:
    start: list[object] = [row.frame, row.pts_seconds]
    if not row.faces:
        yield start + [""] * (len(CSV_COLUMNS) - len(start))
    for face in row.faces:
        yield start + _face_cells(face)


def _face_cells(face: FaceRow) -> list[object]:
    return [
        face.track,
        *face.box,
        face.score,
        face.emotion,
        *(face.probabilities[emotion] for emotion in EMOTIONS),
        *(coordinate for point in face.landmarks for coordinate in point),
    ]

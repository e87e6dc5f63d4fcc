"""Exports: read back by the readers that people use."""

import csv
import io
import json

import pytest

from app.exports.csv import iter_csv
from app.exports.head import ResultHead
from app.exports.json import iter_json
from app.exports.table import COLUMNS
from model.labels import EMOTIONS, Emotion
from tests.app.results import create_head
from tests.app.rows import create_face, create_rows
from worker.contract import FrameRow

HEAD = create_head()


@pytest.fixture(scope="module")
def rows() -> list[FrameRow]:
    """More rows than are written at once; the third frame without a face, the fourth with two."""
    faces = [[create_face(1, Emotion.SADNESS)] for _ in range(1200)]
    return create_rows([*faces[:2], [], [create_face(1), create_face(2)], *faces[4:]])


def test_iter_json_holds_the_head_and_every_row(rows: list[FrameRow]) -> None:
    result = json.loads(b"".join(iter_json(HEAD, rows)))

    assert [FrameRow.model_validate(row) for row in result.pop("rows")] == rows
    assert ResultHead.model_validate(result) == HEAD


def test_iter_json_of_no_rows_is_still_json() -> None:
    assert json.loads(b"".join(iter_json(HEAD, [])))["rows"] == []


def test_iter_csv_has_a_line_for_each_face_of_each_frame(rows: list[FrameRow]) -> None:
    lines = list(csv.DictReader(io.StringIO(b"".join(iter_csv(rows)).decode(), newline="")))

    assert len(lines) == 1201
    assert [(line["frame"], line["track"]) for line in lines[3:5]] == [("3", "1"), ("3", "2")]
    assert [float(lines[0][emotion]) for emotion in EMOTIONS] == list(rows[0].faces[0].probabilities.values())
    assert [float(lines[0][edge]) for edge in ("x1", "y1", "x2", "y2")] == list(rows[0].faces[0].box)
    assert lines[0]["emotion"] == "sadness"
    assert float(lines[1]["pts_seconds"]) == rows[1].pts_seconds


def test_iter_csv_keeps_a_frame_without_faces(rows: list[FrameRow]) -> None:
    lines = list(csv.DictReader(io.StringIO(b"".join(iter_csv(rows)).decode(), newline="")))

    assert lines[2]["frame"] == "2"
    assert {value for name, value in lines[2].items() if name not in ("frame", "pts_seconds")} == {""}


def test_csv_columns_stay_as_they_are() -> None:
    expected = (
        *("frame", "pts_seconds", "track", "x1", "y1", "x2", "y2", "score", "emotion"),
        *("neutral", "anger", "disgust", "fear", "happiness", "sadness", "surprise"),
        *("left_eye_x", "left_eye_y", "right_eye_x", "right_eye_y", "nose_x", "nose_y"),
        *("left_mouth_x", "left_mouth_y", "right_mouth_x", "right_mouth_y"),
    )
    assert expected == COLUMNS

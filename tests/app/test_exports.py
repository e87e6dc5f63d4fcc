"""Exports as text: JSON, NDJSON and CSV, read back by the readers that people use."""

import csv
import io
import json
import math

import pandas as pd
import pytest

from app.exports.csv import iter_csv
from app.exports.head import ResultHead
from app.exports.json import iter_head_json, iter_json
from app.exports.ndjson import iter_ndjson
from app.exports.table import COLUMNS
from model.labels import EMOTIONS, Emotion
from tests.app.results import create_head
from tests.app.rows import create_face, create_rows
from worker.contract import FaceRow, FrameRow

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


def test_csv_has_no_cell_that_a_spreadsheet_would_run(rows: list[FrameRow]) -> None:
    lines = csv.reader(io.StringIO(b"".join(iter_csv(rows)).decode(), newline=""))
    texts = {cell for line in list(lines)[1:] for cell in line if not is_number(cell)}

    assert texts <= {"", *EMOTIONS}


def is_number(cell: str) -> bool:
    try:
        return math.isfinite(float(cell))
    except ValueError:
        return False


def test_csv_round_trips_through_pandas(rows: list[FrameRow]) -> None:
    table = pd.read_csv(io.BytesIO(b"".join(iter_csv(rows))))

    assert tuple(table.columns) == COLUMNS
    assert table["frame"].nunique() == 1200
    assert table["track"].isna().sum() == 1
    assert table["happiness"].dropna().tolist() == [face.probabilities[Emotion.HAPPINESS] for face in faces_of(rows)]


def test_iter_ndjson_types_every_line_and_counts_the_rows(rows: list[FrameRow]) -> None:
    lines = [json.loads(line) for line in b"".join(iter_ndjson(HEAD, rows)).splitlines()]

    assert [line.pop("type") for line in lines] == ["head", *["row"] * 1200, "end"]
    assert ResultHead.model_validate(lines[0]) == HEAD
    assert [FrameRow.model_validate(line) for line in lines[1:-1]] == rows
    assert lines[-1] == {"rows": 1200}


def test_iter_ndjson_yields_the_head_before_a_row_is_read() -> None:
    def read(row: FrameRow) -> FrameRow:
        raise AssertionError("read too early")

    assert json.loads(next(iter_ndjson(HEAD, map(read, create_rows([[]])))))["type"] == "head"


def test_iter_ndjson_round_trips_through_pandas(rows: list[FrameRow]) -> None:
    table = pd.read_json(io.BytesIO(b"".join(iter_ndjson(HEAD, rows))), lines=True, precise_float=True)

    read = table[table["type"] == "row"]
    assert read["pts_seconds"].tolist() == [row.pts_seconds for row in rows]
    assert read["faces"].map(len).tolist() == [len(row.faces) for row in rows]


def test_the_head_alone_is_the_provenance() -> None:
    assert ResultHead.model_validate_json(b"".join(iter_head_json(HEAD))) == HEAD


def test_provenance_names_weights_labels_versions_options_and_times() -> None:
    head = json.loads(b"".join(iter_head_json(HEAD)))

    assert len(head["model"]["sha256"]) == len(head["model"]["detector_sha256"]) == len(head["source"]["sha256"]) == 64
    assert head["model"]["labels"] == [emotion.value for emotion in EMOTIONS]
    assert {"emoclip", "torch", "pyav", "ffmpeg", "device", "precision"} <= head["model"]["runtime"].keys()
    assert head["options"]["sample_fps"] == 25
    assert {"smoothing_seconds", "created_at", "started_at", "finished_at", "exporter"} <= head.keys()


def faces_of(rows: list[FrameRow]) -> list[FaceRow]:
    return [face for row in rows for face in row.faces]

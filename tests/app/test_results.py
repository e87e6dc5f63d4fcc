"""Results over HTTP: every format by `format` and by `Accept`, its headers, and what is refused."""

import io
import json
from pathlib import Path
from typing import Any

import httpx
import pandas as pd
import pyarrow.parquet as pq
import pytest
import webvtt

from app.exports.formats import MEDIA_TYPES, ExportFormat
from app.exports.head import Result, ResultHead
from app.main import create_app
from app.smoothing import iter_smoothed
from model.labels import EMOTIONS
from tests.app.conftest import run_server
from tests.app.rows import create_face, create_rows
from tests.app.stored_jobs import create_job_with_rows
from tests.worker.jobs import MODEL
from worker.contract import FrameRow
from worker.settings import QueueSettings
from worker.work_store import WorkStore


@pytest.fixture(scope="module")
def rows() -> list[FrameRow]:
    """Several blobs' worth: two tracks whose expressions change, the second one not always there."""
    return create_rows(
        [
            [create_face(1, EMOTIONS[frame // 50 % 7]), create_face(2, EMOTIONS[frame // 90 % 7])][: 1 + frame % 2]
            for frame in range(600)
        ]
    )


@pytest.fixture
def path(store: WorkStore, rows: list[FrameRow]) -> str:
    """Path of the result of a finished job."""
    return f"/v1/jobs/{create_job_with_rows(store, rows)}/result"


@pytest.mark.parametrize("export_format", ExportFormat)
def test_each_format_has_its_type_name_and_link_to_the_provenance(
    client: httpx.Client, path: str, export_format: ExportFormat
) -> None:
    response = client.get(path, params={"format": export_format, "smoothing_seconds": 1})

    assert response.status_code == 200
    assert response.headers["content-type"] == MEDIA_TYPES[export_format]
    assert response.headers["content-disposition"].endswith(f'.{export_format.suffix}"')
    assert "Accept" in response.headers["vary"]
    head = ResultHead.model_validate(client.get(response.links["describedby"]["url"]).json())
    assert (head.smoothing_seconds, head.model, head.source.file_name) == (1.0, MODEL, "talk.mp4")


@pytest.mark.parametrize(
    ("accept", "export_format"),
    [
        ("*/*", ExportFormat.JSON),
        ("application/x-ndjson", ExportFormat.NDJSON),
        ("application/jsonl", ExportFormat.NDJSON),
        ("text/csv", ExportFormat.CSV),
        ("application/vnd.apache.parquet", ExportFormat.PARQUET),
        ("text/vtt, application/json;q=0.5", ExportFormat.VTT),
        ("application/x-subrip", ExportFormat.SRT),
    ],
)
def test_accept_chooses_the_format(client: httpx.Client, path: str, accept: str, export_format: ExportFormat) -> None:
    by_accept = client.get(path, headers={"Accept": accept})

    assert by_accept.headers["content-type"] == MEDIA_TYPES[export_format]
    assert by_accept.content == client.get(path, params={"format": export_format}).content


def test_format_wins_over_accept(client: httpx.Client, path: str) -> None:
    response = client.get(path, params={"format": "csv"}, headers={"Accept": "application/json"})

    assert response.headers["content-type"].startswith("text/csv")


def test_accept_of_something_else_is_a_problem_that_names_what_there_is(client: httpx.Client, path: str) -> None:
    response = client.get(path, headers={"Accept": "application/pdf"})

    problem: dict[str, Any] = response.json()
    assert (response.status_code, problem["code"]) == (406, "not_acceptable")
    assert response.headers["content-type"] == "application/problem+json"
    assert "text/csv" in problem["detail"]
    assert "Accept" in response.headers["vary"]


@pytest.mark.parametrize("parameters", [{"format": "xlsx"}, {"format": "vtt", "hysteresis": 2}, {"hysteresis": 0.2}])
def test_a_parameter_that_does_not_fit_is_refused(client: httpx.Client, path: str, parameters: dict[str, Any]) -> None:
    response = client.get(path, params=parameters)

    assert (response.status_code, response.json()["code"]) == (422, "invalid_parameter")


def test_json_is_documented_as_what_it_is(client: httpx.Client, path: str, rows: list[FrameRow]) -> None:
    result = Result.model_validate_json(client.get(path).content)

    assert result.rows == rows
    assert result.head().exporter.startswith("emoclip ")


def test_tables_are_the_same_by_csv_and_parquet(client: httpx.Client, path: str) -> None:
    by_csv = pd.read_csv(io.BytesIO(client.get(path, params={"format": "csv"}).content))
    by_parquet = pd.read_parquet(io.BytesIO(client.get(path, params={"format": "parquet"}).content))

    pd.testing.assert_frame_equal(by_csv, by_parquet, check_dtype=False)


def test_smoothing_reaches_every_format(client: httpx.Client, path: str, rows: list[FrameRow]) -> None:
    content = client.get(path, params={"format": "parquet", "smoothing_seconds": 2}).content

    expected = [
        face.probabilities[EMOTIONS[3]] for row in iter_smoothed(rows, smoothing_seconds=2) for face in row.faces
    ]
    assert pq.read_table(io.BytesIO(content))[EMOTIONS[3].value].to_pylist() == expected


def test_ndjson_ends_with_the_number_of_rows(client: httpx.Client, path: str) -> None:
    with client.stream("GET", path, params={"format": "ndjson"}) as response:
        lines = list(response.iter_lines())

    assert json.loads(lines[0])["type"] == "head"
    assert json.loads(lines[-1]) == {"type": "end", "rows": 600}


def test_captions_take_their_parameters(client: httpx.Client, path: str, tmp_path: Path) -> None:
    counts = []
    for seconds in (60, 0):
        vtt = tmp_path / f"{seconds}.vtt"
        vtt.write_bytes(client.get(path, params={"format": "vtt", "min_span_seconds": seconds}).content)
        counts.append(len(webvtt.read(str(vtt))))

    assert counts == [2, 12 + 7]


def test_link_keeps_the_prefix_of_a_proxy(queue: QueueSettings, store: WorkStore, rows: list[FrameRow]) -> None:
    job_id = create_job_with_rows(store, rows)
    with run_server(create_app(queue=queue), root_path="/emotions") as url:
        response = httpx.get(f"{url}/v1/jobs/{job_id}/result", trust_env=False)

    assert response.links["describedby"]["url"] == f"/emotions/v1/jobs/{job_id}/result?format=provenance"

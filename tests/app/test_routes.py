"""Reading, listing and erasing jobs: rows by pages, smoothed, whole; what is not there or not yet."""

import csv
import io
import logging
from typing import Any

import httpx
import pytest
import redis

from app.main import create_app
from app.schemas import FramesPage, Job
from app.smoothing import iter_smoothed
from model.labels import EMOTIONS
from tests.app.conftest import CreateServer, run_server
from tests.app.rows import create_face, create_rows
from tests.app.stored_jobs import create_job, create_job_with_rows
from worker.contract import ErrorCode, FrameRow, JobFailure, JobState
from worker.settings import QueueSettings
from worker.store import new_job_id
from worker.work_store import WorkStore

MISSING = "0123456789abcdef" * 2


@pytest.fixture(scope="module")
def rows() -> list[FrameRow]:
    """Several blobs' worth: two tracks whose expressions change, the second one not always there."""
    return create_rows(
        [
            [create_face(1, EMOTIONS[frame // 10 % 7]), create_face(2, EMOTIONS[frame // 3 % 7])][: 1 + frame % 2]
            for frame in range(600)
        ]
    )


def read_all(client: httpx.Client, job_id: str, **parameters: float) -> list[FrameRow]:
    rows: list[FrameRow] = []
    start: int | None = 0
    while start is not None:
        page = read_page(client, job_id, start=start, **parameters)
        rows += page.rows
        start = page.next
    return rows


def read_page(client: httpx.Client, job_id: str, **parameters: float) -> FramesPage:
    response = client.get(f"/v1/jobs/{job_id}/frames", params=parameters)
    assert response.status_code == 200, response.text
    return FramesPage.model_validate_json(response.content)


def assert_problem(response: httpx.Response, status: int, code: str) -> dict[str, Any]:
    problem: dict[str, Any] = response.json()
    assert (response.status_code, problem["status"], problem["code"]) == (status, status, code), problem
    assert response.headers["content-type"] == "application/problem+json"
    assert response.headers["x-request-id"] == problem["request_id"]
    return problem


def fail(store: WorkStore, job_id: str, message: str) -> None:
    lease = store.claim_index(job_id)
    assert lease is not None
    assert store.fail(lease, JobFailure(code=ErrorCode.NO_VIDEO_STREAM, message=message))


# one job


def test_get_job_shows_a_queued_job(client: httpx.Client, store: WorkStore) -> None:
    job_id = create_job(store)

    response = client.get(f"/v1/jobs/{job_id}")

    job = Job.model_validate_json(response.content)
    assert (job.id, job.state, job.summary, job.links.result) == (job_id, JobState.QUEUED, None, None)
    assert job.upload.file_name == "talk.mp4"
    assert int(response.headers["retry-after"]) >= 1


def test_get_job_shows_progress(client: httpx.Client, store: WorkStore, rows: list[FrameRow]) -> None:
    job_id = create_job_with_rows(store, rows, segments_done=10)

    job = Job.model_validate_json(client.get(f"/v1/jobs/{job_id}").content)

    assert (job.state, job.rows_ready) == (JobState.PROCESSING, 400)
    assert (job.progress.frames_done, job.progress.frames_total) == (400, 600)
    assert job.progress.frames_per_second is not None
    assert job.progress.frames_per_second > 0
    assert job.progress.eta_seconds == pytest.approx(200 / job.progress.frames_per_second, rel=0.05)
    assert job.video is not None


def test_get_job_shows_a_finished_job(client: httpx.Client, store: WorkStore, rows: list[FrameRow]) -> None:
    job_id = create_job_with_rows(store, rows)

    response = client.get(f"/v1/jobs/{job_id}")

    job = Job.model_validate_json(response.content)
    assert job.state is JobState.SUCCEEDED
    assert job.summary is not None
    assert [(track.track, track.frames) for track in job.summary.tracks] == [(1, 600), (2, 300)]
    assert job.model is not None
    assert job.links.result == f"/v1/jobs/{job_id}/result"
    assert "retry-after" not in response.headers


def test_get_job_shows_why_it_failed(client: httpx.Client, store: WorkStore) -> None:
    job_id = create_job(store)
    fail(store, job_id, "The file has no video stream.")

    job = client.get(f"/v1/jobs/{job_id}").json()

    assert job["state"] == "failed"
    assert job["error"] == {"code": "no_video_stream", "message": "The file has no video stream."}


@pytest.mark.parametrize("path", ["", "/frames", "/result"])
@pytest.mark.parametrize("job_id", [MISSING, "x", MISSING + ":rows", MISSING + "0", "..%2F..%2Fetc", "%00", "ü"])
def test_unknown_job_is_not_found(client: httpx.Client, store: WorkStore, job_id: str, path: str) -> None:
    assert_problem(client.get(f"/v1/jobs/{job_id}{path}"), 404, "job_not_found" if "%2F" not in job_id else "not_found")


# rows


@pytest.mark.parametrize("limit", [30, 256, 600, 10_000])
def test_list_frames_pages_through_all_rows(
    client: httpx.Client, store: WorkStore, rows: list[FrameRow], limit: int
) -> None:
    job_id = create_job_with_rows(store, rows)

    assert read_all(client, job_id, limit=limit) == rows


def test_list_frames_starts_anywhere(client: httpx.Client, store: WorkStore, rows: list[FrameRow]) -> None:
    job_id = create_job_with_rows(store, rows)

    page = read_page(client, job_id, start=250, limit=20)

    assert page.rows == rows[250:270]
    assert (page.start, page.next, page.state) == (250, 270, JobState.SUCCEEDED)


def test_list_frames_beyond_the_end_is_the_end(client: httpx.Client, store: WorkStore, rows: list[FrameRow]) -> None:
    job_id = create_job_with_rows(store, rows)

    page = read_page(client, job_id, start=5000)

    assert (page.rows, page.next) == ([], None)


def test_list_frames_of_a_running_job_promises_more(
    client: httpx.Client, store: WorkStore, rows: list[FrameRow]
) -> None:
    job_id = create_job_with_rows(store, rows, segments_done=3)

    first, second = read_page(client, job_id), read_page(client, job_id, start=120)

    assert (first.rows, first.next, first.state) == (rows[:120], 120, JobState.PROCESSING)
    assert (second.rows, second.next) == ([], 120)


def test_list_frames_of_a_canceled_job_ends_with_what_there_is(
    client: httpx.Client, store: WorkStore, rows: list[FrameRow]
) -> None:
    job_id = create_job_with_rows(store, rows, segments_done=3)
    store.cancel(job_id)

    page = read_page(client, job_id)

    assert (page.rows, page.next, page.state) == (rows[:120], None, JobState.CANCELED)


@pytest.mark.parametrize("limit", [1, 77, 1000])
@pytest.mark.parametrize("smoothing_seconds", [0.2, 2.0, 25.0])
def test_list_frames_smooths_over_the_borders_of_pages(
    client: httpx.Client, store: WorkStore, rows: list[FrameRow], limit: int, smoothing_seconds: float
) -> None:
    rows = rows[:: 10 if limit == 1 else 1]  # pages of one row are many requests
    job_id = create_job_with_rows(store, rows)

    smoothed = read_all(client, job_id, limit=limit, smoothing_seconds=smoothing_seconds)

    assert smoothed == list(iter_smoothed(rows, smoothing_seconds=smoothing_seconds))


def test_list_frames_smooths_while_the_job_runs_as_it_will_at_the_end(
    client: httpx.Client, store: WorkStore, rows: list[FrameRow]
) -> None:
    job_id = create_job_with_rows(store, rows, segments_done=10)

    page = read_page(client, job_id, smoothing_seconds=2.0)

    assert page.rows == list(iter_smoothed(rows, smoothing_seconds=2.0))[: len(page.rows)]
    assert page.next == len(page.rows)
    assert 400 - 27 <= len(page.rows) < 400  # half a window, and the row on its border


@pytest.mark.parametrize(
    "parameters",
    [
        {"start": -1},
        {"limit": 0},
        {"limit": 10_001},
        {"start": "x"},
        {"smoothing_seconds": -1},
        {"smoothing_seconds": "nan"},
        {"smoothing_seconds": 1e9},
        {"smothing_seconds": 1},
    ],
)
def test_list_frames_names_a_refused_parameter(
    client: httpx.Client, store: WorkStore, parameters: dict[str, Any]
) -> None:
    response = client.get(f"/v1/jobs/{create_job(store)}/frames", params=parameters)

    problem = assert_problem(response, 422, "invalid_parameter")
    assert [error["parameter"] for error in problem["errors"]] == list(parameters)


def test_rows_are_compressed_for_clients_that_ask(client: httpx.Client, store: WorkStore, rows: list[FrameRow]) -> None:
    job_id = create_job_with_rows(store, rows)

    response = client.get(f"/v1/jobs/{job_id}/frames", headers={"Accept-Encoding": "gzip"})

    assert response.headers["content-encoding"] == "gzip"
    assert FramesPage.model_validate_json(response.content).rows == rows


# whole results


@pytest.mark.parametrize("smoothing_seconds", [0.0, 1.5])
def test_result_as_json_holds_everything(
    client: httpx.Client, store: WorkStore, rows: list[FrameRow], smoothing_seconds: float
) -> None:
    job_id = create_job_with_rows(store, rows)

    response = client.get(f"/v1/jobs/{job_id}/result", params={"smoothing_seconds": smoothing_seconds})

    result = response.json()
    assert {"source", "video", "model", "options", "smoothing_seconds", "summary", "rows"} <= set(result)
    assert result["video"]["analysed_frames"] == len(rows)
    assert result["smoothing_seconds"] == smoothing_seconds
    expected = list(iter_smoothed(rows, smoothing_seconds=smoothing_seconds))
    assert [FrameRow.model_validate(row) for row in result["rows"]] == expected
    assert response.headers["content-disposition"] == f'attachment; filename="emoclip-{job_id}.json"'


def test_result_as_csv_has_a_line_for_each_face(client: httpx.Client, store: WorkStore, rows: list[FrameRow]) -> None:
    job_id = create_job_with_rows(store, rows)

    response = client.get(f"/v1/jobs/{job_id}/result", params={"format": "csv"})

    lines = list(csv.DictReader(io.StringIO(response.text, newline="")))
    assert response.headers["content-type"].startswith("text/csv")
    assert [(int(line["frame"]), int(line["track"])) for line in lines] == [
        (row.frame, face.track) for row in rows for face in row.faces
    ]


def test_result_of_an_unfinished_job_is_a_conflict(client: httpx.Client, store: WorkStore) -> None:
    problem = assert_problem(client.get(f"/v1/jobs/{create_job(store)}/result"), 409, "result_not_ready")

    assert "still queued" in problem["detail"]


def test_result_of_a_failed_job_says_why(client: httpx.Client, store: WorkStore) -> None:
    job_id = create_job(store)
    fail(store, job_id, "The file has no video stream.")

    problem = assert_problem(client.get(f"/v1/jobs/{job_id}/result"), 409, "result_not_ready")

    assert "The file has no video stream." in problem["detail"]


def test_result_in_an_unknown_format_is_refused(client: httpx.Client, store: WorkStore) -> None:
    response = client.get(f"/v1/jobs/{create_job(store)}/result", params={"format": "xlsx"})

    assert_problem(response, 422, "invalid_parameter")


# lists


def test_list_jobs_pages_newest_first(client: httpx.Client, store: WorkStore) -> None:
    ids = sorted((create_job(store) for _ in range(7)), reverse=True)

    pages = []
    cursor: dict[str, str] = {}
    while True:
        page = client.get("/v1/jobs", params={"limit": 3, **cursor}).json()
        pages.append([job["id"] for job in page["jobs"]])
        if page["next"] is None:
            break
        cursor = {"cursor": page["next"]}

    assert pages == [ids[:3], ids[3:6], ids[6:]]


def test_list_jobs_of_an_empty_store_is_empty(client: httpx.Client) -> None:
    assert client.get("/v1/jobs").json() == {"jobs": [], "next": None}


@pytest.mark.parametrize("parameters", [{"cursor": "x"}, {"cursor": "(" + MISSING}, {"limit": 0}, {"limit": 201}])
def test_list_jobs_names_a_refused_parameter(client: httpx.Client, parameters: dict[str, Any]) -> None:
    assert_problem(client.get("/v1/jobs", params=parameters), 422, "invalid_parameter")


# erasing


def test_delete_erases_upload_and_every_key(
    client: httpx.Client, queue: QueueSettings, redis_client: redis.Redis
) -> None:
    job_id = client.post("/v1/jobs", content=b"video").json()["id"]

    response = client.delete(f"/v1/jobs/{job_id}")

    assert (response.status_code, response.content) == (204, b"")
    assert list(queue.media_dir.iterdir()) == []
    assert redis_client.keys("emoclip:*") == []
    assert_problem(client.get(f"/v1/jobs/{job_id}"), 404, "job_not_found")


def test_delete_stops_a_running_job(client: httpx.Client, store: WorkStore, rows: list[FrameRow]) -> None:
    job_id = create_job_with_rows(store, rows, segments_done=1)
    lease = store.claim_segment(job_id, 1)
    assert lease is not None

    client.delete(f"/v1/jobs/{job_id}")

    assert not store.renew(lease)


def test_delete_twice_is_not_found(client: httpx.Client, store: WorkStore) -> None:
    job_id = create_job(store)
    client.delete(f"/v1/jobs/{job_id}")

    assert_problem(client.delete(f"/v1/jobs/{job_id}"), 404, "job_not_found")


# the service itself


def test_healthz_answers_without_redis(create_server: CreateServer, queue: QueueSettings) -> None:
    url = create_server(queue=queue.model_copy(update={"redis_url": "redis://127.0.0.1:1/0"}))

    assert httpx.get(url + "/healthz").json() == {"status": "ok"}


def test_readyz_waits_for_a_worker(client: httpx.Client, store: WorkStore) -> None:
    assert_problem(client.get("/readyz"), 503, "not_ready")

    store.beat("worker-1")

    assert client.get("/readyz").json() == {"status": "ready", "workers": 1}


def test_readyz_says_that_redis_is_away(create_server: CreateServer, queue: QueueSettings) -> None:
    url = create_server(queue=queue.model_copy(update={"redis_url": "redis://127.0.0.1:1/0"}))

    assert "Redis" in assert_problem(httpx.get(url + "/readyz"), 503, "not_ready")["detail"]


def test_reading_says_that_redis_is_away(create_server: CreateServer, queue: QueueSettings) -> None:
    url = create_server(queue=queue.model_copy(update={"redis_url": "redis://127.0.0.1:1/0"}))

    response = httpx.get(f"{url}/v1/jobs/{new_job_id()}")

    assert_problem(response, 503, "queue_unavailable")
    assert "retry-after" in response.headers


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nowhere", 404, "not_found"),
        ("PATCH", "/v1/jobs", 405, "method_not_allowed"),
        ("PUT", f"/v1/jobs/{MISSING}", 405, "method_not_allowed"),
    ],
)
def test_framework_errors_are_problems(client: httpx.Client, method: str, path: str, status: int, code: str) -> None:
    assert_problem(client.request(method, path), status, code)


def test_links_keep_the_prefix_of_a_proxy(queue: QueueSettings, store: WorkStore) -> None:
    with run_server(create_app(queue=queue), root_path="/faces") as url:
        job = httpx.get(f"{url}/v1/jobs/{create_job(store)}").json()

    assert job["links"]["self"] == f"/faces/v1/jobs/{job['id']}"


def test_request_id_of_the_client_is_kept_if_harmless(client: httpx.Client) -> None:
    kept = client.get("/healthz", headers={"X-Request-ID": "proxy-17"}).headers["x-request-id"]
    replaced = client.get("/healthz", headers={"X-Request-ID": "<script>"}).headers["x-request-id"]

    assert kept == "proxy-17"
    assert replaced not in ("", "<script>")


def test_request_is_logged_without_its_query(client: httpx.Client, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        request_id = client.post("/v1/jobs", params={"file_name": "private.mp4"}, content=b"x").headers["x-request-id"]
        client.get("/v1/nowhere%0Aforged line")

    assert "POST /v1/jobs 202, " in caplog.text
    assert request_id in caplog.text
    assert "private" not in " ".join(record.getMessage() for record in caplog.records if record.name != "httpx")
    assert "\nforged" not in caplog.text

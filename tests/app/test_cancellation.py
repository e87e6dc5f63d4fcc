"""Canceling a job over HTTP: what stops, what stays, and that doing it again changes nothing."""

import shutil

import httpx
import pytest

from app.schemas import Job
from tests.app.rows import create_face, create_rows
from tests.app.stored_jobs import create_job, create_job_with_rows
from worker.contract import FrameRow, JobState
from worker.settings import QueueSettings
from worker.work_store import ERASE, Bell, WorkStore


@pytest.fixture
def rows() -> list[FrameRow]:
    return create_rows([[create_face(1)]] * 80)


def cancel(client: httpx.Client, job_id: str) -> Job:
    response = client.post(f"/v1/jobs/{job_id}/cancel")
    assert response.status_code == 200, response.text
    return Job.model_validate_json(response.content)


def test_cancel_stops_a_running_job_and_keeps_its_rows(
    client: httpx.Client, store: WorkStore, rows: list[FrameRow]
) -> None:
    job_id = create_job_with_rows(store, rows, segments_done=1)
    lease = store.claim_segment(job_id, 1)
    assert lease is not None

    job = cancel(client, job_id)

    assert (job.id, job.state, job.rows_ready) == (job_id, JobState.CANCELED, 40)
    assert not store.renew(lease)
    page = client.get(f"/v1/jobs/{job_id}/frames").json()
    assert (len(page["rows"]), page["next"]) == (40, None)


def test_cancel_erases_the_upload_at_once(client: httpx.Client, queue: QueueSettings) -> None:
    job_id = client.post("/v1/jobs", content=b"video").json()["id"]

    assert cancel(client, job_id).state is JobState.CANCELED

    assert list(queue.media_dir.iterdir()) == []


@pytest.mark.parametrize(("method", "path"), [("DELETE", ""), ("POST", "/cancel")])
def test_upload_that_cannot_be_erased_is_left_to_the_sweeper(
    client: httpx.Client, queue: QueueSettings, store: WorkStore, method: str, path: str
) -> None:
    job_id = client.post("/v1/jobs", content=b"video").json()["id"]
    shutil.rmtree(queue.media_dir / job_id)
    (queue.media_dir / job_id).touch()  # no directory: erasing it fails

    assert client.request(method, f"/v1/jobs/{job_id}{path}").is_success

    assert store.sweep() == [Bell(job_id, ERASE)]


def test_cancel_again_changes_nothing(client: httpx.Client, store: WorkStore) -> None:
    job_id = create_job(store)
    first = cancel(client, job_id)

    again = cancel(client, job_id)

    assert (again.state, again.finished_at) == (JobState.CANCELED, first.finished_at)


def test_cancel_leaves_a_finished_job_as_it_is(client: httpx.Client, store: WorkStore, rows: list[FrameRow]) -> None:
    job_id = create_job_with_rows(store, rows)

    assert cancel(client, job_id).state is JobState.SUCCEEDED

    assert client.get(f"/v1/jobs/{job_id}/result").status_code == 200


@pytest.mark.parametrize("job_id", ["0123456789abcdef" * 2, "x"])
def test_cancel_of_an_unknown_job_is_not_found(client: httpx.Client, job_id: str) -> None:
    response = client.post(f"/v1/jobs/{job_id}/cancel")

    assert (response.status_code, response.json()["code"]) == (404, "job_not_found")

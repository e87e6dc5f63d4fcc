"""Live results and webhooks when an API process is killed: the next one goes on where it stopped."""

import threading
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import httpx
import pytest
import redis
import trustme
from standardwebhooks import Webhook

from tests.app.api_process import ApiProcess
from tests.app.event_source import Event, iter_events
from tests.app.receiver import SECRET, Receiver, run_receiver, write_secrets
from tests.app.rows import create_face, create_rows
from tests.app.stored_jobs import create_job_with_rows
from tests.worker.jobs import poll
from worker.contract import FrameRow, JobRecord
from worker.settings import QueueSettings
from worker.store import new_job_id
from worker.work_store import WorkStore

WAIT_SECONDS = 120

pytestmark = pytest.mark.timeout(600)  # processes start here, and a machine may be busy


@pytest.fixture
def receiver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    """A receiver to which the processes started after it may send webhooks."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "authority.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))
    monkeypatch.setenv("EMOCLIP_WEBHOOK_SECRET_FILE", str(write_secrets(tmp_path / "secrets", SECRET)))
    monkeypatch.setenv("EMOCLIP_WEBHOOK_ALLOWED_NETWORKS", '["127.0.0.0/8", "::1/128"]')
    monkeypatch.setenv("EMOCLIP_WEBHOOK_TIMEOUT_SECONDS", "1")
    monkeypatch.setenv("EMOCLIP_WEBHOOK_RETRY_SECONDS", str([0.1] * 20))
    with run_receiver(authority) as receiver:
        yield receiver


@pytest.fixture
def queue(redis_url: str, redis_client: redis.Redis, tmp_path: Path) -> QueueSettings:
    return QueueSettings(redis_url=redis_url, media_dir=tmp_path / "media")


def collect(url: str, job_id: str, events: list[Event], *, last_event_id: str = "") -> None:
    """Read a stream until it ends or breaks."""
    headers = {"Last-Event-ID": last_event_id} if last_event_id else {}
    with (
        suppress(httpx.TransportError),
        httpx.stream("GET", f"{url}/v1/jobs/{job_id}/events", headers=headers, timeout=WAIT_SECONDS) as response,
    ):
        for event in iter_events(response):
            events.append(event)


def rows_of(events: list[Event]) -> list[FrameRow]:
    return [FrameRow.model_validate(row) for event in events if event.name == "rows" for row in event.data["rows"]]


def test_stream_and_webhook_outlive_the_process_that_served_them(
    queue: QueueSettings, redis_client: redis.Redis, receiver: Receiver, tmp_path: Path
) -> None:
    store = WorkStore(redis_client, queue)
    rows = create_rows([[create_face(1)] for _ in range(250)])
    followed = create_job_with_rows(store, rows, segments_done=3)
    announced = new_job_id()
    store.create(JobRecord(job_id=announced, callback_url=receiver.url))
    released = threading.Event()
    receiver.delay = lambda: released.wait(WAIT_SECONDS)
    events: list[Event] = []
    with ExitStack() as stack:
        first = ApiProcess(queue, tmp_path / "first.log")
        stack.callback(first.stop)
        first.start()
        reading = threading.Thread(target=collect, args=[first.url, followed, events])
        reading.start()
        assert poll(lambda: len(rows_of(events)) == 120, seconds=WAIT_SECONDS)
        store.cancel(announced)
        assert poll(lambda: receiver.messages, seconds=WAIT_SECONDS)  # and answered by nobody

        first.kill()
        reading.join()
        tried = len(receiver.messages)
        second = ApiProcess(queue, tmp_path / "second.log")
        stack.callback(second.stop)
        second.start()
        released.set()
        store.cancel(followed)
        collect(second.url, followed, events, last_event_id=events[-1].id)
        assert poll(lambda: len(receiver.messages) > tried, seconds=WAIT_SECONDS)

    assert rows_of(events) == rows[:120]
    assert events[-1].name == "end"
    assert {message.headers["webhook-id"] for message in receiver.messages} == {f"msg_{announced}"}
    last = receiver.messages[-1]
    assert Webhook(SECRET).verify(last.body, dict(last.headers))["type"] == "job.canceled"

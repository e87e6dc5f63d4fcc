"""Live results: the stream of a job's events, how it is taken up again, and requests that wait for the job's end."""

import asyncio
import logging
import threading
from collections.abc import AsyncGenerator, Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis
from starlette.types import Message

from app.events import EventStream
from app.keys import hash_key
from app.main import create_app
from app.preferences import LONGEST_WAIT_SECONDS, parse_wait
from app.settings import ApiSettings
from app.smoothing import iter_smoothed
from model.labels import EMOTIONS
from tests.app.conftest import CreateServer, run_server
from tests.app.event_source import Event, iter_events
from tests.app.rows import create_face, create_rows
from tests.app.stored_jobs import create_facts, create_job, create_job_with_rows
from tests.worker.jobs import MODEL, create_plans, poll
from worker.contract import CLIP_FRAMES, FrameRow, JobState, SegmentRows, StitchState
from worker.settings import QueueSettings
from worker.store import new_job_id
from worker.work_store import WorkStore

FRAMES = 400
SEGMENT_FRAMES = 5 * CLIP_FRAMES


@pytest.fixture(scope="module")
def rows() -> list[FrameRow]:
    return create_rows([[create_face(1, EMOTIONS[frame // 10 % 7])] for frame in range(FRAMES)])


def follow(client: httpx.Client, job_id: str, **parameters: object) -> list[Event]:
    """Read a stream to its end, without comments."""
    with client.stream("GET", f"/v1/jobs/{job_id}/events", params=parameters, timeout=60) as response:  # type: ignore[arg-type]  # bools are fine
        assert response.status_code == 200
        return [event for event in iter_events(response) if event.name]


def rows_of(events: list[Event]) -> list[FrameRow]:
    return [FrameRow.model_validate(row) for event in events if event.name == "rows" for row in event.data["rows"]]


def put_segment(store: WorkStore, job_id: str, number: int, rows: list[FrameRow]) -> None:
    """Do what a worker does with one more segment of a job made by create_job_with_rows."""
    start = number * SEGMENT_FRAMES
    lease = store.claim_segment(job_id, number)
    assert lease is not None
    part = SegmentRows(segment=number, rows=tuple(rows[start : start + SEGMENT_FRAMES]))
    store.put_segment(lease, part, model=MODEL)
    store.advance_stitching(job_id, keep_tracks)


def keep_tracks(state: StitchState, segment: SegmentRows) -> tuple[SegmentRows, StitchState]:
    return segment, StitchState(next_segment=state.next_segment + 1)


def finish(store: WorkStore, job_id: str, rows: list[FrameRow]) -> None:
    lease = store.claim_finish(job_id)
    assert lease is not None
    assert store.succeed(lease, [], video=create_facts(rows))


def has_free_slot(url: str) -> bool:
    with httpx.stream("GET", url) as response:
        return response.status_code == 200


class Follower:
    """A client that reads a stream in a thread of its own."""

    def __init__(self, url: str, job_id: str, **parameters: str) -> None:
        self.events: list[Event] = []
        self._url = f"{url}/v1/jobs/{job_id}/events"
        self._parameters = parameters
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        with httpx.stream("GET", self._url, params=self._parameters, timeout=60) as response:
            for event in iter_events(response):
                self.events.append(event)

    def names(self) -> list[str]:
        return [event.name for event in self.events if event.name]

    def wait_for(self, condition: Callable[[], object]) -> None:
        assert poll(condition, seconds=60), self.names()

    def wait_until_closed(self) -> None:
        self._thread.join(60)
        assert not self._thread.is_alive()


# the stream


def test_stream_of_a_finished_job_holds_everything_and_ends(
    client: httpx.Client, store: WorkStore, rows: list[FrameRow]
) -> None:
    job_id = create_job_with_rows(store, rows)

    events = follow(client, job_id)

    assert [event.name for event in events] == ["state", "progress", *["rows"] * (FRAMES // 100), "end"]
    assert rows_of(events) == rows
    assert events[0].data == client.get(f"/v1/jobs/{job_id}").json() | {"expires_at": events[0].data["expires_at"]}
    assert events[1].data["rows_ready"] == FRAMES
    assert events[-1].data["reason"] == "ended"
    assert events[-1].data["job"]["summary"]["tracks"][0]["frames"] == FRAMES


def test_stream_shows_a_running_job_as_it_goes_on(url: str, store: WorkStore, rows: list[FrameRow]) -> None:
    job_id = create_job(store)
    follower = Follower(url, job_id)
    follower.wait_for(lambda: follower.names() == ["state", "progress"])
    assert follower.events[1].data["state"] == "queued"

    lease = store.claim_index(job_id)
    assert lease is not None
    follower.wait_for(
        lambda: [event.data["state"] for event in follower.events if event.name == "state"][-1:] == ["processing"]
    )
    store.put_plans(lease, create_facts(rows[: 2 * CLIP_FRAMES]), create_plans(2))
    for number in range(2):
        segment = store.claim_segment(job_id, number)
        assert segment is not None
        store.renew(segment, frames_done=5)
        follower.wait_for(partial(has_progress, follower, number * CLIP_FRAMES + 5))
        part = SegmentRows(segment=number, rows=tuple(rows[number * CLIP_FRAMES : (number + 1) * CLIP_FRAMES]))
        store.put_segment(segment, part, model=MODEL)
        store.advance_stitching(job_id, keep_tracks)
        follower.wait_for(partial(has_rows, follower, (number + 1) * CLIP_FRAMES))
    finish(store, job_id, rows[: 2 * CLIP_FRAMES])

    follower.wait_until_closed()
    assert follower.names()[-1] == "end"
    assert rows_of(follower.events) == rows[: 2 * CLIP_FRAMES]


def has_progress(follower: Follower, frames_done: int) -> bool:
    return bool(last(follower, "progress")["frames_done"] == frames_done)


def has_rows(follower: Follower, count: int) -> bool:
    return len(rows_of(follower.events)) == count


def last(follower: Follower, name: str) -> Any:  # any JSON
    return [event.data for event in follower.events if event.name == name][-1]


def test_stream_without_rows_carries_state_and_progress(
    client: httpx.Client, store: WorkStore, rows: list[FrameRow]
) -> None:
    events = follow(client, create_job_with_rows(store, rows), rows="false")

    assert [event.name for event in events] == ["state", "progress", "end"]


@pytest.mark.parametrize("segments_done", [3, None], ids=["running", "finished"])
def test_streamed_rows_are_smoothed_like_the_whole(
    url: str, store: WorkStore, rows: list[FrameRow], segments_done: int | None
) -> None:
    job_id = create_job_with_rows(store, rows, segments_done=segments_done)
    follower = Follower(url, job_id, smoothing_seconds="1.0")
    for number in range(segments_done or FRAMES, FRAMES // SEGMENT_FRAMES):
        put_segment(store, job_id, number, rows)
    if segments_done is not None:
        finish(store, job_id, rows)

    follower.wait_until_closed()

    assert rows_of(follower.events) == list(iter_smoothed(rows, smoothing_seconds=1.0))


def test_failed_job_ends_the_stream_with_its_reason(client: httpx.Client, store: WorkStore) -> None:
    job_id = create_job(store)
    store.cancel(job_id)

    events = follow(client, job_id)

    assert [event.name for event in events] == ["state", "progress", "end"]
    assert events[-1].data["job"]["state"] == "canceled"


def test_erased_job_ends_the_stream(url: str, store: WorkStore) -> None:
    job_id = create_job(store)
    follower = Follower(url, job_id)
    follower.wait_for(follower.names)

    assert httpx.delete(f"{url}/v1/jobs/{job_id}").status_code == 204

    follower.wait_until_closed()
    assert follower.events[-1].data == {"reason": "erased", "job": None}


def test_rows_that_were_made_void_are_sent_anew(url: str, store: WorkStore, rows: list[FrameRow]) -> None:
    job_id = create_job_with_rows(store, rows, segments_done=2)
    follower = Follower(url, job_id)
    follower.wait_for(lambda: len(rows_of(follower.events)) == 2 * SEGMENT_FRAMES)

    lease = store.claim_segment(job_id, 2)
    assert lease is not None
    other = rows[:CLIP_FRAMES][::-1]
    assert store.put_plans(lease, create_facts(other), create_plans(1))
    lease = store.claim_segment(job_id, 0)
    assert lease is not None
    store.put_segment(lease, SegmentRows(segment=0, rows=tuple(other)), model=MODEL)
    store.advance_stitching(job_id, keep_tracks)
    finish(store, job_id, other)

    follower.wait_until_closed()
    names = follower.names()
    assert rows_of(follower.events[len(follower.events) - names[::-1].index("reset") - 1 :]) == other


# taken up again


@pytest.mark.parametrize("how", ["header", "parameter"])
def test_every_id_leads_to_the_rows_that_follow(
    client: httpx.Client, store: WorkStore, rows: list[FrameRow], how: str
) -> None:
    job_id = create_job_with_rows(store, rows)
    events = follow(client, job_id)
    for number, event in enumerate(events[:-1]):
        headers, parameters = (
            ({"Last-Event-ID": event.id}, {}) if how == "header" else ({}, {"last_event_id": event.id})
        )

        with client.stream("GET", f"/v1/jobs/{job_id}/events", headers=headers, params=parameters) as response:
            rest = list(iter_events(response))

        assert rows_of(events[: number + 1]) + rows_of(rest) == rows


def test_nothing_follows_the_end(client: httpx.Client, store: WorkStore, rows: list[FrameRow]) -> None:
    job_id = create_job_with_rows(store, rows[:8])
    end = follow(client, job_id)[-1]

    response = client.get(f"/v1/jobs/{job_id}/events", headers={"Last-Event-ID": end.id})

    assert (response.status_code, response.content) == (204, b"")


def test_another_process_takes_the_stream_up(
    client: httpx.Client, store: WorkStore, rows: list[FrameRow], create_server: CreateServer
) -> None:
    job_id = create_job_with_rows(store, rows)
    events = follow(client, job_id)
    middle = len(events) // 2
    other = f"{create_server()}/v1/jobs/{job_id}/events"

    with httpx.stream("GET", other, headers={"Last-Event-ID": events[middle].id}) as response:
        rest = list(iter_events(response))

    assert rows_of(events[: middle + 1]) + rows_of(rest) == rows


def test_id_of_void_rows_starts_anew(client: httpx.Client, store: WorkStore, rows: list[FrameRow]) -> None:
    job_id = create_job_with_rows(store, rows[:8])

    events = follow(client, job_id, last_event_id="7-5")

    assert events[0].name == "reset"
    assert rows_of(events) == rows[:8]


@pytest.mark.parametrize("event_id", ["x", "1", "1-2-3", "-1-2", "1-²", "1-" + "9" * 12, "1-2-END"])
def test_id_that_is_not_ours_is_refused(client: httpx.Client, store: WorkStore, event_id: str) -> None:
    response = client.get(f"/v1/jobs/{create_job(store)}/events", params={"last_event_id": event_id})

    assert (response.status_code, response.json()["code"]) == (422, "invalid_parameter")


# what it costs, and its end


def test_silent_stream_gives_signs_of_life(store: WorkStore, create_server: CreateServer) -> None:
    url = create_server(stream_heartbeat_seconds=0.05)

    with httpx.stream("GET", f"{url}/v1/jobs/{create_job(store)}/events") as response:
        events = iter_events(response)
        seen = [next(events) for _ in range(6)]

    assert [event.name for event in seen] == ["", "state", "progress", "", "", ""]


def test_events_are_not_held_back_by_compression(client: httpx.Client, store: WorkStore) -> None:
    job_id = create_job(store)

    with client.stream("GET", f"/v1/jobs/{job_id}/events", headers={"Accept-Encoding": "gzip"}) as response:
        assert "content-encoding" not in response.headers
        assert next(iter_events(response)) is not None

    assert response.headers["cache-control"] == "no-store"
    assert response.headers["x-accel-buffering"] == "no"


def test_streams_are_counted_and_freed_when_their_clients_leave(store: WorkStore, create_server: CreateServer) -> None:
    path = f"{create_server(max_streams_at_once=2)}/v1/jobs/{create_job(store)}/events"
    with httpx.Client() as client, client.stream("GET", path), client.stream("GET", path):
        refused = client.get(path)
    assert (refused.status_code, refused.json()["code"]) == (429, "too_many_streams")
    assert "retry-after" in refused.headers

    assert poll(lambda: has_free_slot(path), seconds=60)


def test_many_idle_streams_leave_room_for_other_requests(url: str, store: WorkStore, rows: list[FrameRow]) -> None:
    job_id = create_job(store)
    finished = create_job_with_rows(store, rows)
    with (
        httpx.Client(base_url=url, limits=httpx.Limits(max_connections=None), timeout=60) as client,
        ExitStack() as stack,
    ):
        streams = [stack.enter_context(client.stream("GET", f"/v1/jobs/{job_id}/events")) for _ in range(100)]
        assert {response.status_code for response in streams} == {200}

        assert client.get("/v1/jobs").status_code == 200
        assert rows_of(follow(client, finished)) == rows


def test_client_that_reads_nothing_is_given_up(caplog: pytest.LogCaptureFixture) -> None:
    is_closed = False

    async def iter_bytes() -> AsyncGenerator[bytes]:
        nonlocal is_closed
        try:
            while True:
                yield b"data: 1\n\n"
        finally:
            is_closed = True

    async def receive() -> Message:
        await asyncio.Event().wait()
        raise AssertionError

    async def send(message: Message) -> None:
        if message["type"] == "http.response.body":
            await asyncio.Event().wait()

    scope: dict[str, Any] = {"type": "http", "asgi": {"spec_version": "2.3"}}
    with caplog.at_level(logging.INFO, logger="app.events"):
        asyncio.run(EventStream(iter_bytes(), stall_seconds=0.01)(scope, receive, send))

    assert is_closed
    assert "did not read" in caplog.text


def test_open_streams_and_waiting_requests_do_not_hold_up_the_end_of_the_server(
    queue: QueueSettings, store: WorkStore
) -> None:
    app = create_app(ApiSettings(min_free_bytes=0, max_streams_at_once=2), queue=queue)
    job_id = create_job(store)
    answers: list[httpx.Response] = []

    def wait(url: str) -> None:
        answers.append(httpx.get(f"{url}/v1/jobs/{job_id}", headers={"Prefer": "wait=50"}, timeout=60))

    with run_server(app, graceful_seconds=3600) as url:
        follower = Follower(url, job_id)
        follower.wait_for(follower.names)
        waiting = threading.Thread(target=wait, args=[url])
        waiting.start()
        assert poll(lambda: app.state.live.slots.count() == 2, seconds=60)

    follower.wait_until_closed()
    waiting.join()
    assert "end" not in follower.names()
    assert answers[0].json()["state"] == "queued"


def test_stream_outlives_a_pause_of_redis(url: str, store: WorkStore, redis_client: redis.Redis) -> None:
    job_id = create_job(store)
    follower = Follower(url, job_id)
    follower.wait_for(follower.names)

    redis_client.client_kill_filter(_type="normal", skipme=True)
    store.cancel(job_id)

    follower.wait_until_closed()
    assert follower.events[-1].data["job"]["state"] == "canceled"


# whose job


def test_events_of_a_foreign_or_missing_job_do_not_exist(
    store: WorkStore, create_server: CreateServer, tmp_path: Path
) -> None:
    keys = tmp_path / "keys"
    keys.write_text(f"alice {hash_key('a')}\nbob {hash_key('b')}\n")
    url = create_server(api_keys_file=keys)
    job_id = create_job(store, owner="alice")
    store.cancel(job_id)

    def ask(key: str, wanted: str) -> int:
        return httpx.get(f"{url}/v1/jobs/{wanted}/events", headers={"X-API-Key": key}).status_code

    assert (ask("", job_id), ask("b", job_id), ask("b", new_job_id()), ask("a", job_id)) == (401, 404, 404, 200)


# requests that wait


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (["wait=30"], 30),
        (['respond-async, WAIT = "7"; x=1'], 7),
        (['a="x, wait=3"', "wait=5, wait=6"], 5),
        (["wait=100000000000000"], LONGEST_WAIT_SECONDS),
        (["wait"], 0),
        (["wait=-1"], 0),
        (["wait=1.5"], 0),
        (["wait=²"], 0),
        (["handling=lenient"], 0),
        ([], 0),
    ],
)
def test_parse_wait_reads_the_preference(header: list[str], seconds: int) -> None:
    assert parse_wait(header) == seconds


def test_waiting_request_is_answered_when_the_job_ends(url: str, store: WorkStore) -> None:
    job_id = create_job(store)
    answers: list[httpx.Response] = []

    def wait() -> None:
        answers.append(httpx.get(f"{url}/v1/jobs/{job_id}", headers={"Prefer": "wait=50"}, timeout=60))

    with httpx.stream("GET", f"{url}/v1/jobs/{job_id}/events"):
        waiting = threading.Thread(target=wait)
        waiting.start()
        assert store.claim_index(job_id) is not None  # a change that is no end
        store.cancel(job_id)
        waiting.join()

    assert answers[0].json()["state"] == "canceled"
    assert answers[0].headers["preference-applied"] == "wait=50"
    assert "retry-after" not in answers[0].headers


def test_waiting_request_is_answered_when_the_time_is_over(client: httpx.Client, store: WorkStore) -> None:
    response = client.get(f"/v1/jobs/{create_job(store)}", headers={"Prefer": "wait=1"})

    assert response.json()["state"] == JobState.QUEUED
    assert response.headers["preference-applied"] == "wait=1"
    assert "retry-after" in response.headers


def test_ended_job_is_answered_at_once(client: httpx.Client, store: WorkStore) -> None:
    job_id = create_job(store)
    store.cancel(job_id)

    response = client.get(f"/v1/jobs/{job_id}", headers={"Prefer": "wait=50"})

    assert (response.json()["state"], response.headers["preference-applied"]) == ("canceled", "wait=50")


def test_with_too_many_waiting_a_request_is_answered_at_once(store: WorkStore, create_server: CreateServer) -> None:
    url, job_id = create_server(max_streams_at_once=1), create_job(store)

    with httpx.stream("GET", f"{url}/v1/jobs/{job_id}/events"):
        response = httpx.get(f"{url}/v1/jobs/{job_id}", headers={"Prefer": "wait=50"})

    assert response.status_code == 200
    assert "preference-applied" not in response.headers


def test_waiting_ends_when_the_client_leaves(store: WorkStore, create_server: CreateServer) -> None:
    url, job_id = create_server(max_streams_at_once=1), create_job(store)
    with pytest.raises(httpx.ReadTimeout):
        httpx.get(f"{url}/v1/jobs/{job_id}", headers={"Prefer": "wait=50"}, timeout=0.5)

    assert poll(lambda: has_free_slot(f"{url}/v1/jobs/{job_id}/events"), seconds=30)


def test_job_erased_meanwhile_is_not_found(url: str, store: WorkStore) -> None:
    job_id = create_job(store)
    follower = Follower(url, job_id, rows="false")
    follower.wait_for(follower.names)
    threading.Timer(0.2, store.delete, [job_id]).start()

    response = httpx.get(f"{url}/v1/jobs/{job_id}", headers={"Prefer": "wait=50"}, timeout=60)

    follower.wait_until_closed()
    assert response.status_code == 404

"""`Idempotency-Key`: the same request makes one job, however often it is made, and whatever becomes of its process."""

import hashlib
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
import redis
from starlette.datastructures import Headers

from app.idempotency import read_idempotency_key
from app.upload_errors import InvalidHeaderError
from tests.app.conftest import CreateServer
from tests.app.uploading import VIDEO, assert_accepted, assert_refused, is_untouched, iter_pieces, wait_until
from worker.intake_store import RESERVATION_SECONDS
from worker.settings import QueueSettings

KEY = "8e03978e-40d5-43e8-bc93-6894a57f9324"


@pytest.fixture
def jobs_url(url: str) -> str:
    return url + "/v1/jobs"


def send(jobs_url: str, video: bytes = VIDEO, parameters: dict[str, str] | None = None) -> httpx.Response:
    return httpx.post(jobs_url, content=video, params=parameters, headers={"Idempotency-Key": KEY}, timeout=60)


def find_reservation(client: redis.Redis) -> str:
    (name,) = client.scan_iter("emoclip:reserved:*")
    return str(name.decode())


@contextmanager
def request_in_flight(url: str, queue: QueueSettings) -> Iterator[socket.socket]:
    """Send the first bytes of a video, and hang up in the end."""
    with socket.create_connection(("127.0.0.1", int(url.split(":")[2].split("/")[0])), timeout=60) as connection:
        head = (
            f"POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nIdempotency-Key: {KEY}\r\n"
            f"Content-Length: {len(VIDEO)}\r\n\r\n"
        )
        connection.sendall(head.encode() + VIDEO[:1000])
        wait_until(lambda: any(queue.media_dir.glob("*/*")))
        yield connection


@contextmanager
def repeated_request(url: str) -> Iterator[socket.socket]:
    """Send the head of a request whose key has a job, until the API has looked that up and asks for the body."""
    with socket.create_connection(("127.0.0.1", int(url.split(":")[2].split("/")[0])), timeout=60) as connection:
        head = (
            f"POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nIdempotency-Key: {KEY}\r\nConnection: close\r\n"
            f"Content-Length: {len(VIDEO)}\r\nExpect: 100-continue\r\n\r\n"
        )
        connection.sendall(head.encode())
        assert connection.recv(12) == b"HTTP/1.1 100"
        yield connection


def finish_request(connection: socket.socket) -> bytes:
    """Send the body; returns the answer."""
    connection.sendall(VIDEO)
    answer = b"".join(iter(lambda: connection.recv(65536), b""))
    return answer[answer.index(b"HTTP/1.1 ") :]


def test_same_request_gets_the_same_job(jobs_url: str, queue: QueueSettings, redis_client: redis.Redis) -> None:
    job_id = assert_accepted(send(jobs_url), queue)

    again = send(jobs_url)
    in_pieces = httpx.post(jobs_url, content=iter_pieces(), headers={"Idempotency-Key": f'"{KEY}"'})

    assert assert_accepted(again, queue, status=200) == assert_accepted(in_pieces, queue, status=200) == job_id
    assert [path.name for path in queue.media_dir.iterdir()] == [job_id]
    assert redis_client.llen(queue.queue_name) == 1


def test_another_video_is_refused(jobs_url: str, queue: QueueSettings) -> None:
    job_id = assert_accepted(send(jobs_url), queue)

    assert_refused(send(jobs_url, VIDEO[:-1]), 422, "idempotency_key_used")
    assert [path.name for path in queue.media_dir.iterdir()] == [job_id]


@pytest.mark.parametrize("parameters", [{"sample_fps": "5"}, {"file_name": "other.mp4"}])
def test_other_options_are_refused(jobs_url: str, queue: QueueSettings, parameters: dict[str, str]) -> None:
    assert_accepted(send(jobs_url), queue)

    assert_refused(send(jobs_url, VIDEO, parameters), 422, "idempotency_key_used")


def test_answer_is_the_job_as_it_is_when_the_body_has_arrived(jobs_url: str, queue: QueueSettings) -> None:
    job_id = assert_accepted(send(jobs_url), queue)

    with repeated_request(jobs_url) as again:
        assert httpx.post(f"{jobs_url}/{job_id}/cancel").is_success
        answer = finish_request(again)

    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b'"state":"canceled"' in answer


def test_job_that_is_erased_while_the_body_arrives_is_a_conflict(jobs_url: str, queue: QueueSettings) -> None:
    job_id = assert_accepted(send(jobs_url), queue)

    with repeated_request(jobs_url) as again:
        assert httpx.delete(f"{jobs_url}/{job_id}").is_success
        answer = finish_request(again)

    assert answer.startswith(b"HTTP/1.1 409 ")
    assert b'"idempotency_key_busy"' in answer


def test_request_while_the_first_is_in_flight_is_a_conflict(
    jobs_url: str, queue: QueueSettings, redis_client: redis.Redis
) -> None:
    with request_in_flight(jobs_url, queue) as first:
        response = send(jobs_url)
        first.sendall(VIDEO[1000:])
        assert first.recv(12) == b"HTTP/1.1 202"

    assert_refused(response, 409, "idempotency_key_busy")
    assert int(response.headers["retry-after"]) >= 1
    assert_accepted(send(jobs_url), queue, status=200)


def test_key_of_a_request_that_was_cut_off_is_free_again(
    jobs_url: str, queue: QueueSettings, redis_client: redis.Redis
) -> None:
    with request_in_flight(jobs_url, queue):
        pass
    wait_until(lambda: is_untouched(queue, redis_client))

    assert_accepted(send(jobs_url), queue)


def test_key_of_a_request_that_was_refused_is_free_again(
    jobs_url: str, queue: QueueSettings, redis_client: redis.Redis
) -> None:
    assert_refused(send(jobs_url, b""), 422, "empty_upload")
    assert_refused(send(jobs_url, bytes(6_000_000)), 413, "upload_too_large")
    wait_until(lambda: is_untouched(queue, redis_client))

    assert_accepted(send(jobs_url), queue)


def test_key_in_flight_is_free_soon_after_its_process_died(
    jobs_url: str, queue: QueueSettings, redis_client: redis.Redis
) -> None:
    with request_in_flight(jobs_url, queue):
        ttl_ms = redis_client.pttl(find_reservation(redis_client))

    assert isinstance(ttl_ms, int)
    assert 0 < ttl_ms <= RESERVATION_SECONDS * 1000


def test_request_whose_key_was_lost_to_another_makes_no_job(
    jobs_url: str, queue: QueueSettings, redis_client: redis.Redis
) -> None:
    with request_in_flight(jobs_url, queue) as first:
        redis_client.delete(find_reservation(redis_client))  # as it expires where a process stands still for long
        job_id = assert_accepted(send(jobs_url), queue)
        first.sendall(VIDEO[1000:])
        assert first.recv(12) == b"HTTP/1.1 409"

    assert [path.name for path in queue.media_dir.iterdir()] == [job_id]


def test_key_is_forgotten_with_its_job(jobs_url: str, queue: QueueSettings, redis_client: redis.Redis) -> None:
    job_id = assert_accepted(send(jobs_url), queue)
    key_ttl, job_ttl = (redis_client.pttl(key) for key in (find_reservation(redis_client), f"emoclip:job:{job_id}"))

    httpx.delete(f"{jobs_url}/{job_id}")

    assert abs(key_ttl - job_ttl) < 60_000
    assert is_untouched(queue, redis_client)
    assert assert_accepted(send(jobs_url), queue) != job_id


def test_key_belongs_to_its_owner(create_server: CreateServer, queue: QueueSettings, tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.write_text("".join(f"{name} {hashlib.sha256(name.encode()).hexdigest()}\n" for name in ("alice", "bob")))
    jobs_url = create_server(api_keys_file=keys) + "/v1/jobs"

    jobs = [
        assert_accepted(httpx.post(jobs_url, content=VIDEO, headers={"Idempotency-Key": KEY, "X-API-Key": name}), queue)
        for name in ("alice", "bob")
    ]

    assert len(set(jobs)) == 2


def test_many_requests_at_once_make_one_job(jobs_url: str, queue: QueueSettings) -> None:
    with ThreadPoolExecutor(8) as pool:
        responses = list(pool.map(lambda _: send(jobs_url), range(8)))

    statuses = [response.status_code for response in responses]
    assert statuses.count(202) == 1
    assert set(statuses) <= {200, 202, 409}
    assert len(list(queue.media_dir.iterdir())) == 1


@pytest.mark.parametrize("key", [b"", b'"', b'""', b'"open', b"a b", b"x" * 256, "schlüssel".encode()])
def test_what_is_no_key_is_refused(jobs_url: str, queue: QueueSettings, key: bytes) -> None:
    response = httpx.post(jobs_url, content=VIDEO, headers={b"Idempotency-Key": key})

    assert_refused(response, 400, "invalid_header")
    assert not queue.media_dir.exists()


def test_quotes_are_no_part_of_the_key() -> None:
    assert read_idempotency_key(Headers({"Idempotency-Key": r'"a\"b\\c d"'})) == r'a"b\c d'
    assert read_idempotency_key(Headers({"Idempotency-Key": "a-b"})) == "a-b"
    assert read_idempotency_key(Headers({})) is None


def test_two_keys_are_refused() -> None:
    with pytest.raises(InvalidHeaderError):
        read_idempotency_key(Headers(raw=[(b"idempotency-key", b"a"), (b"idempotency-key", b"b")]))

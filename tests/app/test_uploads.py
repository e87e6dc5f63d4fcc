"""Uploads over a real socket: what is accepted, what is refused and when, and that nothing is left of what failed."""

import contextlib
import hashlib
import http.client
import resource
import socket
import struct
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import redis

from app.main import create_app
from app.redis_server import run_redis_server
from tests.app.conftest import CreateServer, run_server
from tests.app.uploading import (
    VIDEO,
    assert_accepted,
    assert_refused,
    is_untouched,
    iter_pieces,
    wait_until,
)
from worker.celery_app import INDEX_JOB
from worker.settings import QueueSettings


@pytest.fixture
def jobs_url(url: str) -> str:
    return url + "/v1/jobs"


@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_raw_body_becomes_a_job(jobs_url: str, queue: QueueSettings, method: str) -> None:
    assert_accepted(httpx.request(method, jobs_url, content=VIDEO), queue)


def test_chunked_body_becomes_a_job(jobs_url: str, queue: QueueSettings) -> None:
    assert_accepted(httpx.post(jobs_url, content=iter_pieces()), queue)


@pytest.mark.parametrize("content_type", ["video/mp4", "application/octet-stream", "application/x-www-form-urlencoded"])
def test_raw_body_of_a_usual_type_becomes_a_job(jobs_url: str, queue: QueueSettings, content_type: str) -> None:
    assert_accepted(httpx.post(jobs_url, content=VIDEO, headers={"Content-Type": content_type}), queue)


def test_form_becomes_a_job(jobs_url: str, queue: QueueSettings) -> None:
    response = httpx.post(jobs_url, files={"video": ("talk.mp4", VIDEO, "video/mp4")})

    assert_accepted(response, queue)
    assert response.json()["upload"]["file_name"] == "talk.mp4"


def test_form_is_parsed_wherever_the_pieces_are_cut(jobs_url: str, queue: QueueSettings) -> None:
    video = b"\r\n--b\r\n-\r\n--\r\n--boundar" * 20  # full of what looks like the boundary
    body = (
        b'--boundary\r\nContent-Disposition: form-data; name="video"; filename="x"\r\n\r\n'
        + video
        + b"\r\n--boundary--\r\n"
    )
    headers = {"Content-Type": "multipart/form-data; boundary=boundary"}

    response = httpx.post(jobs_url, content=iter_pieces(body, 7), headers=headers)

    assert response.json()["upload"]["sha256"] == hashlib.sha256(video).hexdigest()


def test_accepted_job_rings_its_doorbell(jobs_url: str, queue: QueueSettings, redis_client: redis.Redis) -> None:
    httpx.post(jobs_url, content=VIDEO)

    message = redis_client.lindex(queue.queue_name, 0)

    assert isinstance(message, bytes)
    assert INDEX_JOB.encode() in message


def test_options_are_query_parameters(jobs_url: str) -> None:
    response = httpx.post(jobs_url, params={"sample_fps": 5, "max_faces": 2, "min_face_pixels": 40}, content=VIDEO)

    assert response.json()["options"] == {
        "sample_fps": 5.0,
        "max_faces": 2,
        "min_face_pixels": 40,
        "purpose": None,
    }


@pytest.mark.parametrize(
    "name",
    [
        *(
            "../../etc/passwd",
            "/etc/passwd",
            "..",
            ".",
            "con:",
            "a\0b",
            "x" * 1000,
            "<script>",
            "'; DROP TABLE jobs; --",
        ),
        *("ü\n.mp4", "a\r\nSet-Cookie: x=1", "talk\u202egpj.mp4", "\ufeff", "\U0001f600.mp4", "%2e%2e%2f", "${HOME}"),
    ],
)
def test_hostile_file_name_reaches_neither_disk_nor_headers(jobs_url: str, queue: QueueSettings, name: str) -> None:
    response = httpx.post(jobs_url, files={"video": (name, VIDEO)})

    assert_accepted(response, queue)
    assert response.json()["upload"]["file_name"].isprintable()
    assert len(response.json()["upload"]["file_name"]) <= 255
    assert [path.name for path in queue.media_dir.iterdir()] == [response.json()["id"]]


def test_file_name_of_a_raw_body_is_a_query_parameter(jobs_url: str) -> None:
    assert (
        httpx.post(jobs_url, params={"file_name": "a b.mp4"}, content=b"x").json()["upload"]["file_name"] == "a b.mp4"
    )


@pytest.mark.parametrize(
    ("parameters", "name"),
    [
        ({"sample_fps": "0"}, "sample_fps"),
        ({"sample_fps": "nan"}, "sample_fps"),
        ({"max_faces": "many"}, "max_faces"),
        ({"samplefps": "5"}, "samplefps"),
    ],
)
def test_refused_option_is_named(
    jobs_url: str, queue: QueueSettings, redis_client: redis.Redis, parameters: dict[str, str], name: str
) -> None:
    response = httpx.post(jobs_url, params=parameters, content=VIDEO)

    assert_refused(response, 422, "invalid_parameter")
    assert [error["parameter"] for error in response.json()["errors"]] == [name]
    assert is_untouched(queue, redis_client)


@pytest.mark.parametrize(
    ("body", "headers", "status", "code"),
    [
        (b"", {}, 422, "empty_upload"),
        (b"{}", {"Content-Type": "application/json"}, 415, "unsupported_upload"),
        (b"hello", {"Content-Type": "text/plain"}, 415, "unsupported_upload"),
        (b"x", {"Content-Encoding": "gzip"}, 415, "unsupported_upload"),
        (b"x", {"Content-Type": "multipart/form-data"}, 400, "malformed_upload"),
        (b"x", {"Content-Type": f"multipart/form-data; boundary={'b' * 500}"}, 400, "malformed_upload"),
        (b"no form", {"Content-Type": "multipart/form-data; boundary=b"}, 400, "malformed_upload"),
        (b"--b--\r\n", {"Content-Type": "multipart/form-data; boundary=b"}, 422, "missing_video"),
        (
            b'--b\r\nContent-Disposition: form-data; name="video"; filename="v"\r\n\r\ncut off',
            {"Content-Type": "multipart/form-data; boundary=b"},
            400,
            "malformed_upload",
        ),
        (
            b'--b\r\nContent-Disposition: form-data; name="video"; filename="v"\r\n\r\n\r\n--b--\r\n',
            {"Content-Type": "multipart/form-data; boundary=b"},
            422,
            "empty_upload",
        ),
    ],
)
def test_unusable_body_is_refused(
    jobs_url: str,
    queue: QueueSettings,
    redis_client: redis.Redis,
    body: bytes,
    headers: dict[str, str],
    status: int,
    code: str,
) -> None:
    assert_refused(httpx.post(jobs_url, content=body, headers=headers), status, code)
    assert is_untouched(queue, redis_client)


def test_empty_chunked_body_is_refused(jobs_url: str, queue: QueueSettings, redis_client: redis.Redis) -> None:
    assert_refused(httpx.post(jobs_url, content=iter([b""])), 422, "empty_upload")
    assert is_untouched(queue, redis_client)


@pytest.mark.parametrize("fields", [["other"], ["video", "video"], ["video", "sample_fps"]])
def test_form_that_is_not_one_video_is_refused(
    jobs_url: str, queue: QueueSettings, redis_client: redis.Redis, fields: list[str]
) -> None:
    response = httpx.post(jobs_url, files=[(field, ("x", VIDEO[:1000])) for field in fields])

    assert_refused(response, 422, "missing_video")
    assert is_untouched(queue, redis_client)


def test_announced_excess_is_refused_before_the_body(
    jobs_url: str, queue: QueueSettings, redis_client: redis.Redis
) -> None:
    connection = http.client.HTTPConnection(jobs_url.split("/")[2], timeout=10)
    connection.putrequest("POST", "/v1/jobs")
    connection.putheader("Content-Length", str(10**12))
    connection.endheaders()

    response = connection.getresponse()  # not one byte of the body was sent

    assert response.status == 413
    assert response.getheader("Connection") == "close"
    connection.close()
    assert is_untouched(queue, redis_client)


@pytest.mark.parametrize("form", [False, True])
def test_unannounced_excess_is_cut_off(
    jobs_url: str, queue: QueueSettings, redis_client: redis.Redis, form: bool
) -> None:
    head = b'--b\r\nContent-Disposition: form-data; name="video"; filename="x"\r\n\r\n' if form else b""
    headers = {"Content-Type": "multipart/form-data; boundary=b"} if form else {}
    sent = 0

    def iter_endless() -> Iterator[bytes]:
        nonlocal sent
        yield head
        while True:
            sent += 100_000
            yield bytes(100_000)

    response = httpx.post(jobs_url, content=iter_endless(), headers=headers, timeout=30)

    assert_refused(response, 413, "upload_too_large")
    assert sent < 200_000_000  # what the server reads on for, and what the sockets hold
    assert is_untouched(queue, redis_client)


def test_largest_accepted_video_fits_raw_and_in_a_form(create_server: CreateServer, queue: QueueSettings) -> None:
    url = create_server(max_upload_bytes=len(VIDEO)) + "/v1/jobs"

    assert_accepted(httpx.post(url, content=VIDEO), queue)
    assert_accepted(httpx.post(url, files={"video": ("x", VIDEO)}), queue)
    assert_refused(httpx.post(url, files={"video": ("x", VIDEO + b"x")}), 413, "upload_too_large")


def test_upload_that_stands_still_is_given_up(
    create_server: CreateServer, queue: QueueSettings, redis_client: redis.Redis
) -> None:
    url = create_server(upload_idle_seconds=0.2)

    with socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2])), timeout=10) as connection:
        connection.sendall(b"POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\nbegin")
        answer = connection.recv(65536)

    assert answer.startswith(b"HTTP/1.1 408 ")
    assert is_untouched(queue, redis_client)


def test_upload_that_drips_is_given_up(
    create_server: CreateServer, queue: QueueSettings, redis_client: redis.Redis
) -> None:
    url = create_server(upload_idle_seconds=5, upload_total_seconds=0.3)

    def iter_drops() -> Iterator[bytes]:
        for _ in range(50):
            time.sleep(0.02)
            yield b"x"

    assert_refused(httpx.post(url + "/v1/jobs", content=iter_drops()), 408, "upload_timeout")
    assert is_untouched(queue, redis_client)


@pytest.mark.parametrize("resets", [False, True], ids=["it closes", "it resets"])
@pytest.mark.parametrize("length", [b"Content-Length: 4000000", b"Transfer-Encoding: chunked"])
def test_client_that_goes_away_leaves_nothing(
    jobs_url: str, queue: QueueSettings, redis_client: redis.Redis, length: bytes, resets: bool
) -> None:
    body = VIDEO if length.startswith(b"Content") else b"2DC6C0\r\n" + VIDEO + b"\r\n"
    with socket.create_connection(("127.0.0.1", int(jobs_url.split(":")[2].split("/")[0])), timeout=10) as connection:
        if resets:  # nothing left to send, nothing read: closing sends RST
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.sendall(b"POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\n" + length + b"\r\n\r\n" + body)
        wait_until(lambda: any(queue.media_dir.glob("*/*")))

    wait_until(lambda: is_untouched(queue, redis_client))


def test_shutdown_during_an_upload_leaves_nothing(queue: QueueSettings, redis_client: redis.Redis) -> None:
    with socket.socket() as connection:  # stays open longer than the server lives
        with run_server(create_app(queue=queue), graceful_seconds=1) as url:
            connection.connect(("127.0.0.1", int(url.rpartition(":")[2])))
            connection.sendall(b"POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4000000\r\n\r\nbegin")
            wait_until(lambda: any(queue.media_dir.glob("*/*")))

        assert is_untouched(queue, redis_client)


def test_wrong_key_is_refused_before_the_body(
    create_server: CreateServer, tmp_path: Path, queue: QueueSettings
) -> None:
    keys = tmp_path / "keys"
    keys.write_text(f"alice {hashlib.sha256(b'secret').hexdigest()}\n")
    url = create_server(api_keys_file=keys)

    with socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2])), timeout=10) as connection:
        connection.sendall(
            b"POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 4000000\r\n\r\n"
        )
        answer = connection.recv(65536)

    assert answer.startswith(b"HTTP/1.1 401 ")  # and not 100: the client never sends its video
    assert_accepted(httpx.post(url + "/v1/jobs", content=VIDEO, headers={"X-API-Key": "secret"}), queue)


def test_client_that_sends_on_can_read_the_refusal(create_server: CreateServer, tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.write_text(f"alice {hashlib.sha256(b'secret').hexdigest()}\n")
    url = create_server(api_keys_file=keys)

    assert_refused(httpx.post(url + "/v1/jobs", content=bytes(30_000_000)), 401, "unauthorized")


def test_client_that_sends_slowly_can_read_the_refusal(create_server: CreateServer) -> None:
    url = create_server(min_free_bytes=1 << 60)  # refuses at once
    with socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2])), timeout=60) as connection:
        connection.sendall(b"POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Length: 6000000\r\n\r\n")
        for _ in range(60):  # six seconds: the least that a busy machine with many clients must be given
            time.sleep(0.1)
            connection.sendall(bytes(100_000))
        response = http.client.HTTPResponse(connection)
        response.begin()
        body = response.read()

    assert response.status == 507
    assert b"storage_full" in body


def test_uploads_at_once_are_limited(create_server: CreateServer, queue: QueueSettings) -> None:
    url = create_server(max_uploads_at_once=1)

    with socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2])), timeout=10) as connection:
        connection.sendall(b"POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4000000\r\n\r\nbegin")
        wait_until(lambda: any(queue.media_dir.glob("*/*")))
        assert_refused(httpx.post(url + "/v1/jobs", content=VIDEO), 429, "too_many_uploads")

    wait_until(lambda: httpx.post(url + "/v1/jobs", content=VIDEO).status_code == 202)


def test_too_little_room_is_said_before_the_body(create_server: CreateServer) -> None:
    url = create_server(min_free_bytes=1 << 60)

    response = httpx.post(url + "/v1/jobs", content=VIDEO)

    assert_refused(response, 507, "storage_full")
    assert "retry-after" in response.headers


def test_unreachable_redis_is_said_before_the_body(create_server: CreateServer, tmp_path: Path) -> None:
    unreachable = QueueSettings(redis_url="redis://127.0.0.1:1/0", media_dir=tmp_path / "media")
    url = create_server(queue=unreachable)

    response = httpx.post(url + "/v1/jobs", content=VIDEO, timeout=30)

    assert_refused(response, 503, "queue_unavailable")
    assert "retry-after" in response.headers
    assert not unreachable.media_dir.exists()


def test_redis_that_dies_during_the_upload_leaves_nothing(create_server: CreateServer, tmp_path: Path) -> None:
    with contextlib.ExitStack() as redis_server:
        redis_url = redis_server.enter_context(run_redis_server(tmp_path))
        mortal = QueueSettings(redis_url=redis_url, media_dir=tmp_path / "media")
        url = create_server(queue=mortal)

        def iter_pieces_around_a_death() -> Iterator[bytes]:
            yield VIDEO
            wait_until(lambda: any(mortal.media_dir.glob("*/*")))
            redis_server.close()
            yield VIDEO

        response = httpx.post(url + "/v1/jobs", content=iter_pieces_around_a_death(), timeout=30)

    assert_refused(response, 503, "queue_unavailable")
    assert list(mortal.media_dir.iterdir()) == []


def test_redis_without_room_leaves_nothing(jobs_url: str, queue: QueueSettings, redis_client: redis.Redis) -> None:
    redis_client.config_set("maxmemory", 1)
    try:
        response = httpx.post(jobs_url, content=VIDEO)
    finally:
        redis_client.config_set("maxmemory", 0)

    assert_refused(response, 507, "storage_full")
    assert is_untouched(queue, redis_client)


def test_memory_does_not_grow_with_the_upload(create_server: CreateServer, queue: QueueSettings) -> None:
    url = create_server() + "/v1/jobs"
    httpx.post(url, content=VIDEO)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    httpx.post(url, content=(bytes(1_000_000) for _ in range(200)), timeout=60)

    grown_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown_kib < 50_000  # of 200,000 KiB sent, by a client in this same process

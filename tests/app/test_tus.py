"""Resumable uploads over a real socket: the protocol word by word, and a client that is not ours (tuspy)."""

import asyncio
import base64
import contextlib
import hashlib
import io
import os
import shutil
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis
from tusclient.client import TusClient
from tusclient.exceptions import TusCommunicationError

from app.main import create_app
from tests.app.conftest import CreateServer
from tests.app.uploading import SHA256, VIDEO, assert_refused, is_untouched, iter_pieces, wait_until
from worker.celery_app import INDEX_JOB
from worker.media import LocalMediaStore
from worker.redis_client import create_redis_client
from worker.settings import QueueSettings
from worker.sweeper import Sweeper
from worker.work_store import WorkStore

VERSION = {"Tus-Resumable": "1.0.0"}
PIECE = {**VERSION, "Content-Type": "application/offset+octet-stream"}
MISSING = "0123456789abcdef" * 2


@pytest.fixture
def uploads_url(url: str) -> str:
    return url + "/v1/uploads"


def encode_metadata(**values: str) -> str:
    return ",".join(f"{key} {base64.b64encode(value.encode()).decode()}" for key, value in values.items())


def begin(uploads_url: str, *, length: int = len(VIDEO), headers: dict[str, str] | None = None) -> str:
    """Begin an upload; returns its URL."""
    wanted = {**VERSION, "Upload-Length": str(length), **(headers or {})}
    response = httpx.post(uploads_url, headers=wanted, timeout=60)
    assert response.status_code == 201, response.text
    return uploads_url.removesuffix("/v1/uploads") + response.headers["location"]


def send(
    upload_url: str, data: bytes, offset: int, headers: dict[str, str] | None = None, *, chunked: bool = False
) -> httpx.Response:
    content = iter_pieces(data) if chunked else data
    return httpx.patch(
        upload_url, content=content, headers={**PIECE, "Upload-Offset": str(offset), **(headers or {})}, timeout=60
    )


def ask(upload_url: str, headers: dict[str, str] | None = None) -> httpx.Response:
    return httpx.head(upload_url, headers={**VERSION, **(headers or {})}, timeout=60)


def get_offset(upload_url: str) -> int:
    return int(ask(upload_url).headers["upload-offset"])


def assert_is_job(upload_url: str, headers: httpx.Headers, queue: QueueSettings) -> dict[str, object]:
    """Check that VIDEO is whole and that the job is told; returns the job."""
    job_path = headers["emoclip-job"]
    job: dict[str, object] = httpx.get(upload_url.partition("/v1/")[0] + job_path).json()
    assert job["id"] == upload_url.rpartition("/")[2]
    assert job["state"] == "queued"
    upload = job["upload"]
    assert isinstance(upload, dict)
    assert (upload["size_bytes"], upload["sha256"]) == (len(VIDEO), SHA256)
    assert (queue.media_dir / str(job["id"]) / "source").read_bytes() == VIDEO
    assert headers["upload-offset"] == str(len(VIDEO))
    assert "upload-expires" not in headers
    return job


@contextlib.contextmanager
def half_sent(
    upload_url: str, data: bytes, *, announced: int, offset: int = 0, extra: str = ""
) -> Iterator[socket.socket]:
    """Hold a request open that has sent so much of what it announced."""
    host, _, path = upload_url.removeprefix("http://").partition("/")
    with socket.create_connection(("127.0.0.1", int(host.rpartition(":")[2])), timeout=60) as connection:
        connection.sendall(
            f"PATCH /{path} HTTP/1.1\r\nHost: localhost\r\nTus-Resumable: 1.0.0\r\nUpload-Offset: {offset}\r\n{extra}"
            f"Content-Type: application/offset+octet-stream\r\nContent-Length: {announced}\r\n\r\n".encode()
            + data
        )
        yield connection


def create_uploader(uploads_url: str, **settings: Any) -> Any:  # tuspy's types say None where it has a str
    return TusClient(uploads_url).uploader(file_stream=io.BytesIO(VIDEO), **settings)


# a client that is not ours


@pytest.mark.parametrize("checksum", [False, True])
def test_tuspy_sends_a_video_in_pieces(uploads_url: str, queue: QueueSettings, checksum: bool) -> None:
    uploader = create_uploader(
        uploads_url,
        chunk_size=700_000,
        metadata={"filename": "talk.mp4", "sample_fps": "5", "max_faces": "2"},
        upload_checksum=checksum,
    )

    uploader.upload()

    job = assert_is_job(uploader.url, httpx.Headers(uploader.request.response_headers), queue)
    assert isinstance(job["options"], dict)
    assert (job["options"]["sample_fps"], job["options"]["max_faces"]) == (5.0, 2)
    assert isinstance(job["upload"], dict)
    assert job["upload"]["file_name"] == "talk.mp4"


def test_tuspy_resumes(uploads_url: str, queue: QueueSettings) -> None:
    first = create_uploader(uploads_url, chunk_size=1_000_000)
    first.upload_chunk()

    second = create_uploader(uploads_url, url=first.url)

    assert second.offset == 1_000_000
    second.upload()
    assert_is_job(first.url, ask(first.url).headers, queue)


def test_tuspy_learns_that_an_upload_is_gone(uploads_url: str) -> None:
    with pytest.raises(TusCommunicationError) as caught:
        create_uploader(uploads_url, url=f"{uploads_url}/{MISSING}")

    assert caught.value.status_code == 404


# core


def test_options_tell_what_is_understood(uploads_url: str) -> None:
    response = httpx.options(uploads_url)

    assert response.status_code == 204
    assert response.headers["tus-version"] == response.headers["tus-resumable"] == "1.0.0"
    assert response.headers["tus-max-size"] == "5000000"
    assert set(response.headers["tus-extension"].split(",")) == {
        "creation",
        "creation-with-upload",
        "checksum",
        "expiration",
        "termination",
    }
    assert "sha1" in response.headers["tus-checksum-algorithm"].split(",")


@pytest.mark.parametrize("version", [{}, {"Tus-Resumable": "0.2.2"}])
@pytest.mark.parametrize("method", ["POST", "HEAD", "PATCH", "DELETE"])
def test_other_version_is_refused_and_changes_nothing(uploads_url: str, method: str, version: dict[str, str]) -> None:
    upload_url = begin(uploads_url)

    response = httpx.request(
        method, uploads_url if method == "POST" else upload_url, headers={"Upload-Length": "5", **version}
    )

    assert response.status_code == 412
    assert response.headers["tus-version"] == "1.0.0"
    assert get_offset(upload_url) == 0


def test_version_is_named_under_a_prefix_that_begins_like_our_paths(queue: QueueSettings) -> None:
    async def ask_under(prefix: str) -> httpx.Response:
        transport = httpx.ASGITransport(create_app(queue=queue), root_path=prefix)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            return await client.options("/v1/uploads")

    assert asyncio.run(ask_under("/v")).headers["tus-resumable"] == "1.0.0"


def test_every_answer_names_the_version_and_is_not_kept(uploads_url: str) -> None:
    answers = [httpx.options(uploads_url), ask(f"{uploads_url}/{MISSING}"), send(f"{uploads_url}/{MISSING}", b"x", 0)]

    assert {answer.headers["tus-resumable"] for answer in answers} == {"1.0.0"}
    assert {answer.headers["cache-control"] for answer in answers} == {"no-store"}


@pytest.mark.parametrize("chunked", [False, True])
def test_pieces_are_put_together(
    uploads_url: str, queue: QueueSettings, redis_client: redis.Redis, chunked: bool
) -> None:
    upload_url = begin(uploads_url)

    first = send(upload_url, VIDEO[:1_234_567], 0, chunked=chunked)
    between = ask(upload_url)
    last = send(upload_url, VIDEO[1_234_567:], 1_234_567, chunked=chunked)

    assert (first.status_code, first.headers["upload-offset"]) == (204, "1234567")
    assert (between.status_code, between.headers["upload-offset"]) == (200, "1234567")
    assert between.headers["upload-length"] == str(len(VIDEO))
    assert "emoclip-job" not in between.headers
    assert last.status_code == 204
    assert_is_job(upload_url, last.headers, queue)
    assert_is_job(upload_url, ask(upload_url).headers, queue)
    message = redis_client.lindex(queue.queue_name, 0)
    assert isinstance(message, bytes)
    assert INDEX_JOB.encode() in message


@pytest.mark.parametrize("offset", [0, 999_999, 1_000_001, 3_000_000])
def test_piece_at_another_offset_is_a_conflict(uploads_url: str, offset: int) -> None:
    upload_url = begin(uploads_url)
    send(upload_url, VIDEO[:1_000_000], 0)

    assert_refused(send(upload_url, VIDEO[offset:], offset), 409, "offset_conflict")
    assert get_offset(upload_url) == 1_000_000


def test_last_piece_may_be_sent_again(uploads_url: str, queue: QueueSettings, redis_client: redis.Redis) -> None:
    upload_url = begin(uploads_url)
    send(upload_url, VIDEO, 0)

    empty = send(upload_url, b"", len(VIDEO))
    again = send(upload_url, VIDEO[5:], 5)

    assert empty.status_code == 204
    assert_is_job(upload_url, empty.headers, queue)
    assert_refused(again, 409, "offset_conflict")
    assert redis_client.llen(queue.queue_name) == 1


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({"Content-Type": "video/mp4"}, 415, "unsupported_upload"),
        ({"Content-Encoding": "gzip"}, 415, "unsupported_upload"),
        ({"Upload-Offset": "-1"}, 400, "invalid_header"),
        ({"Upload-Offset": "x"}, 400, "invalid_header"),
        ({"Upload-Offset": "9" * 30}, 400, "invalid_header"),
        ({"Upload-Checksum": "crc32 AAAA"}, 400, "invalid_header"),
        ({"Content-Digest": "x"}, 400, "invalid_header"),
    ],
)
def test_unusable_piece_is_refused(uploads_url: str, headers: dict[str, str], status: int, code: str) -> None:
    upload_url = begin(uploads_url)

    assert_refused(send(upload_url, VIDEO[:1000], 0, headers), status, code)
    assert get_offset(upload_url) == 0


@pytest.mark.parametrize("chunked", [False, True])
def test_piece_beyond_the_end_is_refused(uploads_url: str, queue: QueueSettings, chunked: bool) -> None:
    upload_url = begin(uploads_url, length=len(VIDEO) - 1)

    assert_refused(send(upload_url, VIDEO, 0, chunked=chunked), 413, "upload_too_large")
    assert "emoclip-job" not in ask(upload_url).headers


def test_post_may_stand_for_methods_that_a_proxy_does_not_let_pass(uploads_url: str, queue: QueueSettings) -> None:
    upload_url = begin(uploads_url)

    headers = {**PIECE, "Upload-Offset": "0", "X-HTTP-Method-Override": "PATCH"}
    response = httpx.post(upload_url, content=VIDEO, headers=headers)

    assert response.status_code == 204
    assert_is_job(upload_url, response.headers, queue)


# creation


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({}, 400, "invalid_header"),
        ({"Upload-Defer-Length": "1"}, 400, "invalid_header"),
        ({"Upload-Length": "-5"}, 400, "invalid_header"),
        ({"Upload-Length": "١"}, 400, "invalid_header"),
        ({"Upload-Length": "0"}, 422, "empty_upload"),
        ({"Upload-Length": "5000001"}, 413, "upload_too_large"),
        ({"Upload-Length": "9", "Upload-Metadata": "filename !"}, 400, "invalid_header"),
        ({"Upload-Length": "9", "Upload-Metadata": "a YQ==,a YQ=="}, 400, "invalid_header"),
        ({"Upload-Length": "9", "Upload-Metadata": "a " + "A" * 5000}, 400, "invalid_header"),
        ({"Upload-Length": "9", "Upload-Metadata": encode_metadata(sample_fps="many")}, 422, "invalid_parameter"),
        ({"Upload-Length": "9", "Upload-Metadata": encode_metadata(max_faces="0")}, 422, "invalid_parameter"),
        ({"Upload-Length": "9", "Upload-Metadata": encode_metadata(purpose="workplace")}, 422, "refused_purpose"),
    ],
)
def test_unusable_creation_is_refused(
    uploads_url: str, queue: QueueSettings, redis_client: redis.Redis, headers: dict[str, str], status: int, code: str
) -> None:
    raw = [(name.encode(), value.encode()) for name, value in {**VERSION, **headers}.items()]

    assert_refused(httpx.post(uploads_url, headers=raw), status, code)
    assert is_untouched(queue, redis_client)


def test_refused_option_is_named(uploads_url: str) -> None:
    headers = {**VERSION, "Upload-Length": "9", "Upload-Metadata": encode_metadata(max_faces="0")}

    problem = httpx.post(uploads_url, headers=headers).json()

    assert [error["parameter"] for error in problem["errors"]] == ["Upload-Metadata.max_faces"]


@pytest.mark.parametrize("name", ["../../etc/passwd", "a\0b", "x" * 400, "talk\u202egpj.mp4", "ü\n.mp4"])
def test_hostile_file_name_is_only_shown(uploads_url: str, queue: QueueSettings, name: str) -> None:
    metadata = encode_metadata(filename=name, filetype="video/mp4", relativePath="../x")

    upload_url = begin(uploads_url, headers={"Upload-Metadata": metadata})
    job = assert_is_job(upload_url, send(upload_url, VIDEO, 0).headers, queue)

    assert isinstance(job["upload"], dict)
    assert job["upload"]["file_name"].isprintable()
    assert len(job["upload"]["file_name"]) <= 255
    assert [path.name for path in queue.media_dir.iterdir()] == [job["id"]]
    assert ask(upload_url).headers["upload-metadata"] == metadata


def test_first_piece_may_come_along(uploads_url: str, queue: QueueSettings) -> None:
    headers = {**PIECE, "Upload-Length": str(len(VIDEO))}

    part = httpx.post(uploads_url, content=VIDEO[:1000], headers=headers)
    whole = httpx.post(uploads_url, content=iter_pieces(), headers=headers)

    assert (part.status_code, part.headers["upload-offset"]) == (201, "1000")
    assert whole.status_code == 201
    assert_is_job(uploads_url.removesuffix("/v1/uploads") + whole.headers["location"], whole.headers, queue)


def test_first_piece_that_is_damaged_leaves_nothing(
    uploads_url: str, queue: QueueSettings, redis_client: redis.Redis
) -> None:
    checksum = base64.b64encode(hashlib.sha1(b"other").digest()).decode()
    headers = {**PIECE, "Upload-Length": str(len(VIDEO)), "Upload-Checksum": f"sha1 {checksum}"}

    assert_refused(httpx.post(uploads_url, content=VIDEO[:1000], headers=headers), 460, "checksum_mismatch")
    assert is_untouched(queue, redis_client)


def test_unfinished_uploads_are_limited(create_server: CreateServer) -> None:
    uploads_url = create_server(max_uploads_at_once=2) + "/v1/uploads"
    first, _ = begin(uploads_url), begin(uploads_url)
    headers = {**VERSION, "Upload-Length": "9"}

    third = httpx.post(uploads_url, headers=headers)
    httpx.delete(first, headers=VERSION)

    assert_refused(third, 429, "too_many_uploads")
    assert httpx.post(uploads_url, headers=headers).status_code == 201


def test_too_little_room_is_said_at_once(
    create_server: CreateServer, queue: QueueSettings, redis_client: redis.Redis
) -> None:
    uploads_url = create_server(min_free_bytes=1 << 60) + "/v1/uploads"

    response = httpx.post(uploads_url, headers={**VERSION, "Upload-Length": "9"})

    assert_refused(response, 507, "storage_full")
    assert "retry-after" in response.headers
    assert is_untouched(queue, redis_client)


def test_redis_without_room_leaves_nothing(uploads_url: str, queue: QueueSettings, redis_client: redis.Redis) -> None:
    redis_client.config_set("maxmemory", 1)
    try:
        response = httpx.post(uploads_url, headers={**VERSION, "Upload-Length": "9"})
    finally:
        redis_client.config_set("maxmemory", 0)

    assert_refused(response, 507, "storage_full")
    assert is_untouched(queue, redis_client)


# checksum


def test_piece_with_a_wrong_checksum_does_not_count(uploads_url: str, queue: QueueSettings) -> None:
    upload_url = begin(uploads_url)
    send(upload_url, VIDEO[:1000], 0)
    right = base64.b64encode(hashlib.sha256(VIDEO[1000:]).digest()).decode()
    damaged = VIDEO[1000:-1] + b"x"

    wrong = send(upload_url, damaged, 1000, {"Upload-Checksum": f"sha256 {right}"})
    wrong_digest = send(upload_url, damaged, 1000, {"Content-Digest": f"sha-256=:{right}:"})
    after = get_offset(upload_url)
    last = send(upload_url, VIDEO[1000:], 1000, {"Upload-Checksum": f"sha256 {right}"})

    assert_refused(wrong, 460, "checksum_mismatch")
    assert_refused(wrong_digest, 400, "digest_mismatch")
    assert after == 1000
    assert_is_job(upload_url, last.headers, queue)


# interruptions


def test_piece_that_is_cut_off_counts_as_far_as_it_came(uploads_url: str, queue: QueueSettings) -> None:
    upload_url = begin(uploads_url)

    with half_sent(upload_url, VIDEO[:1_500_000], announced=len(VIDEO)):
        pass
    wait_until(lambda: get_offset(upload_url) == 1_500_000)

    assert_is_job(upload_url, send(upload_url, VIDEO[1_500_000:], 1_500_000).headers, queue)


def test_piece_with_a_checksum_that_is_cut_off_does_not_count(uploads_url: str, queue: QueueSettings) -> None:
    upload_url = begin(uploads_url)
    checksum = base64.b64encode(hashlib.sha1(VIDEO).digest()).decode()
    part = queue.media_dir / upload_url.rpartition("/")[2] / "source.part"

    extra = f"Upload-Checksum: sha1 {checksum}\r\n"
    with half_sent(upload_url, VIDEO[:1_500_000], announced=len(VIDEO), extra=extra):
        wait_until(lambda: part.stat().st_size > 0)
    wait_until(lambda: send(upload_url, b"", 0).status_code == 204)

    assert get_offset(upload_url) == 0
    assert_is_job(upload_url, send(upload_url, VIDEO, 0).headers, queue)


def test_stalled_piece_is_given_up_and_counts(create_server: CreateServer, queue: QueueSettings) -> None:
    upload_url = begin(create_server(upload_idle_seconds=0.3) + "/v1/uploads")

    with half_sent(upload_url, VIDEO[:1000], announced=len(VIDEO)) as connection:
        answer = connection.recv(65536)

    assert answer.startswith(b"HTTP/1.1 408 ")
    assert get_offset(upload_url) == 1000


def test_two_pieces_at_once_one_wins(create_server: CreateServer, queue: QueueSettings) -> None:
    upload_url = begin(create_server(upload_idle_seconds=1000) + "/v1/uploads")  # the first one is not too silent
    part = queue.media_dir / upload_url.rpartition("/")[2] / "source.part"

    with half_sent(upload_url, VIDEO[:1_500_000], announced=len(VIDEO)) as connection:
        wait_until(lambda: part.stat().st_size > 0)
        second = send(upload_url, VIDEO, 0)
        connection.sendall(VIDEO[1_500_000:])
        answer = connection.recv(65536)

    assert_refused(second, 423, "upload_locked")
    assert int(second.headers["retry-after"]) >= 1
    assert answer.startswith(b"HTTP/1.1 204 ")
    assert_is_job(upload_url, ask(upload_url).headers, queue)


def test_silent_piece_gives_way_and_counts(create_server: CreateServer, queue: QueueSettings) -> None:
    upload_url = begin(create_server(upload_idle_seconds=20) + "/v1/uploads")
    part = queue.media_dir / upload_url.rpartition("/")[2] / "source.part"

    with half_sent(upload_url, VIDEO[:1_500_000], announced=len(VIDEO)) as connection:
        wait_until(lambda: part.stat().st_size > 0)
        wait_until(lambda: send(upload_url, VIDEO[get_offset(upload_url) :], get_offset(upload_url)).status_code == 204)
        answer = connection.recv(65536)

    assert answer.startswith(b"HTTP/1.1 423 ")  # and not 408, for which the client would have had to wait
    assert_is_job(upload_url, ask(upload_url).headers, queue)


def test_many_whole_pieces_at_once_make_one_job(
    create_server: CreateServer, queue: QueueSettings, redis_client: redis.Redis
) -> None:
    servers = [create_server() for _ in range(2)]  # two API processes' worth of applications
    upload_url = begin(servers[0] + "/v1/uploads")
    path = upload_url.removeprefix(servers[0])

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda number: send(servers[number % 2] + path, VIDEO, 0), range(8)))

    assert [answer.status_code for answer in answers].count(204) == 1
    assert {answer.status_code for answer in answers} <= {204, 409, 423}
    assert_is_job(upload_url, ask(upload_url).headers, queue)
    assert redis_client.llen(queue.queue_name) == 1


def test_redis_without_room_at_the_last_byte_makes_the_job_later(
    uploads_url: str, queue: QueueSettings, redis_client: redis.Redis
) -> None:
    upload_url = begin(uploads_url)
    send(upload_url, VIDEO[:1000], 0)
    redis_client.config_set("maxmemory", 1)
    try:
        refused = send(upload_url, VIDEO[1000:], 1000)
    finally:
        redis_client.config_set("maxmemory", 0)

    assert_refused(refused, 507, "storage_full")
    offset = get_offset(upload_url)
    assert offset == 1000
    assert_is_job(upload_url, send(upload_url, VIDEO[offset:], offset).headers, queue)


def test_process_that_died_before_it_wrote_the_job_leaves_an_upload_that_goes_on(
    uploads_url: str, queue: QueueSettings
) -> None:
    upload_url = begin(uploads_url)
    send(upload_url, VIDEO[:2_000_000], 0)
    folder = queue.media_dir / upload_url.rpartition("/")[2]
    (folder / "source.part").write_bytes(VIDEO)  # as it stands between the last byte and the job's record
    (folder / "source.part").rename(folder / "source")

    offset = get_offset(upload_url)

    assert offset == 2_000_000
    assert_is_job(upload_url, send(upload_url, VIDEO[offset:], offset).headers, queue)


def test_disk_that_remembers_less_than_redis_is_believed(uploads_url: str, queue: QueueSettings) -> None:
    upload_url = begin(uploads_url)
    send(upload_url, VIDEO[:2_000_000], 0)
    os.truncate(queue.media_dir / upload_url.rpartition("/")[2] / "source.part", 5000)  # a crash of the host

    refused = send(upload_url, VIDEO[2_000_000:], 2_000_000)

    assert_refused(refused, 409, "offset_conflict")
    assert get_offset(upload_url) == 5000
    assert_is_job(upload_url, send(upload_url, VIDEO[5000:], 5000).headers, queue)


# expiration and termination


def test_expiry_is_told_and_moves_with_each_piece(create_server: CreateServer) -> None:
    upload_url = begin(create_server(resumable_ttl_seconds=3600) + "/v1/uploads")

    told = [
        parsedate_to_datetime(answer.headers["upload-expires"])
        for answer in (ask(upload_url), send(upload_url, b"x", 0))
    ]

    expected = datetime.now(UTC) + timedelta(hours=1)
    assert all(abs(moment - expected) < timedelta(minutes=10) for moment in told)


def test_abandoned_upload_expires_and_is_erased(
    uploads_url: str, queue: QueueSettings, redis_client: redis.Redis
) -> None:
    upload_url = begin(uploads_url)
    upload_id = upload_url.rpartition("/")[2]
    sweeper = Sweeper(WorkStore(create_redis_client(queue), queue), LocalMediaStore(queue.media_dir), ring=print)
    sweeper.sweep()
    assert any(queue.media_dir.iterdir())

    redis_client.pexpire(f"emoclip:upload:{upload_id}", 1)  # a day passes
    redis_client.zadd("emoclip:bells", {f"upload|{upload_id}": 0})
    wait_until(lambda: ask(upload_url).status_code == 404)
    sweeper.sweep()

    assert_refused(send(upload_url, VIDEO, 0), 404, "upload_not_found")
    assert is_untouched(queue, redis_client)
    assert not redis_client.exists("emoclip:bells")


def test_deleted_upload_leaves_nothing(uploads_url: str, queue: QueueSettings, redis_client: redis.Redis) -> None:
    upload_url = begin(uploads_url)
    send(upload_url, VIDEO[:1000], 0)

    response = httpx.delete(upload_url, headers=VERSION)

    assert response.status_code == 204
    assert redis_client.keys("emoclip:*") == []
    assert is_untouched(queue, redis_client)
    assert ask(upload_url).status_code == 404
    assert_refused(httpx.delete(upload_url, headers=VERSION), 404, "upload_not_found")


def test_deleted_upload_whose_bytes_cannot_be_erased_is_left_to_the_sweeper(
    uploads_url: str, queue: QueueSettings, redis_client: redis.Redis
) -> None:
    upload_url = begin(uploads_url)
    upload_id = upload_url.rpartition("/")[2]
    shutil.rmtree(queue.media_dir / upload_id)
    (queue.media_dir / upload_id).touch()  # no directory: erasing it fails

    response = httpx.delete(upload_url, headers=VERSION)

    assert response.status_code == 204
    assert ask(upload_url).status_code == 404
    assert redis_client.zrange("emoclip:bells", 0, -1) == [f"erase|{upload_id}".encode()]


def test_upload_that_is_deleted_while_a_piece_arrives_leaves_nothing(
    uploads_url: str, queue: QueueSettings, redis_client: redis.Redis
) -> None:
    upload_url = begin(uploads_url)
    part = queue.media_dir / upload_url.rpartition("/")[2] / "source.part"

    with half_sent(upload_url, VIDEO[:1_500_000], announced=len(VIDEO)) as connection:
        wait_until(lambda: part.stat().st_size > 0)
        assert httpx.delete(upload_url, headers=VERSION).status_code == 204
        connection.sendall(VIDEO[1_500_000:])
        answer = connection.recv(65536)

    assert answer.startswith(b"HTTP/1.1 404 ")
    assert is_untouched(queue, redis_client)


def test_deleting_a_complete_upload_erases_its_job(
    uploads_url: str, queue: QueueSettings, redis_client: redis.Redis
) -> None:
    upload_url = begin(uploads_url)
    job_url = uploads_url.removesuffix("/v1/uploads") + send(upload_url, VIDEO, 0).headers["emoclip-job"]

    assert httpx.delete(upload_url, headers=VERSION).status_code == 204

    assert httpx.get(job_url).status_code == 404
    assert is_untouched(queue, redis_client)


def test_deleting_the_job_erases_the_upload(uploads_url: str, queue: QueueSettings, redis_client: redis.Redis) -> None:
    upload_url = begin(uploads_url)
    job_url = uploads_url.removesuffix("/v1/uploads") + send(upload_url, VIDEO, 0).headers["emoclip-job"]

    assert httpx.delete(job_url).status_code == 204

    assert ask(upload_url).status_code == 404
    assert redis_client.keys("emoclip:upload*") == []


# access


@pytest.mark.parametrize("upload_id", [MISSING, "x", MISSING + "0", "..%2F..%2Fetc", "%00", "ü"])
def test_unknown_upload_is_not_found(uploads_url: str, upload_id: str) -> None:
    assert send(f"{uploads_url}/{upload_id}", b"x", 0).status_code == 404
    assert ask(f"{uploads_url}/{upload_id}").status_code == 404


def test_upload_belongs_to_its_owner(create_server: CreateServer, queue: QueueSettings, tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.write_text("".join(f"{name} {hashlib.sha256(name.encode()).hexdigest()}\n" for name in ("alice", "bob")))
    uploads_url = create_server(api_keys_file=keys) + "/v1/uploads"
    alice, bob = {"X-API-Key": "alice"}, {"X-API-Key": "bob"}

    upload_url = begin(uploads_url, headers=alice)

    assert_refused(send(upload_url, VIDEO, 0), 401, "unauthorized")
    assert_refused(send(upload_url, VIDEO, 0, bob), 404, "upload_not_found")
    assert ask(upload_url, bob).status_code == 404
    assert httpx.delete(upload_url, headers={**VERSION, **bob}).status_code == 404
    assert send(upload_url, VIDEO, 0, alice).status_code == 204

"""Digests that a client sends along: a video that was damaged on its way becomes no job."""

import base64
import hashlib

import httpx
import pytest
import redis
from starlette.datastructures import Headers

from app.digests import read_content_digests, read_piece_digests
from app.upload_errors import ChecksumMismatchError, InvalidHeaderError
from tests.app.uploading import VIDEO, assert_accepted, assert_refused, is_untouched, iter_pieces
from worker.settings import QueueSettings


def digest(data: bytes, algorithm: str) -> str:
    return base64.b64encode(hashlib.new(algorithm.replace("-", ""), data).digest()).decode()


def member(data: bytes, algorithm: str) -> str:
    return f"{algorithm}=:{digest(data, algorithm)}:"


@pytest.mark.parametrize("field", ["Content-Digest", "Repr-Digest"])
@pytest.mark.parametrize("algorithms", [["sha-256"], ["sha-512"], ["sha-256", "sha-512"]])
def test_undamaged_video_is_accepted(url: str, queue: QueueSettings, field: str, algorithms: list[str]) -> None:
    headers = {field: ", ".join(member(VIDEO, algorithm) for algorithm in algorithms)}

    assert_accepted(httpx.post(url + "/v1/jobs", content=iter_pieces(), headers=headers), queue)


@pytest.mark.parametrize("field", ["Content-Digest", "Repr-Digest"])
@pytest.mark.parametrize("algorithm", ["sha-256", "sha-512"])
def test_damaged_video_is_refused(
    url: str, queue: QueueSettings, redis_client: redis.Redis, field: str, algorithm: str
) -> None:
    headers = {field: member(VIDEO, algorithm)}

    response = httpx.post(url + "/v1/jobs", content=VIDEO[:-1] + b"x", headers=headers)

    assert_refused(response, 400, "digest_mismatch")
    assert field in response.json()["detail"]
    assert is_untouched(queue, redis_client)


def test_each_digest_must_be_right(url: str, queue: QueueSettings, redis_client: redis.Redis) -> None:
    headers = {"Content-Digest": f"{member(VIDEO, 'sha-256')}, {member(b'other', 'sha-512')}"}

    assert_refused(httpx.post(url + "/v1/jobs", content=VIDEO, headers=headers), 400, "digest_mismatch")
    assert is_untouched(queue, redis_client)


def test_digest_of_a_form_is_that_of_the_whole_form(url: str, queue: QueueSettings, redis_client: redis.Redis) -> None:
    form = httpx.Request("POST", url, files={"video": ("talk.mp4", VIDEO)})
    body = form.read()
    headers = {"Content-Type": form.headers["content-type"]}

    right = httpx.post(url + "/v1/jobs", content=body, headers={**headers, "Content-Digest": member(body, "sha-256")})
    wrong = httpx.post(url + "/v1/jobs", content=body, headers={**headers, "Content-Digest": member(VIDEO, "sha-256")})

    assert_accepted(right, queue)
    assert_refused(wrong, 400, "digest_mismatch")


@pytest.mark.parametrize(
    "value",
    ["", "sha-256", "sha-256=abc", "sha-256=:!:", "sha-256=:YWJj:", "sha-256=:YWJj", ":YWJj:", "sha-256=:YWJj:,,"],
)
def test_malformed_digest_is_refused_before_the_body(
    url: str, queue: QueueSettings, redis_client: redis.Redis, value: str
) -> None:
    response = httpx.post(url + "/v1/jobs", content=VIDEO, headers={"Repr-Digest": value})

    assert_refused(response, 400, "invalid_header")
    assert is_untouched(queue, redis_client)


def test_algorithms_that_are_not_ours_are_ignored() -> None:
    assert not read_content_digests(Headers({"Content-Digest": "md5=:YWJj:, unixsum=:YWJj:;q=1"}))


@pytest.mark.parametrize("algorithm", ["sha1", "sha256", "sha512"])
def test_checksum_of_a_piece_is_compared(algorithm: str) -> None:
    checks = read_piece_digests(Headers({"Upload-Checksum": f"{algorithm} {digest(b'piece', algorithm)}"}))
    checks.update(b"pie")

    with pytest.raises(ChecksumMismatchError):
        checks.verify()
    checks.update(b"ce")
    checks.verify()


@pytest.mark.parametrize("value", ["", "sha1", "crc32 AAAA", "sha1 !", "sha1 YWJj", "SHA1 " + digest(b"x", "sha1")])
def test_malformed_checksum_of_a_piece_is_refused(value: str) -> None:
    with pytest.raises(InvalidHeaderError):
        read_piece_digests(Headers({"Upload-Checksum": value}))

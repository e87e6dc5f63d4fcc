"""Videos to send, and what must hold after an upload, for the tests that send them."""

import hashlib
import os
import time
from collections.abc import Callable, Iterator

import httpx
import redis

from worker.settings import QueueSettings

VIDEO = os.urandom(3_000_000)  # the API looks at none of it
SHA256 = hashlib.sha256(VIDEO).hexdigest()


def wait_until(condition: Callable[[], bool], *, seconds: float = 60.0) -> None:
    """Ask again and again until the condition holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


def iter_pieces(video: bytes = VIDEO, size: int = 100_000) -> Iterator[bytes]:
    """Yield a video in pieces: a body of them is sent without its length."""
    for start in range(0, len(video), size):
        yield video[start : start + size]


def is_untouched(queue: QueueSettings, client: redis.Redis) -> bool:
    """Return whether neither the disk nor Redis holds anything of an upload or a job."""
    files = list(queue.media_dir.iterdir()) if queue.media_dir.exists() else []
    kinds = ("job*", "upload:*", "reserved:*")
    return not files and not any(client.keys(f"emoclip:{kind}") for kind in kinds)


def assert_accepted(response: httpx.Response, queue: QueueSettings, *, status: int = 202) -> str:
    """Check that VIDEO was taken, whole; returns the job's id."""
    job = response.json()
    assert response.status_code == status, job
    assert job["state"] == "queued"
    assert (job["upload"]["size_bytes"], job["upload"]["sha256"]) == (len(VIDEO), SHA256)
    assert response.headers["location"] == job["links"]["self"] == f"/v1/jobs/{job['id']}"
    assert int(response.headers["retry-after"]) >= 1
    assert (queue.media_dir / job["id"] / "source").read_bytes() == VIDEO
    return str(job["id"])


def assert_refused(response: httpx.Response, status: int, code: str) -> None:
    """Check that a request was refused with one clear sentence."""
    assert response.headers["content-type"] == "application/problem+json", response.text
    problem = response.json()
    assert (response.status_code, problem["code"]) == (status, code), problem
    assert problem["title"]
    assert problem["detail"]

"""Faults that strike a running job at a random moment, and what must hold after each.

Used by a program that runs each of them many times (tests.bench.faults) and by a test that samples them. A fault is a
function that does its harm, undoes what a supervisor would undo, and returns; its random choices come from a seed.
"""

import contextlib
import os
import random
import resource
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import httpx

from tests.end_to_end.site import RECOVERY_SECONDS, Site
from tests.worker.jobs import assert_same_rows, poll
from tests.worker.worker_process import find_children
from worker.celery_app import ring
from worker.contract import ErrorCode, FrameRow, JobSnapshot, JobState
from worker.work_store import FINISH, INDEX, Bell

__all__ = ["FAULTS", "Strike", "strike"]

_UPLOAD_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class RunningJob:
    """What a fault strikes."""

    site: Site
    """Its Redis and workers are running; so they are again after the fault."""
    job_id: str
    video: bytes
    """Content of the upload."""
    rows: list[FrameRow]
    """The rows of a quiet run."""
    rng: random.Random
    """Chooses the moment, and what else the fault leaves open."""


Fault = Callable[[RunningJob], None]


@dataclass(frozen=True, slots=True)
class Strike:
    """What became of one job that a fault struck."""

    state: JobState | None
    """None: deleted."""
    code: ErrorCode | None
    recovery_seconds: float
    """From the end of the harm to the terminal state."""
    ended_workers: int
    """Workers that a supervisor had to start again, apart from those that the fault itself ended."""


def strike(site: Site, kind: str, *, video: bytes, rows: list[FrameRow], rng: random.Random, seconds: float) -> Strike:
    """Run one job, let a fault of FAULTS happen to it, and check everything that was promised.

    Args:
        site: Where.
        kind: Name of the fault.
        video: As in RunningJob.
        rows: As in RunningJob.
        rng: As in RunningJob.
        seconds: How long a quiet job takes.
    """
    client = site.client
    job_id = client.submit(video)
    time.sleep(rng.uniform(0, seconds))
    FAULTS[kind](RunningJob(site, job_id, video, rows, rng))
    undone = time.monotonic()
    ended_workers = 0

    def has_ended() -> bool:
        nonlocal ended_workers
        ended_workers += site.replace_ended_workers()
        job = client.store.get(job_id)
        return job is None or job.state.is_terminal

    assert poll(has_ended, seconds=RECOVERY_SECONDS), client.store.get(job_id)
    if client.store.get(job_id) is None:
        outcome = Strike(None, None, 0.0, ended_workers)
    else:
        end = client.get(job_id)
        code = end.failure.code if end.failure else None
        outcome = Strike(end.state, code, time.monotonic() - undone, ended_workers)
        _check_end(site, end, allowed=_ALLOWED.get(kind, frozenset()), rows=rows)
        assert client.store.delete(job_id)
    assert poll(lambda: not client.redis.keys(f"*{job_id}*"), seconds=RECOVERY_SECONDS), "DELETE leaves keys behind"
    assert poll(lambda: not client.has_uploads(), seconds=RECOVERY_SECONDS), "the upload is still there"
    return outcome


def _check_end(site: Site, end: JobSnapshot, *, allowed: frozenset[object], rows: list[FrameRow]) -> None:
    client, job_id = site.client, end.record.job_id
    how = end.failure.code if end.failure else end.state
    assert how is JobState.SUCCEEDED or how in allowed, end
    if how is JobState.SUCCEEDED:
        assert_same_rows(list(client.store.iter_rows(job_id)), rows)
    assert poll(lambda: not client.has_uploads(), seconds=RECOVERY_SECONDS), "the upload is still there"
    # a terminal state is terminal: messages that come late change nothing
    for unit in (INDEX, "0", FINISH):
        ring(client.celery, Bell(job_id, unit))
    assert poll(lambda: not client.redis.llen(client.queue.queue_name), seconds=RECOVERY_SECONDS), (
        "nobody takes messages"
    )
    assert (client.get(job_id).state, client.get(job_id).finished_at) == (end.state, end.finished_at)


def _kill_worker(job: RunningJob) -> None:
    number = job.site.choose_worker(job.rng)
    job.site.workers[number].kill()
    job.site.workers[number].wait()
    job.site.replace_worker(number)


def _kill_analysis(job: RunningJob) -> None:
    job.site.kill_analysis(job.site.choose_worker(job.rng))


def _kill_decoder(job: RunningJob) -> None:
    # one lives for a moment only: the next that is there
    poll(
        lambda: job.site.find_decoders() or job.site.client.get(job.job_id).state.is_terminal, seconds=RECOVERY_SECONDS
    )
    for decoder in job.site.find_decoders():
        with contextlib.suppress(ProcessLookupError):
            os.kill(decoder, signal.SIGKILL)


def _kill_redis(job: RunningJob) -> None:
    job.site.kill_redis()
    time.sleep(job.rng.choice([0.0, job.rng.uniform(0, 3)]))
    job.site.start_redis()


def _delete_queue(job: RunningJob) -> None:
    for _ in range(3):
        job.site.client.redis.delete(job.site.queue.queue_name)
        time.sleep(job.rng.uniform(0, 0.2))


def _repeat_messages(job: RunningJob) -> None:
    for _ in range(20):
        unit = job.rng.choice([INDEX, FINISH, *map(str, range(12))])
        ring(job.site.client.celery, Bell(job.job_id, unit))


def _fill_redis(job: RunningJob) -> None:
    job.site.client.redis.config_set("maxmemory", 1)
    time.sleep(job.rng.uniform(0, 2))
    job.site.client.redis.config_set("maxmemory", 0)


def _starve_analysis(job: RunningJob) -> None:
    """Let every allocation fail for a while: what shows as a MemoryError, or as what a library makes of it."""
    for analysis in find_children(job.site.workers[job.site.choose_worker(job.rng)].pid):
        with contextlib.suppress(ProcessLookupError):
            resource.prlimit(analysis, resource.RLIMIT_AS, (1, resource.RLIM_INFINITY))
            time.sleep(job.rng.uniform(0, 1))
            resource.prlimit(analysis, resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


def _stop_analysis(job: RunningJob) -> None:
    """Stop it for good, as if it hung: nobody lets it go on."""
    for analysis in find_children(job.site.workers[job.site.choose_worker(job.rng)].pid):
        with contextlib.suppress(ProcessLookupError):
            os.kill(analysis, signal.SIGSTOP)


def _stop_worker(job: RunningJob) -> None:
    number = job.site.choose_worker(job.rng)
    job.site.workers[number].send_signal(job.rng.choice([signal.SIGTERM, signal.SIGQUIT, signal.SIGINT]))
    job.site.workers[number].wait(timeout=RECOVERY_SECONDS)
    job.site.replace_worker(number)


def _cancel(job: RunningJob) -> None:
    job.site.client.store.cancel(job.job_id)


def _delete(job: RunningJob) -> None:
    assert job.site.client.store.delete(job.job_id)


def _kill_api(job: RunningJob) -> None:
    """Kill the API while it receives a second video: what it had accepted is analysed, the rest was never a job."""
    client = job.site.client
    job.site.ensure_api()
    accepted: list[str] = []
    upload = threading.Thread(target=lambda: accepted.extend(_upload_slowly(job)))
    upload.start()
    time.sleep(job.rng.uniform(0, 2 * _UPLOAD_SECONDS))
    job.site.kill_api()
    upload.join()
    job.site.ensure_api()
    # without an answer the client does not know, but the job may exist all the same
    others = {snapshot.record.job_id for snapshot in client.store.list_jobs(limit=10)} - {job.job_id}
    assert set(accepted) <= others
    for other in others:
        end = client.wait_for_end(other)
        assert end.state is JobState.SUCCEEDED, end
        assert_same_rows(list(client.store.iter_rows(other)), job.rows)
        assert client.store.delete(other)
    # half a video that no job knows of is the sweeper's to erase, a day later
    for upload_id in client.media.iter_stale_ids(older_than_seconds=-60):
        if client.store.get(upload_id) is None:
            client.media.delete(upload_id)


def _upload_slowly(job: RunningJob) -> list[str]:
    pieces = 10
    size = -(-len(job.video) // pieces)

    def iter_pieces() -> Iterator[bytes]:
        for start in range(0, len(job.video), size):
            yield job.video[start : start + size]
            time.sleep(_UPLOAD_SECONDS / pieces)

    try:
        answer = httpx.put(f"{job.site.api_url}/v1/jobs", content=iter_pieces(), timeout=RECOVERY_SECONDS)
    except httpx.TransportError:
        return []
    assert answer.status_code == httpx.codes.ACCEPTED, answer.text
    return [answer.json()["id"]]


FAULTS: dict[str, Fault] = {
    "worker killed": _kill_worker,
    "analysing process killed": _kill_analysis,
    "analysing process stopped": _stop_analysis,
    "decoder process killed": _kill_decoder,
    "redis killed": _kill_redis,
    "api killed": _kill_api,
    "queue deleted": _delete_queue,
    "messages repeated": _repeat_messages,
    "redis full": _fill_redis,
    "memory refused": _starve_analysis,
    "worker stopped": _stop_worker,
    "job canceled": _cancel,
    "job deleted": _delete,
}

_ALLOWED: dict[str, frozenset[object]] = {
    "memory refused": frozenset({ErrorCode.INTERNAL_ERROR, ErrorCode.DECODER_CRASHED, ErrorCode.POISON}),
    "job canceled": frozenset({JobState.CANCELED}),
}
"""Ends other than `succeeded` that a fault may bring about."""

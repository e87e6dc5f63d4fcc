"""JobStore: the jobs in Redis as the API sees them. WorkStore (worker.work_store) adds what only workers do.

These two classes, IntakeStore (worker.intake_store), WebhookStore (worker.webhook_store), MetricsStore
(worker.metrics_store), LimitBook (app.limits), worker.forgetting and their scripts hold every Redis key of the
service, apart from those of Celery:

    emoclip:job:<id>            hash: record, owner, state, times, counters, video, models, failure, summary, stitching
    emoclip:job:<id>:plans      hash: segment -> plan
    emoclip:job:<id>:work       hash: <unit>:token, :expires, :attempts, :frames; a unit is index, a segment or finish
    emoclip:job:<id>:raw        hash: segment -> its rows, until they are stitched
    emoclip:job:<id>:rows       hash: blob -> final rows
    emoclip:job:<id>:row_ends   list: for each blob the place after its last row
    emoclip:jobs:<owner>        sorted set of the owner's job ids, which sort by time
    emoclip:reserved:<hash>     an idempotency key: flight:<token>, then job:<id> as long as the job is there
    emoclip:upload:<id>         hash: record, offset of a resumable upload, whose id is that of the job to be
    emoclip:uploads:<owner>     sorted set of the owner's unfinished resumable uploads by the time at which they expire
    emoclip:open:<owner>        sorted set: the owner's jobs on their way; an upload that has no job yet by the time of
                                its end, in milliseconds (app.limits)
    emoclip:queued, :processing sorted sets: the jobs in this state by the time at which they came to it
    emoclip:metrics             hash: what workers and scripts count (worker.metrics_store)
    emoclip:forgotten           what the append-only file was rewritten for (worker.forgetting)
    emoclip:limits:*            what is left of an owner's limits (app.limits)
    emoclip:bells               sorted set: <unit>|<job id> by the time at which the sweeper has to look after it
    emoclip:webhooks            sorted set: job id by the time at which its webhook is due
    emoclip:workers             sorted set: worker by the time of its last sign of life

The record is the truth and a Celery message only a doorbell: what has to be done stands in `emoclip:bells` until it is.
Every key has a time to live. Free of torch, numpy and PyAV, so that the API process may import it.
"""

import secrets
import time
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import redis
from pydantic import TypeAdapter

from worker import store_scripts
from worker.blobs import unpack_rows
from worker.contract import (
    FrameRow,
    JobFailure,
    JobProgress,
    JobRecord,
    JobSnapshot,
    JobState,
    ModelVersion,
    TrackSummary,
    VideoFacts,
    WebhookAttempt,
    WebhookLog,
    WebhookState,
)
from worker.redis_client import StoreFullError, StoreUnavailableError, translate_redis_errors
from worker.settings import QueueSettings

__all__ = ["JobStore", "Pulse", "StoreFullError", "StoreUnavailableError", "new_job_id"]

_JOB_SUFFIXES = ("", ":plans", ":work", ":raw", ":rows", ":row_ends")
BELLS_KEY = "emoclip:bells"
WORKERS_KEY = "emoclip:workers"
_SUMMARY: TypeAdapter[tuple[TrackSummary, ...]] = TypeAdapter(tuple[TrackSummary, ...])
_LISTED_FIELDS = [
    "record",
    "state",
    "created_at",
    "started_at",
    "finished_at",
    "frames_done",
    "frames_total",
    "rows_ready",
    "video",
    "models",
    "failure",
    "generation",
    "webhook_state",
    "webhook_log",
    "webhook_due",
]
_PULSE_FIELDS = ["state", "generation", "frames_done", "rows_ready", "video"]
Pulse = tuple[bytes | None, ...]


def new_job_id() -> str:
    """Return 32 hex digits: 12 of the time in milliseconds, so that ids sort by age, and 80 random bits."""
    return f"{time.time_ns() // 1_000_000:012x}{secrets.token_hex(10)}"


class JobStore:
    """Creates, reads, lists, cancels and erases jobs; safe to use from several threads.

    Every method may raise StoreUnavailableError, and those that write StoreFullError, which is one.
    """

    def __init__(self, client: redis.Redis, settings: QueueSettings) -> None:
        self._redis = client
        self._settings = settings
        self._scripts: dict[str, Any] = {}  # redis-py's Script has no useful type

    def create(self, record: JobRecord) -> None:
        """Write the record of a queued job. From here on it is worked on even if no doorbell is rung."""
        self._create(record)

    def get(self, job_id: str) -> JobSnapshot | None:
        """Return all that is known of a job, its summary included; None where there is none."""
        return self.get_many([job_id])[0]

    def get_many(self, job_ids: Sequence[str]) -> list[JobSnapshot | None]:
        """Return the same of several jobs, in one round trip."""
        return self._read_snapshots(job_ids, [*_LISTED_FIELDS, "summary"])

    def get_pulses(self, job_ids: Sequence[str]) -> list[Pulse]:
        """Return for each job a value that changes with its state, progress or rows; far cheaper than a snapshot."""
        pipeline = self._redis.pipeline(transaction=False)
        for job_id in job_ids:
            pipeline.hmget(f"emoclip:job:{job_id}", _PULSE_FIELDS)
        with translate_redis_errors():
            return [tuple(values) for values in pipeline.execute()]

    def list_jobs(self, owner: str = "", *, limit: int, before: str | None = None) -> list[JobSnapshot]:
        """Return an owner's jobs, newest first, without their summaries.

        Args:
            owner: As in the records.
            limit: Most jobs to return.
            before: Id of the last job of the page before; None starts with the newest.
        """
        key = f"emoclip:jobs:{owner}"
        found: list[JobSnapshot] = []
        upper = f"({before}" if before else "+"
        while len(found) < limit:
            with translate_redis_errors():
                members: Any = self._redis.zrevrangebylex(key, upper, "-", 0, limit)
            if not members:
                break
            ids = [member.decode() for member in members]
            snapshots = self._read_snapshots(ids, _LISTED_FIELDS)
            found += [snapshot for snapshot in snapshots if snapshot is not None]
            expired = [job_id for job_id, snapshot in zip(ids, snapshots, strict=True) if snapshot is None]
            if expired:
                with translate_redis_errors():
                    self._redis.zrem(key, *expired)
            upper = f"({ids[-1]}"
        return found[:limit]

    def get_rows(self, job_id: str, *, start: int, limit: int) -> tuple[FrameRow, ...]:
        """Return final rows from a place on: as many as there are yet, at most `limit`. Reads only the blobs needed."""
        if start < 0 or limit < 1:
            raise ValueError(f"expected start >= 0 and limit >= 1, got {start = }, {limit = }")
        ends = self._read_row_ends(job_id)
        first = bisect_right(ends, start)
        last = bisect_right(ends, start + limit - 1)
        numbers = range(first, min(last + 1, len(ends)))
        offset = start - (ends[first - 1] if first else 0)
        rows = [row for blob in self._read_blobs(job_id, numbers) for row in unpack_rows(blob)]
        return tuple(rows[offset : offset + limit])

    def iter_rows(self, job_id: str) -> Iterator[FrameRow]:
        """Yield all final rows there are at the start of the iteration, holding one blob at a time."""
        for number in range(len(self._read_row_ends(job_id))):
            for blob in self._read_blobs(job_id, range(number, number + 1)):
                yield from unpack_rows(blob)

    def cancel(self, job_id: str) -> bool:
        """End a queued or processing job as `canceled`; its worker stops within a batch. False where it had ended."""
        return bool(self._run(store_scripts.CANCEL, job_id))

    def delete(self, job_id: str) -> bool:
        """Erase every key of a job in any state, at once; a worker on it stops within a batch.

        The upload is the caller's to delete (MediaStore.delete, then `confirm_erased`); failing that, the sweeper does.

        Returns:
            False where there is no such job.
        """
        return bool(self._run(store_scripts.DELETE, job_id))

    def confirm_erased(self, job_id: str) -> None:
        """Note that the upload of an ended or deleted job is gone."""
        with translate_redis_errors():
            self._redis.zrem(BELLS_KEY, f"erase|{job_id}")

    def is_known(self, job_id: str) -> bool:
        """Return whether there is a job of this id, or a resumable upload that may become one."""
        with translate_redis_errors():
            return bool(self._redis.exists(f"emoclip:job:{job_id}", f"emoclip:upload:{job_id}"))

    def count_workers(self) -> int:
        """Return how many workers gave a sign of life of late; an answer at all shows that Redis can be reached."""
        return len(self.list_workers())

    def list_workers(self) -> list[str]:
        """Return the names of the workers that gave a sign of life of late."""
        with translate_redis_errors():
            names: Any = self._redis.zrange(WORKERS_KEY, 0, -1)
        return [name.decode() for name in names]

    def _create(
        self, record: JobRecord, *, reservation: str = "", token: str = "", resumed_bytes: int | None = None
    ) -> int:
        has_webhook = int(record.callback_url is not None)
        resumed = "" if resumed_bytes is None else resumed_bytes
        arguments = (record.model_dump_json(), record.owner, has_webhook, reservation, token, resumed)
        return self._run(store_scripts.CREATE, record.job_id, *arguments)

    def _read_snapshots(self, job_ids: Sequence[str], fields: list[str]) -> list[JobSnapshot | None]:
        pipeline = self._redis.pipeline(transaction=True)
        pipeline.time()
        for job_id in job_ids:
            pipeline.hmget(f"emoclip:job:{job_id}", fields)
            pipeline.pttl(f"emoclip:job:{job_id}")
        with translate_redis_errors():
            (seconds, microseconds), *answers = pipeline.execute()
        now = seconds + microseconds / 1e6
        return [
            _to_snapshot(dict(zip(fields, values, strict=True)), now=now, ttl_ms=ttl_ms)
            for values, ttl_ms in zip(answers[::2], answers[1::2], strict=True)
        ]

    def _read_row_ends(self, job_id: str) -> list[int]:
        with translate_redis_errors():
            ends: Any = self._redis.lrange(f"emoclip:job:{job_id}:row_ends", 0, -1)
        return [int(end) for end in ends]

    def _read_blobs(self, job_id: str, numbers: range) -> list[bytes]:
        if not numbers:
            return []
        with translate_redis_errors():
            blobs: Any = self._redis.hmget(f"emoclip:job:{job_id}:rows", [str(number) for number in numbers])
        return [blob for blob in blobs if blob is not None]  # None: the job was erased meanwhile

    def _run(self, script: str, job_id: str, *arguments: str | bytes | int) -> int:
        """Run a script on one job with the keys and arguments that all of them share."""
        keys = [f"emoclip:job:{job_id}{suffix}" for suffix in _JOB_SUFFIXES]
        settings = self._settings
        shared = (settings.unfinished_ttl_seconds, settings.result_ttl_seconds, settings.doorbell_seconds)
        answer = self._call(
            script, [*keys, BELLS_KEY], [job_id, *(round(seconds * 1000) for seconds in shared), *arguments]
        )
        return int(answer)

    def _call(self, script: str, keys: list[str], arguments: list[str | bytes | int]) -> Any:
        registered = self._scripts.setdefault(script, self._redis.register_script(script))
        with translate_redis_errors():
            return registered(keys=keys, args=arguments)


def _to_snapshot(fields: dict[str, bytes | None], *, now: float, ttl_ms: int) -> JobSnapshot | None:
    if not fields["record"] or not fields["state"] or ttl_ms < 0:
        return None
    finished = _to_time(fields["finished_at"])
    created = _to_time(fields["created_at"])
    assert created is not None, "create writes it with the record"
    models = [ModelVersion.model_validate_json(line) for line in (fields["models"] or b"").splitlines()]
    record = JobRecord.model_validate_json(fields["record"])
    return JobSnapshot(
        record=record,
        state=JobState(fields["state"].decode()),
        created_at=created,
        started_at=_to_time(fields["started_at"]),
        finished_at=finished,
        expires_at=datetime.fromtimestamp(now + ttl_ms / 1000, UTC),
        progress=_to_progress(fields, now=finished.timestamp() if finished else now),
        rows_ready=int(fields["rows_ready"] or 0),
        generation=int(fields["generation"] or 0),
        video=VideoFacts.model_validate_json(fields["video"]) if fields["video"] else None,
        model=models[0] if models else None,
        other_models=tuple(models[1:]),
        failure=JobFailure.model_validate_json(fields["failure"]) if fields["failure"] else None,
        summary=_SUMMARY.validate_json(summary) if (summary := fields.get("summary")) else None,
        webhook=_to_webhook_log(fields) if record.callback_url is not None else None,
    )


def _to_webhook_log(fields: dict[str, bytes | None]) -> WebhookLog:
    state = WebhookState((fields["webhook_state"] or b"waiting").decode())
    return WebhookLog(
        state=state,
        attempts=tuple(
            WebhookAttempt.model_validate_json(line) for line in (fields["webhook_log"] or b"").splitlines()
        ),
        next_attempt_at=_to_time(fields["webhook_due"]) if state is WebhookState.PENDING else None,
    )


def _to_progress(fields: dict[str, bytes | None], *, now: float) -> JobProgress:
    done = int(fields["frames_done"] or 0)
    total = int(fields["frames_total"]) if fields["frames_total"] else None
    if not done or not fields["started_at"]:
        return JobProgress(frames_done=done, frames_total=total)
    rate = done / max(now - int(fields["started_at"]) / 1000, 0.001)
    eta = max(total - done, 0) / rate if total is not None else None
    return JobProgress(frames_done=done, frames_total=total, frames_per_second=rate, eta_seconds=eta)


def _to_time(milliseconds: bytes | None) -> datetime | None:
    return datetime.fromtimestamp(int(milliseconds) / 1000, UTC) if milliseconds else None

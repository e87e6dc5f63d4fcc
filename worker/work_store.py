"""WorkStore: the steps of a job that workers take: claim, renew, plan, put, stitch, finish, fail, sweep.

Work is held by a lease. Its token is random and is checked by every step, in the same script that takes the step: a
worker that was too slow and lost its lease cannot change anything any more, and at most one worker ends a job.
"""

import json
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from worker import store_scripts
from worker.blobs import ROWS_PER_BLOB, pack, pack_rows, unpack
from worker.contract import (
    ErrorCode,
    JobFailure,
    JobState,
    ModelVersion,
    SegmentPlan,
    SegmentRows,
    StitchState,
    TrackSummary,
    VideoFacts,
)
from worker.metrics_store import list_counts
from worker.redis_client import translate_redis_errors
from worker.stage_clock import SegmentWork
from worker.store import BELLS_KEY, WORKERS_KEY, JobStore

__all__ = ["ERASE", "FINISH", "INDEX", "Bell", "Lease", "Put", "Stitch", "WorkStore"]

INDEX = "index"
FINISH = "finish"
ERASE = "erase"
_LONGEST_BELL_SECONDS = 600
_SWEPT_AT_ONCE = 200

Stitch = Callable[[StitchState, SegmentRows], tuple[SegmentRows, StitchState]]


@dataclass(frozen=True, slots=True)
class Bell:
    """A step that is due: `unit` is INDEX, FINISH, ERASE or the number of a segment as text."""

    job_id: str
    unit: str


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to work on one unit of a job, until it expires or someone else holds it."""

    job_id: str
    unit: str
    token: str
    attempt: int
    """1 for the first start."""

    @property
    def segment(self) -> int:
        """Number of the segment; only for the lease of one."""
        return int(self.unit)


class Put(IntEnum):
    """What became of a segment's rows."""

    REFUSED = 0
    """The lease was lost, or the job has ended."""
    STORED = 1
    LAST = 2
    """Stored, and no segment is missing any more: finish is due."""


class WorkStore(JobStore):
    """JobStore with the verbs of workers."""

    def claim_index(self, job_id: str) -> Lease | None:
        """Start indexing; None where it is not due or somebody else holds it. The job is `processing` from here on."""
        return self._claim(job_id, INDEX)

    def claim_segment(self, job_id: str, segment: int) -> Lease | None:
        """Start a segment; None where it is done, not due or held. One start more than allowed fails the job."""
        return self._claim(job_id, str(segment))

    def claim_finish(self, job_id: str) -> Lease | None:
        """Start finishing; None where segments are missing or somebody else holds it."""
        return self._claim(job_id, FINISH)

    def renew(self, lease: Lease, *, frames_done: int = 0) -> bool:
        """Keep a lease for its full time from now and note progress; False where it is lost or the job has ended."""
        return bool(self._run_leased(store_scripts.RENEW, lease, self._lease_ms, frames_done))

    def release(self, lease: Lease, *, counted: bool) -> bool:
        """Give a lease back unfinished, so that somebody else may start at once.

        Args:
            lease: The lease; False is returned where it was lost already.
            counted: Whether this start counts towards poison; not where the worker was only told to stop.
        """
        return bool(self._run_leased(store_scripts.RELEASE, lease, int(counted)))

    def put_plans(self, lease: Lease, video: VideoFacts, plans: Sequence[SegmentPlan]) -> bool:
        """Store the plan of the segments; also, under the lease of a segment, a new one in place of the old.

        The second use forgets all rows and every lease of the old plan. Numbers of segments must count from 0.
        """
        assert [plan.segment for plan in plans] == list(range(len(plans))), "segments count from 0"
        assert plans, "a video has at least one segment"
        blobs = [pack(plan) for plan in plans]
        return bool(self._run_leased(store_scripts.PLAN, lease, video.model_dump_json(), video.analysed_frames, *blobs))

    def get_plan(self, lease: Lease) -> SegmentPlan | None:
        """Return the plan of a leased segment; None where the job is gone."""
        with translate_redis_errors():
            blob: Any = self._redis.hget(f"emoclip:job:{lease.job_id}:plans", lease.unit)
        return unpack(SegmentPlan, blob) if blob else None

    def put_segment(
        self, lease: Lease, rows: SegmentRows, *, model: ModelVersion, work: SegmentWork | None = None
    ) -> Put:
        """Store the rows of a leased segment, with its own track numbers, and end the lease.

        Args:
            lease: The lease of the segment.
            rows: Its rows.
            model: What made them.
            work: What it took, for the service's metrics.
        """
        frames = len(rows.rows)
        counts = list_counts(work, frames=frames) if work else []
        return Put(self._run_leased(store_scripts.PUT, lease, pack(rows), model.model_dump_json(), frames, *counts))

    def advance_stitching(self, job_id: str, stitch: Stitch) -> bool:
        """Give final track numbers to all segments that follow on those that have them, and make their rows readable.

        Several workers may try at once: a step that another one took first is read again, never repeated.

        Returns:
            True where the rows of the whole video are ready.
        """
        key = f"emoclip:job:{job_id}"
        while True:
            with translate_redis_errors():
                answers: Any = self._redis.hmget(
                    key, ["state", "generation", "segments", "stitched", "stitch", "rows_ready"]
                )
            state_name, generation, segments, stitched, state_json, rows_ready = answers
            if state_name != JobState.PROCESSING.encode() or not segments:
                return False
            number = int(stitched)
            if number == int(segments):
                return True
            with translate_redis_errors():
                blob: Any = self._redis.hget(f"{key}:raw", str(number))
            if blob is None:
                return False
            state = StitchState.model_validate_json(state_json) if state_json else StitchState()
            final, after = stitch(state, unpack(SegmentRows, blob))
            self._put_final(job_id, int(generation), final, after, first_row=int(rows_ready))

    def succeed(self, lease: Lease, summary: Sequence[TrackSummary], *, video: VideoFacts) -> bool:
        """End a job whose rows are ready; False where the lease of FINISH is lost."""
        text = json.dumps([track.model_dump(mode="json") for track in summary])
        return bool(
            self._run(
                store_scripts.SUCCEED, lease.job_id, lease.token, text, video.model_dump_json(), video.analysed_frames
            )
        )

    def fail(self, lease: Lease, failure: JobFailure) -> bool:
        """End a job as failed; False where the lease is lost."""
        return bool(self._run_leased(store_scripts.FAIL, lease, failure.model_dump_json()))

    def sweep(self) -> list[Bell]:
        """Return the steps whose bell must be rung (again): lost messages, expired leases, uploads to erase.

        What is returned is not due again for a while, so that several sweepers do not ring for the same.
        """
        waiting = self.count_messages()
        members = self._call(
            store_scripts.SWEEP,
            [BELLS_KEY],
            [
                round(self._settings.doorbell_seconds * 1000),
                _LONGEST_BELL_SECONDS * 1000,
                waiting,
                _SWEPT_AT_ONCE,
                self._settings.unfinished_ttl_seconds * 1000,
            ],
        )
        parts = [member.decode().split("|") for member in members]
        return [Bell(job_id=job_id, unit=unit) for unit, job_id in parts]

    def count_messages(self) -> int:
        """Return how many messages wait in the queue."""
        with translate_redis_errors():
            waiting: Any = self._redis.llen(self._settings.queue_name)
        return int(waiting)

    def beat(self, worker: str) -> None:
        """Note a sign of life of a worker, which counts for three heartbeats."""
        self._call(store_scripts.BEAT, [WORKERS_KEY], [worker, round(3000 * self._settings.heartbeat_seconds)])

    def leave(self, worker: str) -> None:
        """Note that a worker has gone."""
        with translate_redis_errors():
            self._redis.zrem(WORKERS_KEY, worker)

    @property
    def _lease_ms(self) -> int:
        return round(self._settings.lease_seconds * 1000)

    def _claim(self, job_id: str, unit: str) -> Lease | None:
        attempts = self._settings.max_attempts
        poison = JobFailure(
            code=ErrorCode.POISON,
            message=f"Work on this video was started {attempts} times and never came to an end; "
            "please convert it to another format or cut it into shorter pieces.",
        )
        token = secrets.token_hex(8)
        attempt = self._run(
            store_scripts.CLAIM, job_id, unit, token, self._lease_ms, attempts, poison.model_dump_json()
        )
        return Lease(job_id=job_id, unit=unit, token=token, attempt=attempt) if attempt else None

    def _run_leased(self, script: str, lease: Lease, *arguments: str | bytes | int) -> int:
        return self._run(script, lease.job_id, lease.unit, lease.token, *arguments)

    def _put_final(
        self, job_id: str, generation: int, final: SegmentRows, after: StitchState, *, first_row: int
    ) -> None:
        blobs: list[str | bytes | int] = []
        for start in range(0, len(final.rows), ROWS_PER_BLOB):
            rows = final.rows[start : start + ROWS_PER_BLOB]
            blobs += [first_row + start + len(rows), pack_rows(rows)]
        end = first_row + len(final.rows)
        self._run(store_scripts.STITCH, job_id, generation, final.segment, after.model_dump_json(), end, *blobs)

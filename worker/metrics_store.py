"""MetricsStore: what all workers and jobs together look like now, read from Redis for `/metrics`.

Workers count in one hash, emoclip:metrics, whose fields are few and name no job:

    ended:<state>  failed:<code>             jobs, by the scripts that end them
    frames  segments  busy_seconds           segments whose rows were stored, by the script that stores them
    stage:decode  stage:detect  stage:network    their seconds

Free of torch, numpy and PyAV, so that the API process may import it.
"""

from dataclasses import dataclass
from typing import Any

import redis

from worker.contract import ErrorCode, JobState
from worker.redis_client import translate_redis_errors
from worker.settings import QueueSettings
from worker.stage_clock import SegmentWork, Stage
from worker.store import WORKERS_KEY

__all__ = ["MetricsStore", "WorkFigures", "list_counts"]

_METRICS_KEY = "emoclip:metrics"
_LOOKED_AT_ONCE = 50


@dataclass(frozen=True, slots=True)
class WorkFigures:
    """All jobs and workers at one moment."""

    queued: int
    processing: int
    oldest_queued_seconds: float
    """Since the oldest queued job was accepted; 0 where none is queued."""
    messages: int
    """In Celery's queue."""
    workers: int
    ended: dict[JobState, int]
    failed: dict[ErrorCode, int]
    frames: int
    segments: int
    busy_seconds: float
    """For which workers analysed segments, all workers added up."""
    stage_seconds: dict[Stage, float]


def list_counts(work: SegmentWork, *, frames: int) -> list[str | bytes | int]:
    """Return what a segment adds to the hash: field, amount, field, amount, ..."""
    counts: dict[str, float] = {"frames": frames, "segments": 1, "busy_seconds": work.seconds}
    counts |= {f"stage:{stage}": seconds for stage, seconds in work.stage_seconds.items()}
    return [part for field, amount in counts.items() for part in (field, f"{amount:.6f}")]


class MetricsStore:
    """Reads the figures; every method may raise StoreUnavailableError."""

    def __init__(self, client: redis.Redis, settings: QueueSettings) -> None:
        self._redis = client
        self._settings = settings

    def read(self) -> WorkFigures:
        """Return the figures of this moment."""
        self._forget_expired()
        pipeline = self._redis.pipeline(transaction=True)
        pipeline.time()
        pipeline.zcard("emoclip:queued")
        pipeline.zrange("emoclip:queued", 0, 0, withscores=True)
        pipeline.zcard("emoclip:processing")
        pipeline.zcard(WORKERS_KEY)
        pipeline.llen(self._settings.queue_name)
        pipeline.hgetall(_METRICS_KEY)
        with translate_redis_errors():
            answers: Any = pipeline.execute()
        (seconds, microseconds), queued, oldest, processing, workers, messages, counted = answers
        now = seconds + microseconds / 1e6
        counts = {field.decode(): float(amount) for field, amount in counted.items()}
        return WorkFigures(
            queued=queued,
            processing=processing,
            oldest_queued_seconds=max(now - oldest[0][1] / 1000, 0.0) if oldest else 0.0,
            messages=messages,
            workers=workers,
            ended={state: int(counts.get(f"ended:{state}", 0)) for state in JobState if state.is_terminal},
            failed={code: int(counts.get(f"failed:{code}", 0)) for code in ErrorCode},
            frames=int(counts.get("frames", 0)),
            segments=int(counts.get("segments", 0)),
            busy_seconds=counts.get("busy_seconds", 0.0),
            stage_seconds={stage: counts.get(f"stage:{stage}", 0.0) for stage in Stage},
        )

    def _forget_expired(self) -> None:
        """Take out the oldest jobs whose record expired before they came to an end: no script came by to do it."""
        for key in ("emoclip:queued", "emoclip:processing"):
            with translate_redis_errors():
                found: Any = self._redis.zrange(key, 0, _LOOKED_AT_ONCE - 1)
                for job_id in found:
                    if self._redis.exists(f"emoclip:job:{job_id.decode()}"):
                        break
                    self._redis.zrem(key, job_id)

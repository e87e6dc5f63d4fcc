"""What the API answers with, as pydantic models with examples; rows and their parts are worker.contract's own."""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict

from app.exports.head import Summary
from app.schema_examples import JOB_EXAMPLE, JOB_ID, ROW_EXAMPLE
from worker.contract import (
    Emotion,
    FrameRow,
    JobFailure,
    JobOptions,
    JobProgress,
    JobState,
    ModelVersion,
    VideoFacts,
    WebhookAttempt,
    WebhookState,
)

__all__ = [
    "EndEvent",
    "FramesPage",
    "Health",
    "Job",
    "JobEvent",
    "JobLinks",
    "JobPage",
    "ProgressEvent",
    "Readiness",
    "ResetEvent",
    "RowsEvent",
    "Timeline",
    "TimelineTrack",
    "Upload",
    "Webhook",
]


class _Answer(BaseModel):
    model_config = ConfigDict(use_attribute_docstrings=True)


class Upload(_Answer):
    """The video as it arrived; the service deletes it when the job ends."""

    file_name: str
    """As the client named it, if it did; escape it wherever it is shown."""
    size_bytes: int
    sha256: str


class JobLinks(_Answer):
    """Where the job's parts are."""

    self: str
    frames: str
    events: str
    result: str | None
    """Set once the job succeeded."""


class Webhook(_Answer):
    """The announcement of a job's end."""

    url: str
    """Where it goes; path and query are not shown, as they may hold secrets."""
    state: WebhookState
    attempts: list[WebhookAttempt]
    next_attempt_at: datetime | None


class Job(_Answer):
    """One video on its way to its rows: `queued -> processing -> succeeded | failed | canceled`."""

    model_config = ConfigDict(json_schema_extra={"examples": [JOB_EXAMPLE]})

    id: str
    state: JobState
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    expires_at: datetime
    """When the job and its rows are erased."""
    options: JobOptions
    upload: Upload
    progress: JobProgress
    rows_ready: int
    """Rows that can be read now, also while the job runs."""
    video: VideoFacts | None
    """Known once the video was read."""
    model: ModelVersion | None
    """Which weights made the rows, and what ran them."""
    error: JobFailure | None
    """Why the job failed: a code for programs and a sentence for people."""
    summary: Summary | None
    """Per track, once the job succeeded; not in lists."""
    webhook: Webhook | None = None
    """Where the job's end is announced, and what became of it; null without a `callback_url`."""
    links: JobLinks


class JobEvent(_Answer):
    """Body of a webhook (Standard Webhooks 1.0)."""

    type: Literal["job.succeeded", "job.failed", "job.canceled"]
    timestamp: datetime
    """When the job ended."""
    data: Job
    """The job as it ended. `webhook` is null, and so is the summary of a video with thousands of tracks."""


class JobPage(_Answer):
    """Jobs, newest first."""

    jobs: list[Job]
    next: str | None
    """Give it as `cursor` for older jobs; null at the end."""


class FramesPage(_Answer):
    """Rows of consecutive analysed frames."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "job_id": JOB_ID,
                    "state": "processing",
                    "start": 12,
                    "smoothing_seconds": 0.0,
                    "rows": [ROW_EXAMPLE],
                    "next": 13,
                }
            ]
        }
    )

    job_id: str
    state: JobState
    start: int
    """Position of the first row among the analysed frames."""
    smoothing_seconds: float
    rows: list[FrameRow]
    next: int | None
    """Give it as `start` for the rows that follow. Null when the job has ended and all its rows were read; while the
    job runs it is never null, and a page without rows means: ask again after `Retry-After` seconds."""


class ProgressEvent(_Answer):
    """Data of the event `progress`."""

    state: JobState
    frames_done: int
    frames_total: int | None
    """None until the video was read."""
    frames_per_second: float | None
    eta_seconds: float | None
    rows_ready: int
    """Rows that can be read now."""


class RowsEvent(_Answer):
    """Data of the event `rows`: rows that follow on those of the event before."""

    start: int
    """Position of the first row among the analysed frames."""
    smoothing_seconds: float
    rows: list[FrameRow]
    next: int
    """Position of the row that will follow."""


class ResetEvent(_Answer):
    """Data of the event `reset`: all rows so far are void."""

    next: int
    """Position of the row that will follow: 0."""


class EndEvent(_Answer):
    """Data of the event `end`."""

    reason: Literal["ended", "erased"]
    """The job has a terminal state, or is gone."""
    job: Job | None
    """As it ended, its summary included; null where it is gone."""


class TimelineTrack(_Answer):
    """One track, from the first span of time that saw it to the last one."""

    track: int
    first_span: int
    seen: list[float]
    """For each span the share of its analysed time in which the track was in the picture, 0..1."""
    probabilities: dict[Emotion, list[float | None]]
    """For each span the mean; null where the track was not in the picture."""


class Timeline(_Answer):
    """The video in few points: each track's mean probabilities over equal spans of time."""

    job_id: str
    state: JobState
    smoothing_seconds: float
    end_seconds: float
    """The spans divide the time from 0 to here."""
    span_seconds: float
    spans: int
    rows: int
    """Analysed frames that went into it: while the job runs, those that can be read now."""
    positions: list[int]
    """For each span, as far as rows reach, the place of the row shown at its beginning: a `start` for frames."""
    cuts: list[float]
    """Times at which faces stay in the picture but each of them has a new track; at most one a span."""
    without_face: list[tuple[float, float]]
    """Stretches of time without any face, none shorter than a span."""
    tracks: list[TimelineTrack]


class Health(_Answer):
    """The process answers."""

    status: Literal["ok"] = "ok"


class Readiness(_Answer):
    """Redis answers and a worker has been heard from: jobs would be accepted and worked on."""

    status: Literal["ready"] = "ready"
    workers: int
    """Workers heard from lately."""

"""What the API answers with, as pydantic models with examples; rows and their parts are worker.contract's own."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from app.exports.captions import DEFAULT_HYSTERESIS, DEFAULT_MIN_SPAN_SECONDS
from app.exports.formats import ExportFormat
from app.exports.head import Summary
from app.file_names import MAX_FILE_NAME, clean_file_name
from app.webhook_target import MAX_URL, clean_webhook_url
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
    "CreateParameters",
    "EndEvent",
    "EventsParameters",
    "FramesPage",
    "FramesParameters",
    "Health",
    "Job",
    "JobEvent",
    "JobLinks",
    "JobPage",
    "ListParameters",
    "ProgressEvent",
    "Readiness",
    "ResetEvent",
    "ResultParameters",
    "Timeline",
    "TimelineParameters",
    "TimelineTrack",
    "RowsEvent",
    "Upload",
    "Webhook",
]

_JOB_ID = "0193f2c41b7a4e0c8d5bb1b2a4f07e66"
_TRACK_EXAMPLE: dict[str, Any] = {
    "track": 1,
    "frames": 250,
    "start_seconds": 0.0,
    "end_seconds": 9.96,
    "emotion": "happiness",
    "mean_probabilities": {
        "neutral": 0.062,
        "anger": 0.011,
        "disgust": 0.008,
        "fear": 0.006,
        "happiness": 0.881,
        "sadness": 0.014,
        "surprise": 0.018,
    },
    "shares": {
        "neutral": 0.048,
        "anger": 0.0,
        "disgust": 0.0,
        "fear": 0.0,
        "happiness": 0.952,
        "sadness": 0.0,
        "surprise": 0.0,
    },
}
_JOB_EXAMPLE: dict[str, Any] = {
    "id": _JOB_ID,
    "state": "succeeded",
    "created_at": "2026-11-23T18:30:00.125Z",
    "started_at": "2026-11-23T18:30:00.310Z",
    "finished_at": "2026-11-23T18:30:12.842Z",
    "expires_at": "2026-11-24T18:30:12.842Z",
    "options": {"sample_fps": None, "max_faces": None, "min_face_pixels": None, "purpose": "research"},
    "upload": {"file_name": "talk.mp4", "size_bytes": 1048576, "sha256": "9f86d081884c7d659a2feaa0c55ad015" * 2},
    "progress": {"frames_done": 250, "frames_total": 250, "frames_per_second": 19.9, "eta_seconds": 0.0},
    "rows_ready": 250,
    "video": {
        "duration_seconds": 10.0,
        "frame_count": 250,
        "analysed_frames": 250,
        "width": 1280,
        "height": 720,
        "rotation_degrees": 0,
        "codec": "h264",
    },
    "model": {
        "name": "resnet18-cbam-blstm",
        "sha256": "3b5d5c3712ab07aa" * 4,
        "detector": "retinaface-mobilenet0.25",
        "detector_sha256": "b7a7acab7d4e9c30" * 4,
        "labels": ["neutral", "anger", "disgust", "fear", "happiness", "sadness", "surprise"],
        "runtime": {
            "emoclip": "0.1.0",
            "python": "3.11.9",
            "torch": "2.14.1",
            "torchvision": "0.29.1",
            "numpy": "2.3.5",
            "opencv": "4.12.0",
            "pyav": "18.1.0",
            "ffmpeg": {"libavcodec": "62.28.102", "libavformat": "62.12.102"},
            "device": "NVIDIA H100",
            "precision": "bfloat16",
            "long_side": 960,
            "upscale_to": 640,
            "score_threshold": 0.8,
        },
    },
    "error": None,
    "summary": {"tracks": [_TRACK_EXAMPLE]},
    "webhook": {
        "url": "https://example.com",
        "state": "delivered",
        "attempts": [{"at": "2026-11-23T18:30:13.112Z", "status": 204, "error": None, "seconds": 0.083}],
        "next_attempt_at": None,
    },
    "links": {
        "self": f"/v1/jobs/{_JOB_ID}",
        "frames": f"/v1/jobs/{_JOB_ID}/frames",
        "events": f"/v1/jobs/{_JOB_ID}/events",
        "result": f"/v1/jobs/{_JOB_ID}/result",
    },
}
_ROW_EXAMPLE: dict[str, Any] = {
    "frame": 12,
    "pts_seconds": 0.4004,
    "faces": [
        {
            "track": 1,
            "box": [412.0, 96.5, 583.2, 310.9],
            "score": 0.998,
            "landmarks": [[455.1, 180.2], [540.0, 178.8], [498.7, 232.0], [462.3, 262.5], [533.4, 261.0]],
            "emotion": "happiness",
            "probabilities": {
                "neutral": 0.021,
                "anger": 0.004,
                "disgust": 0.002,
                "fear": 0.001,
                "happiness": 0.961,
                "sadness": 0.004,
                "surprise": 0.007,
            },
        }
    ],
}


class _Answer(BaseModel):
    model_config = ConfigDict(use_attribute_docstrings=True)


class _Parameters(BaseModel):
    # a misspelt parameter is refused rather than ignored
    model_config = ConfigDict(use_attribute_docstrings=True, extra="forbid")


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

    model_config = ConfigDict(json_schema_extra={"examples": [_JOB_EXAMPLE]})

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
                    "job_id": _JOB_ID,
                    "state": "processing",
                    "start": 12,
                    "smoothing_seconds": 0.0,
                    "rows": [_ROW_EXAMPLE],
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


class CreateParameters(JobOptions):
    """Options of a new job."""

    file_name: Annotated[str, Field(max_length=MAX_FILE_NAME), AfterValidator(clean_file_name)] | None = None
    """Name to show for the video; a form's own file name by default."""
    callback_url: Annotated[str, Field(max_length=MAX_URL), AfterValidator(clean_webhook_url)] | None = None
    """https URL to which the job's end is sent, signed after Standard Webhooks 1.0; refused where webhooks are off."""


class ListParameters(_Parameters):
    """Which jobs."""

    limit: Annotated[int, Field(ge=1, le=200)] = 50
    """Most jobs in the answer."""
    cursor: Annotated[str, Field(pattern="^[0-9a-f]{32}$")] | None = None
    """`next` of the page before."""


class SmoothingParameters(_Parameters):
    """How rows are smoothed."""

    smoothing_seconds: Annotated[float, Field(ge=0, le=60)] = 0.0
    """Mean of each track's probabilities over a window of so many seconds, centred; 0 gives them as predicted."""


class FramesParameters(SmoothingParameters):
    """Which rows, and how."""

    start: Annotated[int, Field(ge=0, le=10**9)] = 0
    """Place of the first row among the analysed frames: 0, then `next` of the page before."""
    limit: Annotated[int, Field(ge=1, le=10_000)] = 1000
    """Most rows in the answer."""


class EventsParameters(SmoothingParameters):
    """What is followed, and from where."""

    rows: bool = True
    """Whether rows are sent; without them the stream carries state and progress alone."""
    last_event_id: Annotated[str, Field(max_length=32)] = ""
    """For clients that cannot set the header `Last-Event-ID`, which goes before it."""


class ResultParameters(SmoothingParameters):
    """Which form of the result."""

    format: ExportFormat | None = None
    """Wins over `Accept`; without either, JSON. `provenance` goes beside `csv` and `srt`, which cannot hold it."""
    min_span_seconds: Annotated[float, Field(ge=0, le=3600)] = DEFAULT_MIN_SPAN_SECONDS
    """For `vtt` and `srt`: shorter spans of an expression join a neighbour."""
    hysteresis: Annotated[float, Field(ge=0, le=1)] = DEFAULT_HYSTERESIS
    """For `vtt` and `srt`: lead in probability that another expression needs to begin a new span."""


class TimelineParameters(SmoothingParameters):
    """How finely, and how smoothed."""

    resolution: Annotated[int, Field(ge=1, le=4000)] = 600
    """Into how many equal spans of time the video is divided; never more than it has analysed frames."""


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

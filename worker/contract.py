"""Everything that crosses a process border, as pydantic models: options, plans, rows, summaries, the job record.

Free of torch, numpy and PyAV, so that the API process may import it.
"""

from datetime import datetime
from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from model.labels import CLIP_FRAMES, EMOTIONS, Emotion
from worker.purposes import AcceptedPurpose

__all__ = [
    "CLIP_FRAMES",
    "Emotion",
    "ErrorCode",
    "FaceRow",
    "FrameRow",
    "JobFailure",
    "JobOptions",
    "JobProgress",
    "JobRecord",
    "JobSnapshot",
    "JobState",
    "ModelVersion",
    "Runtime",
    "SegmentPlan",
    "SegmentRows",
    "StitchState",
    "TrackEnd",
    "TrackSummary",
    "VideoFacts",
    "WebhookAttempt",
    "WebhookLog",
    "WebhookState",
]

Box = tuple[float, float, float, float]
Point = tuple[float, float]


class Contract(BaseModel):
    """Base of all messages: immutable, and an unknown field is an error rather than silently lost."""

    # no input in errors: it may hold a file's name, and errors are logged
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, hide_input_in_errors=True)


class JobState(StrEnum):
    """`queued -> processing -> succeeded | failed | canceled`; the last three are terminal."""

    QUEUED = "queued"
    PROCESSING = "processing"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"

    @property
    def is_terminal(self) -> bool:
        """Whether no further transition is allowed."""
        return self in (JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELED)


class ErrorCode(StrEnum):
    """Why a job failed; one leaf of worker.errors.AnalysisError each."""

    UNSUPPORTED_MEDIA = "unsupported_media"
    NO_VIDEO_STREAM = "no_video_stream"
    UNDECODABLE = "undecodable"
    TOO_LONG = "too_long"
    TOO_MANY_PIXELS = "too_many_pixels"
    DECODE_TIMEOUT = "decode_timeout"
    DECODER_CRASHED = "decoder_crashed"
    UPLOAD_MISSING = "upload_missing"
    POISON = "poison"
    INTERNAL_ERROR = "internal_error"


class JobFailure(Contract):
    """What a client learns of a failed job."""

    code: ErrorCode
    message: str


class JobOptions(Contract):
    """What a client may choose per job."""

    sample_fps: Annotated[float, Field(gt=0, le=1000)] | None = None
    """Analyse at most so many frames a second; None analyses every frame."""
    max_faces: Annotated[int, Field(ge=1, le=100)] | None = None
    """Keep the so many largest faces of a frame; None keeps all."""
    min_face_pixels: Annotated[int, Field(ge=1, le=10_000)] | None = None
    """Ignore faces whose box is narrower or lower than so many pixels of the displayed frame."""
    purpose: AcceptedPurpose | None = None
    """What the video is analysed for. It changes nothing and is shown with the job; `workplace` and `education` are
    refused, as Regulation (EU) 2024/1689, Article 5(1)(f), demands."""


class VideoFacts(Contract):
    """The video as a viewer sees it (rotation applied)."""

    duration_seconds: float
    frame_count: int
    """Frames a viewer is shown, whether analysed or not."""
    analysed_frames: int
    width: int
    height: int
    rotation_degrees: int
    """Clockwise display rotation already applied to boxes and sizes: 0, 90, 180 or 270."""
    codec: str

    def counted(self, rows: int, options: JobOptions) -> "VideoFacts":
        """Return the facts with what the analysis counted, in place of what the packets promised."""
        counts = {"analysed_frames": rows} if options.sample_fps else {"analysed_frames": rows, "frame_count": rows}
        return self.model_copy(update=counts)


class FaceRow(Contract):
    """One face in one frame."""

    track: int
    box: Box
    """xyxy in pixels of the displayed frame."""
    score: float
    landmarks: tuple[Point, Point, Point, Point, Point]
    """Eyes (left then right in the image), nose, mouth corners (left, right), in pixels."""
    emotion: Emotion
    probabilities: dict[Emotion, float]


class FrameRow(Contract):
    """One analysed frame; `faces` is empty where there is none."""

    frame: int
    """Number of the frame in the video, counted from 0 over all shown frames."""
    pts_seconds: float
    """True presentation time, pts x time_base, relative to the first shown frame."""
    faces: tuple[FaceRow, ...] = ()


class SegmentPlan(Contract):
    """A range of analysed frames, whose first position is a multiple of CLIP_FRAMES on the global grid."""

    segment: int
    first_position: int
    """Position of the first frame in the list of analysed frames of the whole video."""
    frames: tuple[int, ...] | None
    """Frame numbers to analyse; None where packets and frames disagree and one decoding pass finds them."""
    pts_seconds: tuple[float, ...] | None
    seek_pts: int | None
    """pts (stream time base) of the keyframe to seek to; None decodes from the start."""
    seek_frame: int = 0
    """Frame number of that keyframe."""
    start_pts: int = 0
    """pts (stream time base) of the first shown frame: the zero of pts_seconds."""
    ends_video: bool = False
    """No frame follows the last one of this plan: the decoder has to confirm it."""


class SegmentRows(Contract):
    """Analysis of one segment. Track numbers are tracklet numbers, unique inside the segment, until stitched."""

    segment: int
    rows: tuple[FrameRow, ...]
    cuts: tuple[int, ...] = ()
    """Indices into `rows` of frames that begin a new shot, as far as this segment alone can tell."""
    first_signature: str = ""
    """Base64 picture signature of the first frame that shows anything, empty if none: tells a cut to the one before."""
    first_signature_row: int = 0
    """First row of the window that this frame lies in: where that cut would be."""
    last_signature: str = ""


class TrackEnd(Contract):
    """The last sight of a track that may still go on."""

    track: int
    box: Box
    pts_seconds: float
    missed_frames: int = 0
    """Analysed frames since then."""


class StitchState(Contract):
    """What the next segment needs to know of all before it."""

    next_segment: int = 0
    next_track: int = 1
    ends: tuple[TrackEnd, ...] = ()
    last_signature: str = ""


class TrackSummary(Contract):
    """One face over the whole video."""

    track: int
    frames: int
    start_seconds: float
    end_seconds: float
    emotion: Emotion
    """The class with the highest mean probability."""
    mean_probabilities: dict[Emotion, float]
    shares: dict[Emotion, float]
    """Share of the track's frames in which the class was the most probable; sums to 1."""


class Runtime(Contract):
    """What a worker ran the networks and the decoder with: two of them may round differently."""

    emoclip: str
    """Version of this project; the other names are those of the libraries, with their versions."""
    python: str
    torch: str
    torchvision: str
    numpy: str
    opencv: str
    pyav: str
    ffmpeg: dict[str, str]
    """Version of each FFmpeg library that PyAV decodes with: libavcodec, libavformat and the others."""
    device: str
    """`cpu`, or the GPU's name."""
    precision: str
    """Floating point type of the emotion network's convolutions, such as `bfloat16`."""
    long_side: int
    """Pixels that the longer side of a frame was scaled down to before faces were searched."""
    upscale_to: int
    """Pixels that the longer side of a small frame was scaled up to before."""
    score_threshold: float
    """Least face probability, 0..1, that made a detection a face."""


class ModelVersion(Contract):
    """Which weights made the rows, and what ran them: recorded by the worker."""

    name: str
    sha256: str
    """SHA-256 of the weights file, 64 hex digits."""
    detector: str
    detector_sha256: str
    """SHA-256 of the detector's weights file, 64 hex digits."""
    labels: tuple[Emotion, ...] = EMOTIONS
    """Order of the network's outputs; all probabilities keep it."""
    runtime: Runtime | None = None
    """None only in results of workers that did not record it."""


class JobRecord(Contract):
    """What the API writes once, when it accepts a video."""

    job_id: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
    """From worker.store.new_job_id: sorts by time of creation, cannot be guessed."""
    owner: str = ""
    """Id of the API key that the job belongs to; empty where keys are off."""
    options: JobOptions = JobOptions()
    file_name: str = ""
    """As the client sent it: data to show, never a path."""
    size_bytes: Annotated[int, Field(ge=0)] = 0
    sha256: str = ""
    callback_url: str | None = None
    """Where the job's end is announced. Its path and query may hold the receiver's secrets: never shown or logged."""


class JobProgress(Contract):
    """How far the analysis is, and how fast."""

    frames_done: int = 0
    frames_total: int | None = None
    """None until the video is indexed. An estimate where packets and frames disagree."""
    frames_per_second: float | None = None
    """Mean since the analysis started; None before the first frame."""
    eta_seconds: float | None = None


class WebhookState(StrEnum):
    """`waiting -> pending -> delivered | failed`."""

    WAITING = "waiting"
    """The job has not ended."""
    PENDING = "pending"
    """It has: the message is being sent, or will be again."""
    DELIVERED = "delivered"
    FAILED = "failed"
    """Given up: the receiver said so, or the last attempt failed."""


class WebhookAttempt(Contract):
    """One attempt to deliver a job's message."""

    at: datetime
    status: int | None = None
    """HTTP status of the receiver's answer; None where there was none."""
    error: str | None = None
    """Why the attempt failed; None where it did not."""
    seconds: float
    """How long it took."""


class WebhookLog(Contract):
    """What became of a job's message."""

    state: WebhookState
    attempts: tuple[WebhookAttempt, ...] = ()
    next_attempt_at: datetime | None = None
    """Set while another attempt is due."""


class JobSnapshot(Contract):
    """Everything that is known of a job at one moment; its rows are read separately."""

    record: JobRecord
    state: JobState
    created_at: datetime
    started_at: datetime | None = None
    finished_at: datetime | None = None
    expires_at: datetime
    """When the record and the rows are erased, if nothing happens to the job before."""
    progress: JobProgress = JobProgress()
    rows_ready: int = 0
    """Rows that can be read now: the finished beginning of the video, with final track numbers."""
    generation: int = 0
    """Raised when the video is planned, also anew: rows of an earlier generation are void."""
    video: VideoFacts | None = None
    model: ModelVersion | None = None
    other_models: tuple[ModelVersion, ...] = ()
    """Further ones that made rows of this job, where its workers differ: another GPU, another version."""
    failure: JobFailure | None = None
    summary: tuple[TrackSummary, ...] | None = None
    """Set on a succeeded job; left out of lists."""
    webhook: WebhookLog | None = None
    """Set on a job with a callback_url."""

"""What requests ask for in their query, as pydantic models: options of a job, pages, smoothing, formats."""

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from app.exports.formats import ExportFormat
from app.file_names import MAX_FILE_NAME, clean_file_name
from app.timeline import DEFAULT_HYSTERESIS, DEFAULT_MIN_SPAN_SECONDS
from app.webhook_target import MAX_URL, clean_webhook_url
from worker.contract import JobOptions

__all__ = [
    "CreateParameters",
    "EventsParameters",
    "FramesParameters",
    "ListParameters",
    "ResultParameters",
    "TimelineParameters",
]


class _Parameters(BaseModel):
    # a misspelt parameter is refused rather than ignored
    model_config = ConfigDict(use_attribute_docstrings=True, extra="forbid")


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

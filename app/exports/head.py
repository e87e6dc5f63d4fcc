"""What stands before the rows of a result: where it comes from, how it was made, what it comes to.

Every export carries `Provenance`: JSON as the fields beside `rows`, NDJSON as its first line, Parquet as the file's
key-value metadata, WebVTT as a NOTE, an annotated MP4 as its comment. CSV and SRT have no place that their readers
would skip, so it is a file of its own beside them: the format `provenance`.
"""

from datetime import datetime
from importlib.metadata import version
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from worker.contract import FrameRow, JobOptions, ModelVersion, TrackSummary, VideoFacts

__all__ = ["Provenance", "Result", "ResultHead", "Source", "Summary"]


def _describe_exporter() -> str:
    return f"emoclip {version('emoclip')}"


class _Part(BaseModel):
    model_config = ConfigDict(use_attribute_docstrings=True)


class Summary(_Part):
    """What the whole video comes to."""

    tracks: list[TrackSummary]


class Source(_Part):
    """The file that was analysed."""

    file_name: str
    """As the client named it; escape it wherever it is shown."""
    size_bytes: int
    sha256: str


class Provenance(_Part):
    """Where a result comes from and how it was made. The same request gives the same provenance, byte for byte."""

    schema_version: Literal[1] = 1
    """Rises when a field changes its meaning or goes; new fields do not raise it."""
    job_id: str | None = None
    """None where the command line made the result."""
    source: Source
    video: VideoFacts
    model: ModelVersion
    """Weights, order of labels, device, and versions of the decoder and the libraries, as the worker recorded them."""
    other_models: tuple[ModelVersion, ...] = ()
    """Further ones, where several workers that differ shared the video."""
    options: JobOptions
    """With `sample_fps`, at most so many frames a second were analysed; null: every frame."""
    smoothing_seconds: float = 0.0
    """Window of the mean over time, applied to the probabilities of this export; 0: as predicted."""
    created_at: datetime
    started_at: datetime
    finished_at: datetime
    exporter: str = Field(default_factory=_describe_exporter)
    """What wrote the file; `model.runtime.emoclip` is what analysed the video."""


class ResultHead(Provenance):
    """Everything of a result but its rows."""

    summary: Summary


class Result(ResultHead):
    """A whole result, as the format `json` holds it."""

    rows: list[FrameRow]

    def head(self) -> ResultHead:
        """Return everything but the rows."""
        return ResultHead.model_construct(**{name: getattr(self, name) for name in ResultHead.model_fields})

"""Settings from the environment, prefix EMOCLIP_: QueueSettings for every process, WorkerSettings for analysing ones.

Free of torch, numpy and PyAV, so that the API process may import it.
"""

from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import quote, urlsplit, urlunsplit

from pydantic import Field, FilePath, ValidationInfo, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from model.labels import CLIP_FRAMES

__all__ = ["QueueSettings", "WorkerSettings"]

_DAY_SECONDS = 24 * 3600
_CONFIGURATION = SettingsConfigDict(
    env_prefix="EMOCLIP_", frozen=True, use_attribute_docstrings=True, hide_input_in_errors=True
)

Positive = Annotated[float, Field(gt=0)]


class QueueSettings(BaseSettings):
    """What the API and the workers must agree on: Redis, the uploads' directory, leases and lifetimes."""

    model_config = _CONFIGURATION

    redis_password_file: Path | None = None
    """File with the password of `redis_url`, so that it stands neither in the environment nor in a process list."""
    redis_url: Annotated[str, Field(validate_default=True)] = "redis://127.0.0.1:6379/0"
    """Redis of job records and messages; the password goes into it, redis://:password@host:port/0, or into a file."""
    redis_timeout_seconds: Positive = 5.0
    """Longest wait for one answer of Redis."""
    media_dir: Path = Path("media")
    """Directory of uploads, shared by the API and every worker."""
    queue_name: str = "emoclip"
    """Name of the Celery queue."""
    result_ttl_seconds: Annotated[int, Field(ge=1)] = _DAY_SECONDS
    """How long a job and its rows can be read after its end."""
    unfinished_ttl_seconds: Annotated[int, Field(ge=60)] = 7 * _DAY_SECONDS
    """How long a job that nobody works on is kept, counted from the last sign of life."""
    lease_seconds: Positive = 15.0
    """How long a segment stays with a worker that gives no sign of life."""
    max_attempts: Annotated[int, Field(ge=1)] = 3
    """Starts of one segment before its job fails as `poison`."""
    doorbell_seconds: Positive = 30.0
    """How long after a message nobody answers the sweeper sends it again (doubling, up to ten minutes)."""
    sweep_seconds: Positive = 5.0
    """Time between two looks of a worker for lost messages and expired leases."""
    heartbeat_seconds: Positive = 5.0
    """Time between two signs of life of a worker; it counts as gone after three missed ones."""
    deaf_seconds: Positive = 120.0
    """A worker that takes no message for so long, although some wait and it has nothing to do, ends; start it again."""
    forget_seconds: Positive = 60.0
    """How often a worker looks whether Redis' append-only file must be rewritten to forget what was erased."""

    @field_validator("redis_url")
    @classmethod
    def _insert_password(cls, url: str, info: ValidationInfo) -> str:
        file: Path | None = info.data.get("redis_password_file")
        if file is None:
            return url
        parts = urlsplit(url)
        if "@" in parts.netloc:
            raise ValueError("expected no password in redis_url beside redis_password_file")
        try:
            password = quote(file.read_text().strip(), safe="")
        except OSError as error:
            raise ValueError(f"redis_password_file cannot be read: {error}") from error
        return urlunsplit(parts._replace(netloc=f":{password}@{parts.netloc}"))


class WorkerSettings(BaseSettings):
    """How a worker analyses: device, weights, detector, segment length, limits of a video."""

    model_config = _CONFIGURATION

    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where the networks run; `auto` takes CUDA where there is a device."""
    weights: FilePath | None = None
    """Checkpoint of the emotion network; empty takes the one that comes with the package."""
    detector: Literal["mobilenet0.25", "resnet50"] = "mobilenet0.25"
    """Backbone of RetinaFace; `resnet50` needs `detector_weights`."""
    detector_weights: FilePath | None = None
    """Weights file of the detector; empty takes the one that comes with the wheel."""
    detector_weights_sha256: str | None = None
    """SHA-256 that `detector_weights` must have."""
    long_side: Annotated[int, Field(ge=64, le=4096)] = 960
    """Frames whose longer side has more pixels are scaled down to so many before faces are detected."""
    upscale_to: Annotated[int, Field(ge=64, le=4096)] = 640
    """Frames whose longer side has fewer pixels are scaled up to so many; may not exceed `long_side`."""
    segment_frames: Annotated[int, Field(ge=CLIP_FRAMES)] = 30 * CLIP_FRAMES
    """Analysed frames in one segment, the unit that workers share; a multiple of 8."""
    max_pixels: Annotated[int, Field(ge=1)] = 7680 * 4320
    """Largest width x height of a frame."""
    max_duration_seconds: Positive = 4 * 3600.0
    """Longest video."""
    max_frames: Annotated[int, Field(ge=1)] = 900_000
    """Most frames of a video, whether analysed or not."""
    decode_memory_bytes: Annotated[int, Field(ge=64 << 20)] = 2 << 30
    """Address space for decoding, on top of the decoding process's libraries."""
    decode_cpu_seconds: Annotated[int, Field(ge=1)] = 3600
    """Processor time of one decoding process; there is one for each segment."""
    decode_wall_seconds: Positive = 3600.0
    """Longest time that a worker waits for one decoding process, all waits together."""
    decode_stall_seconds: Positive = 30.0
    """Longest silence of a decoding process; a working one gives a sign every second."""
    decode_threads: Annotated[int, Field(ge=1, le=64)] = 1
    """Threads of the decoding process; each multiplies its memory."""
    stall_seconds: Positive = 120.0
    """Work in which nothing moved for so long hangs: its process is killed and a new one starts the segment again."""
    load_seconds: Positive = 600.0
    """Longest time that a process may need to load its networks, while work waits for it."""

    @field_validator("segment_frames")
    @classmethod
    def _check_grid(cls, frames: int) -> int:
        if frames % CLIP_FRAMES:
            raise ValueError(f"expected a multiple of {CLIP_FRAMES}, got {frames}")
        return frames

    @model_validator(mode="after")
    def _check_detector(self) -> Self:
        if self.upscale_to > self.long_side:
            raise ValueError(f"expected upscale_to of at most {self.long_side = }, got {self.upscale_to}")
        if self.detector == "resnet50" and self.detector_weights is None:
            raise ValueError("expected detector_weights with the detector resnet50, got none")
        return self
